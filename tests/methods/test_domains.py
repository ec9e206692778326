"""Domain adaptation: target labels are never read, phases move what they say, bad data is named."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_methods import build, steps_of
from small_runs import OF_TWO_DOMAINS, logged, small_settings

from likewise.data import DataConfig
from likewise.errors import ConfigError, DataError, SourceError
from likewise.methods.base import Progress, Step
from likewise.methods.catalog import find_method
from likewise.model import load
from likewise.runs.folder import RunFolder
from likewise.step_random import StepRandom
from likewise.training.checkpoints import latest_checkpoint, load_checkpoint
from likewise.training.engine import train
from likewise.training.phases import only_trains

NO_TARGET_LABELS = sorted(set(OF_TWO_DOMAINS) - {"oracle"})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    draws = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def table(folder: Path, name: str, labels: list[str], domains: list[str] | None = None) -> str:
    """A table of the pictures."""
    with (folder / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "domain"] if domains else ["image", "label"])
        for number, label in enumerate(labels):
            writer.writerow([f"{number}.png", label, *([domains[number]] if domains else [])])
    return str(folder / name)


def of_one_source(method: str, source: str, **data: Any) -> Any:
    settings = small_settings(method, steps=1, batch_size=8)
    return dataclasses.replace(settings, data=DataConfig(source=source, validation_share=0.25, **data))


def state_after(method: str, target: str, out: Path) -> tuple[dict[str, Any], list[float], bytes]:
    settings = small_settings(method, steps=3)
    data = dataclasses.replace(settings.data, target=target)
    run = train(dataclasses.replace(settings, data=data), out, show=False)
    newest = latest_checkpoint(run.checkpoints)
    assert newest is not None
    weights = (run.model / "model.safetensors").read_bytes()
    return load_checkpoint(newest), logged(run.path, "loss"), weights


@pytest.mark.parametrize("method", NO_TARGET_LABELS)
def test_labels_of_the_target_are_never_read(method: str, pictures: Path, tmp_path: Path) -> None:
    """The training is the same bit for bit when they are nonsense, other classes among them."""
    known = ["circle", "square", "star", "triangle"]
    right = table(pictures, "right.csv", [known[number % 4] for number in range(40)])
    wrong = table(
        pictures, "wrong.csv", [["", "aaa", "zzz 1", "circle", "17"][number % 5] for number in range(40)]
    )
    first, second = state_after(method, right, tmp_path / "a"), state_after(method, wrong, tmp_path / "b")
    assert first[1:] == second[1:]
    for name, value in first[0]["method"].items():
        assert torch.equal(value, second[0]["method"][name]), name


def test_the_oracle_does_read_them(pictures: Path, tmp_path: Path) -> None:
    known = ["circle", "square", "star", "triangle"]
    losses = []
    for name in "ab":
        shifted = [known[(number + (name == "b")) % 4] for number in range(40)]
        losses.append(state_after("oracle", table(pictures, f"{name}.csv", shifted), tmp_path / name)[1])
    assert losses[0] != losses[1]


@pytest.mark.parametrize("method", ["mcd", "adda"])
def test_a_phase_moves_its_own_weights_alone(method: str) -> None:
    made, loader = build(method)
    for step, phase in zip(steps_of(made, 0), made.phases, strict=True):
        made.zero_grad(set_to_none=True)
        with only_trains(made, phase.parts):
            made.objective(made.embed(loader.batch(0), step), step).total.backward()
        moved = {name for name, weight in made.named_parameters() if weight.grad is not None}
        parts = phase.parts or ("",)
        assert moved
        assert all(any(f"{name}.".startswith(part) for part in parts) for name in moved)


@pytest.mark.parametrize("total", [10, 11])
def test_adda_keeps_the_network_as_the_source_left_it(total: int) -> None:
    """After every step that began in the first stage, also where the stages meet within a step."""
    made, _ = build("adda")
    weight = made.network.classifier.weight  # type: ignore[union-attr]
    kept = made.source_network.classifier.weight  # type: ignore[union-attr]
    source = made.phases[0]
    followed = []
    for step in range(total):
        with torch.no_grad():
            weight.add_(1.0)
        made.after_step(Progress(step + 1, total))
        follows = bool(torch.equal(weight, kept))
        assert follows is (Progress(step, total).share < source.stop)
        followed.append(follows)
    assert sum(followed) == (total + 1) // 2


def test_mean_teacher_s_model_has_the_target_s_statistics() -> None:
    """The running statistics are those of the target's rows: the source's leave no trace."""
    made, loader = build("mean-teacher")
    batch = loader.batch(0)
    other = batch.with_columns(image=torch.cat([255 - batch.image[:8], batch.image[8:]]))
    found = []
    for given in (batch, other):
        again, _ = build("mean-teacher")
        again.embed(given, Step(StepRandom(0, 0)))
        again.after_step(Progress(1, 2))
        found.append([value.clone() for value in again.network.buffers() if value.is_floating_point()])
    assert all(torch.equal(one, two) for one, two in zip(*found, strict=True))
    fresh = [value for value in made.network.buffers() if value.is_floating_point()]
    assert not all(torch.equal(one, two) for one, two in zip(found[0], fresh, strict=True))


def test_the_model_names_its_classes_and_their_probabilities(tmp_path: Path) -> None:
    model = load(train(small_settings("dann", steps=1), tmp_path / "run", show=False).path)
    assert "classify" in model.abilities
    assert "circle" in model.classes
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8))
    found = model.classify(pictures)
    assert found.shape == (3, len(model.classes))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    assert model.classify([]).shape == (0, len(model.classes))
    figures = json.loads((tmp_path / "run/results.json").read_text())["transfer"]
    assert figures["num_source"] == figures["num_target"] == 16
    assert {"target_accuracy", "source_accuracy", "chance_target_accuracy", "dev_risk"} <= figures.keys()


def refused(tmp_path: Path, settings: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        train(settings, tmp_path / "run", show=False)


HALF = ["source", "source", "target", "target"] * 10


def test_a_third_domain_is_not_taken_for_the_target(pictures: Path, tmp_path: Path) -> None:
    typo = table(pictures, "typo.csv", ["a", "b"] * 20, [*HALF[:-1], "tagret"])
    refused(tmp_path, of_one_source("dann", typo), SourceError, r"target \(19\), tagret \(1\)")


def test_one_domain_and_unknown_ones_are_refused(pictures: Path, tmp_path: Path) -> None:
    one = table(pictures, "one.csv", ["a", "b"] * 20, ["source"] * 40)
    refused(tmp_path, of_one_source("dann", one), SourceError, r"all rows are of one domain.*--data\.target")
    art = table(pictures, "art.csv", ["a", "b"] * 20, ["photo", "photo", "art", "art"] * 10)
    refused(
        tmp_path, of_one_source("dann", art), SourceError, r"photo \(20\), art \(20\).*--data\.target-domain"
    )
    refused(tmp_path, of_one_source("dann", art, target_domain="atr"), ConfigError, "did you mean 'art'")
    run = train(of_one_source("dann", art, target_domain="art"), tmp_path / "run", show=False)
    assert json.loads((run.path / "data.json").read_text())["domains"] == ["photo", "art"]


def test_labels_are_needed_in_the_source_alone(pictures: Path, tmp_path: Path) -> None:
    labels = ["a" if domain == "source" else "" for domain in HALF]
    labels[0] = "b"
    mine = table(pictures, "mine.csv", labels, HALF)
    run = train(of_one_source("dann", mine), tmp_path / "run", show=False)
    assert (run.path / "model").is_dir()
    theirs = table(pictures, "theirs.csv", ["" if one else "a" for one in labels], HALF)
    with pytest.raises(DataError, match="no label"):
        train(of_one_source("dann", theirs), tmp_path / "theirs", show=False)
    refused(
        tmp_path / "one",
        of_one_source("dann", table(pictures, "o.csv", ["a"] * 40, HALF)),
        ConfigError,
        "two classes",
    )


def test_classes_of_one_domain_are_named_and_can_be_mapped(pictures: Path, tmp_path: Path) -> None:
    labels = [("a", "b", "a", "q")[number % 4] for number in range(40)]
    source = table(pictures, "q.csv", labels, HALF)
    run = train(of_one_source("dann", source), tmp_path / "run", show=False)
    notes = " ".join(json.loads((run.path / "data.json").read_text())["notes"])
    assert "the source lacks classes of the target: q" in notes
    assert "the target lacks classes of the source: b" in notes
    results = RunFolder(run.path).read_results().own["transfer"]
    assert results["num_unknown"] > 0
    mapped = of_one_source("dann", source, target_classes="q=b")
    run = train(mapped, tmp_path / "mapped", show=False)
    assert "lacks" not in " ".join(json.loads((run.path / "data.json").read_text())["notes"])
    for wrong, said in (
        ("x=b", "the target has no class 'x'"),
        ("q=x", "the source has no class 'x'"),
        ("q", "no pair"),
    ):
        with pytest.raises(ConfigError, match=said):
            train(of_one_source("dann", source, target_classes=wrong), tmp_path / "wrong", show=False)


@pytest.mark.parametrize("method", OF_TWO_DOMAINS)
def test_batches_must_hold_both_domains(method: str) -> None:
    settings = small_settings(method)
    with pytest.raises(ConfigError, match=r"--training\.order is shuffled.*--training\.order domains"):
        dataclasses.replace(settings, training=dataclasses.replace(settings.training, order="shuffled"))
    assert find_method(method).no_grad_cache_reason is not None


def test_counterparts_stand_side_by_side(tmp_path: Path) -> None:
    """The same scenes in two styles: every second target row shows what its source row shows."""
    settings = small_settings("cross-view", steps=2, order="domain-pairs")
    data = dataclasses.replace(settings.data, shared_groups=True)
    run = train(dataclasses.replace(settings, data=data), tmp_path / "run", show=False)
    assert min(logged(run.path, "paired_share")) >= 0.5
    refused(tmp_path / "other", settings, DataError, r"no group is in both.*--data\.shared-groups")
