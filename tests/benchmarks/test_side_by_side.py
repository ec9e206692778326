"""What the benchmarks share: where commands run, and outputs that are checked before any work."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WITH_OUTPUT = (
    "clip_flickr8k",
    "clothing",
    "domains",
    "entailment_folds",
    "image_methods_cifar10",
    "nlvr_tables",
    "omniglot",
    "sentences",
    "tcl_ablation",
    "tcl_flickr8k",
    "tuned_towers",
)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The benchmarks' own module, seen from a folder that is not the checkout."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.chdir(tmp_path)
    import side_by_side

    return side_by_side


def test_commands_run_where_the_benchmark_was_started(shared: ModuleType, tmp_path: Path) -> None:
    write = "from pathlib import Path; import likewise; Path('written').write_text(likewise.__file__)"
    shared.run([sys.executable, "-c", write], Path("logs/one.log"))
    assert Path((tmp_path / "written").read_text()).is_relative_to(shared.REPOSITORY / "src")
    assert (tmp_path / "logs" / "one.log").is_file()


def test_an_output_folder_is_tried_before_any_work(shared: ModuleType, tmp_path: Path) -> None:
    assert shared.output_folder(Path("runs/x")) == tmp_path / "runs" / "x"
    assert list((tmp_path / "runs" / "x").iterdir()) == []
    assert shared.output_folder(Path("runs/x")).is_dir()
    with pytest.raises(SystemExit, match=r"--out runs/x is there already"):
        shared.output_folder(Path("runs/x"), new=True)
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"--out file is a file"):
        shared.output_folder(Path("file"))
    with pytest.raises(SystemExit, match=r"--out file/below cannot be written \(Not a directory\)"):
        shared.output_folder(Path("file/below"))


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_every_script_checks_its_output_first(
    name: str, shared: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before data are read: the folder of the data does not exist, which is not reached."""
    before = set(shared.REPOSITORY.iterdir())
    (tmp_path / "file").touch()
    script = __import__(name)
    required = {
        "clip_flickr8k": ["--peers", "nowhere"],
        "image_methods_cifar10": ["--peers", "nowhere"],
        "domains": ["--target", "nowhere"],
        "tuned_towers": ["--text", "nowhere"],
    }
    monkeypatch.setattr(
        sys, "argv", [name, "--out", "file/below", "--data", "nowhere", *required.get(name, [])]
    )
    with pytest.raises(SystemExit, match=r"--out file/below.* cannot be written"):
        script.main()
    assert set(shared.REPOSITORY.iterdir()) == before


def test_no_other_script_has_an_output_folder() -> None:
    scripts = {path.stem for path in BENCHMARKS.glob("*.py") if "    out: Path = " in path.read_text()}
    assert scripts == set(WITH_OUTPUT)
