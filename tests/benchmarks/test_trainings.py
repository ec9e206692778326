"""What the benchmarks keep between calls."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from likewise.methods.catalog import methods
from likewise.runs.settings import build_settings, parse_tables


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmarks' own module, which is no part of the package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import trainings

    return trainings


@pytest.fixture
def image_methods(trainings: ModuleType) -> ModuleType:
    """The comparison on CIFAR-10."""
    import image_methods_cifar10

    return image_methods_cifar10


def record(accuracy: float) -> dict:
    return {"training": {"seconds": 60.0}, "figures": {"linear": accuracy}}


def test_finished_training_is_read_not_repeated(trainings, tmp_path):
    made = []

    def train(folder: Path) -> dict:
        assert not folder.exists()
        folder.mkdir()
        made.append(folder.name)
        return record(0.5)

    first = trainings.kept(tmp_path, "ours: moco v2", 0, {"steps": 3, "scale": (0.1, 1.0)}, train)
    second = trainings.kept(tmp_path, "ours: moco v2", 0, {"steps": 3, "scale": (0.1, 1.0)}, train)
    assert made == ["ours-moco-v2-0"]
    assert first == second


def test_record_of_other_settings_is_refused(trainings, tmp_path):
    trainings.kept(tmp_path, "simclr", 0, {"steps": 3}, lambda _: record(0.5))
    with pytest.raises(SystemExit, match=r"simclr-0\.json was made with another steps, training\.clip;"):
        trainings.kept(tmp_path, "simclr", 0, {"steps": 4, "training.clip": 0}, lambda _: record(0.5))


def test_broken_off_training_starts_anew(trainings, tmp_path):
    (tmp_path / "simclr-0").mkdir()
    (tmp_path / "simclr-0" / "config.toml").touch()

    def fail(folder: Path) -> dict:
        assert not folder.exists()
        raise SystemExit("no memory")

    with pytest.raises(SystemExit, match="no memory"):
        trainings.kept(tmp_path, "simclr", 0, {}, fail)
    assert not (tmp_path / "simclr-0.json").exists()
    assert trainings.kept(tmp_path, "simclr", 0, {}, lambda _: record(0.5))["figures"] == {"linear": 0.5}


def test_broken_off_run_with_a_checkpoint_goes_on(trainings, tmp_path):
    (tmp_path / "simclr-0" / "checkpoints").mkdir(parents=True)
    assert "--resume" not in trainings.likewise_command(
        "simclr", {"training.steps": 3}, tmp_path / "simclr-0"
    )
    (tmp_path / "simclr-0" / "checkpoints" / "step-00000001.ckpt").touch()

    def go_on(folder: Path) -> dict:
        command = trainings.likewise_command("simclr", {"training.steps": 3}, folder)
        assert command[-1] == "--resume"
        assert "--training.steps" in command
        return record(0.5)

    assert trainings.kept(tmp_path, "simclr", 0, {}, go_on)["figures"] == {"linear": 0.5}


def test_table_has_the_deviation_over_seeds_and_says_what_is_missing(trainings, tmp_path, capsys):
    # "moco" must not take in the records of "moco v2".
    for name, seed, accuracy in (("moco", 0, 0.5), ("moco", 10, 0.6), ("moco v2", 0, 0.9)):
        trainings.kept(tmp_path, name, seed, {}, lambda _, accuracy=accuracy: record(accuracy))
    rows = trainings.quality_rows(tmp_path, ["moco", "moco v2", "byol"])
    assert rows["moco"] == {"contender": "moco", "seeds": "0 10", "linear": "55.0 ± 7.1", "minutes": "1.0"}
    assert rows["moco v2"]["linear"] == "90.0"
    assert "byol" not in rows
    trainings.report(tmp_path, ["moco", "byol"], [0, 1], list(rows.values()))
    assert "Not trained yet: moco (seeds 1), byol (seeds 0 1)." in capsys.readouterr().out
    assert "55.0 ± 7.1" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "moco-10.json").read_text(encoding="utf-8"))["seed"] == 10


def test_class_figures_of_separable_classes(trainings):
    generator = np.random.default_rng(0)
    names = np.array(["hat", "shoe"])[np.arange(400) % 2]
    features = generator.normal(size=(400, 8)) + 6 * (names == "hat")[:, None] - 3
    figures = trainings.class_figures((features[:300], names[:300]), (features[300:], names[300:]))
    assert figures == {"kNN, k=20": 1.0, "kNN, k=200": 1.0, "linear": 1.0}


def test_unknown_contender_is_named(trainings):
    assert trainings.check_names([], ["simclr", "byol"]) == ["simclr", "byol"]
    assert trainings.check_names(["byol"], ["simclr", "byol"]) == ["byol"]
    with pytest.raises(SystemExit, match="no such contender: mocco; there are simclr, byol"):
        trainings.check_names(["mocco"], ["simclr", "byol"])


def test_methods_state_the_cost_of_their_default_form(image_methods):
    """Each that states one is a contender; MoCo's others are the symmetric form and version 3."""
    contenders = image_methods.CONTENDERS
    ours = {one.method for name, one in contenders.items() if name.startswith("ours")}
    assert {name for name, method in methods().items() if method.cost is not None} == ours
    assert "ours: moco" in contenders
    options = image_methods.Options(peers=Path("python"))
    for name, contender in contenders.items():
        if name.startswith("ours"):
            asked = image_methods.likewise_settings(options, name, steps=3, seed=0)
            method = methods()[contender.method]
            words = image_methods.flags({"data": options.data} | asked)
            settings = build_settings(method, parse_tables(method, words, prog="likewise train")[0])
            if name == "ours: moco":
                assert settings.method == method.options()
