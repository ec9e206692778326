"""`likewise report`: of a run whose data moved, and where it cannot be written."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from PIL import Image
from small_runs import small_settings

from likewise.cli.main import main
from likewise.data import DataConfig
from likewise.data.scenes import draw_scenes
from likewise.reporting import collect
from likewise.runs.folder import RunFolder
from likewise.training.engine import train


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run, and where its data is now."""
    folder = tmp_path_factory.mktemp("moved")
    (folder / "old").mkdir()
    scenes = draw_scenes(24, seed=5, size=32)
    lines = ["image,caption"]
    for number, (pixels, caption) in enumerate(zip(scenes.images, scenes.captions, strict=True)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / "old" / f"{number}.png")
        lines.append(f"{number}.png,{caption} {number}")
    table = folder / "old" / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    settings = small_settings("clip", steps=1, batch_size=8)
    settings = dataclasses.replace(settings, data=DataConfig(source=str(table), split_seed=3))
    run = train(settings, folder / "run", show=False).path
    shutil.move(folder / "old", folder / "new")
    return run, folder / "new" / "table.csv"


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int | str | None, str]:
    with pytest.raises(SystemExit) as left:
        main(["report", *map(str, words)])
    return left.value.code, capsys.readouterr().err


def test_a_run_whose_data_moved_is_reported(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, table = trained
    code, said = refused(capsys, run)
    assert code == 3, said
    assert "It is the run's own data: if it has moved, say where it is with --data" in said
    shown = []
    for line in ("", "1.png,one more\n"):
        changed = tmp_path / f"table{len(shown)}.csv"
        changed.write_text(table.read_text() + line)
        page = tmp_path / "report.html"
        given = ["--data", str(changed), "--data.image-root", str(table.parent), "--out", str(page)]
        main(["report", str(run), *given])
        assert page.is_file()
        shown.append("is not as it was when training read it" in capsys.readouterr().err)
    assert shown == [False, True]
    entry = {"task": "collapse", "source": str(tmp_path / "other.csv"), "part": "all", "fingerprint": "a"}
    RunFolder(run).add_other_results(entry | {"figures": {"effective_rank": 3.0}})
    main(["report", str(run), "--data", str(table)])
    assert "warning" not in capsys.readouterr().err
    html = (run / "report.html").read_text()
    assert "CLIP on table.csv" in html
    assert "on other.csv (all)" in html
    assert str(tmp_path.parent) not in html  # no absolute path


def test_a_folder_is_refused_before_anything_is_opened(
    trained: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collect, "open_model", None)
    code, said = refused(capsys, trained[0], "--out", tmp_path)
    assert code == 2
    assert f"--out {tmp_path} is a folder; expected a file, such as {tmp_path / 'report.html'}." in said
    assert list(tmp_path.iterdir()) == []
