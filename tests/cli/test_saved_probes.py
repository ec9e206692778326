"""`likewise evaluate RUN probe --save-probe NAME` and what `likewise classify --probe NAME` makes of it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from small_runs import small_settings

from likewise.cli.main import main
from likewise.data import DataConfig
from likewise.errors import ModelError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import needs_of_tasks
from likewise.metrics.linear_probe import linear_probe
from likewise.model import load
from likewise.model.classifiers.probe import Probe
from likewise.runs.unseen_rows import open_measured
from likewise.training.engine import train

NAMES = ("red", "grün, blau", "white")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three colours with noise, 16 of each for training and 8 for validation."""
    folder = tmp_path_factory.mktemp("colours")
    draws = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        for place in range(24):
            pixels = draws.integers(0, 200, (32, 32, 3), dtype=np.uint8)
            pixels[..., number] //= 2
            split = "train" if place < 16 else "validation"
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / split / name / f"{place}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """A run with two probes, `colours` and `again`."""
    path = train(small_settings("simclr", steps=1), tmp_path_factory.mktemp("runs") / "run", show=False).path
    main(
        ["evaluate", str(path), "probe", "--data", str(source), "--save-probe", "colours", "--device", "cpu"]
    )
    shutil.copy(path / "probes/colours.safetensors", path / "probes/again.safetensors")
    return path


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main(["classify", *words])
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1, said
    assert isinstance(ended.value.code, int)
    return ended.value.code, said


def test_a_fresh_process_gives_the_classes_of_the_task(run: Path, source: Path, tmp_path: Path) -> None:
    out = tmp_path / "classes.csv"
    images = source / "validation"
    words = ["classify", str(run), str(images), "--probe", "colours", "--num-classes", "3", "--out", str(out)]
    subprocess.run([sys.executable, "-m", "likewise", *words, "--device", "cpu"], check=True)
    rows = list(csv.DictReader(out.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 3 * 24

    model = load(run)
    data = DataConfig(source=str(source))
    measured = open_measured(model, str(run), data, needs=needs_of_tasks(model, "probe"), progress=False)
    context = Context(model, measured.parts)
    task = linear_probe(context.train_images, context.train_labels, context.images, context.labels)
    names = context.train.label_names
    assert names is not None
    predicted = {
        Path(context.validation.ids[row]).name + names[label]: names[guess]
        for row, (label, guess) in enumerate(zip(context.labels, task.predictions, strict=True))
    }
    for row in rows:
        path = Path(row["image"])
        if row["rank"] == "1":
            assert row["class"] == predicted[path.name + path.parent.name]
    probe = Probe.load(run / "probes/colours.safetensors")
    assert probe.classes == tuple(names)
    assert np.array_equal(probe.fitted.predict(context.images), task.predictions)
    assert np.array_equal(probe.fitted.weights, task.probe.weights)
    figures = json.loads((run / "results.json").read_text())["others"][0]["figures"]
    assert figures["accuracy"] == probe.figures["accuracy"] == pytest.approx(task.accuracy)
    assert figures["calibration_error"] == pytest.approx(task.calibration_error)

    files = [images / row["image"] for row in rows[::3]]
    found = model.classify(files, probe=run / "probes/colours.safetensors")
    assert found.sum(axis=1) == pytest.approx(np.ones(24), abs=1e-6)
    for place, row in enumerate(rows):
        expected = found[place // 3, probe.classes.index(row["class"])]
        assert float(row["probability"]) == pytest.approx(float(expected), abs=1e-6)


def test_probes_are_listed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["classify", str(run), "--list-probes"])
    said = capsys.readouterr().out
    assert "colours" in said
    assert "again" in said
    bare = tmp_path / "bare"
    shutil.copytree(run, bare, ignore=shutil.ignore_patterns("probes"))
    main(["classify", str(bare), "--list-probes"])
    assert "has no probes" in capsys.readouterr().out
    code, said = refused([str(tmp_path), "--list-probes"], capsys)
    assert code == 2
    assert "is not a run's folder" in said
    code, said = refused([str(run), "photos/", "--list-probes", "--num-classes", "2"], capsys)
    assert said.endswith("--list-probes classifies nothing; leave IMAGES, --num-classes out.")

    (bare / "probes").mkdir()
    shutil.copy(run / "probes/again.safetensors", bare / "probes")
    (bare / "probes/broken.safetensors").write_bytes(b"no probe")
    with pytest.raises(SystemExit) as ended:
        main(["classify", str(bare), "--list-probes"])
    shown = capsys.readouterr()
    assert ended.value.code == 4
    assert "again" in shown.out
    assert "broken.safetensors is not a probe, or damaged" in shown.err


def test_a_probe_replaces_probes_alone(
    run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(2)}, weights)
    before = weights.read_bytes()
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").touch()
    for place, reason in (
        (weights, "would replace a file"),
        (tmp_path / "folder.safetensors", "is a folder"),
        (tmp_path / "file" / "x.safetensors", "is a file"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["evaluate", str(run), "probe", "--data", str(source), "--save-probe", str(place)])
        assert ended.value.code == 2
        assert reason in capsys.readouterr().err
    assert weights.read_bytes() == before


def test_another_model_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = load(run)
    with torch.no_grad():
        next(other.network.parameters()).add_(0.01)
    other.save(tmp_path / "other")
    file = str(run / "probes/colours.safetensors")
    code, said = refused([str(tmp_path / "other"), str(tmp_path), "--probe", file], capsys)
    assert code == 4
    assert "another model (simclr, fingerprint" in said
    with pytest.raises(ModelError, match="another model"):
        other.classify([np.zeros((8, 8, 3), np.uint8)], probe=file)
    code, said = refused([str(tmp_path / "other"), str(tmp_path), "--probe", "colours"], capsys)
    assert code == 2
    assert "is not a run's folder" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--probe", "colors"], "has again, colours; did you mean 'colours'?"),
        (["--probe", "shapes"], "`likewise evaluate"),
        (["--probe", "../colours"], "expected a name of letters"),
        (["--probe", ".hidden"], "expected a name of letters"),
        (["--probe", "colours", "--labels", "a,b"], "--labels and --probe are 2 ways to classify"),
        ([], "or --probe NAME"),
    ],
)
def test_what_cannot_work_is_said(
    words: list[str], said: str, run: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refused([str(run), str(source), *words, "--device", "cpu"], capsys)[1]


def test_images_are_needed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no IMAGES" in refused([str(run), "--probe", "colours"], capsys)[1]


@pytest.mark.parametrize("damage", ["cut", "pickle", "model", "nan", "shape", "classes", "temperature"])
def test_damaged_files_are_refused(damage: str, run: Path, tmp_path: Path) -> None:
    good, path = run / "probes/colours.safetensors", tmp_path / "bad.safetensors"
    arrays: dict[str, Any] = dict(load_file(good))
    described = {
        "format": 1,
        "model": {"method": "simclr", "fingerprint": "0"},
        "temperature": 1.0,
        "classes": list(NAMES),
        "figures": {},
    }
    if damage == "cut":
        path.write_bytes(good.read_bytes()[:-100])
    elif damage == "pickle":
        path.write_bytes(b"\x80\x04}.")
    elif damage == "model":
        save_file(arrays, path)
    else:
        if damage == "nan":
            arrays["bias"] = np.full_like(arrays["bias"], np.nan)
        elif damage == "shape":
            arrays["mean"] = arrays["mean"][:-1]
        elif damage == "classes":
            described["classes"] = ["a", "b"]
        else:
            described["temperature"] = 0.0
        save_file(arrays, path, {"likewise_probe": json.dumps(described)})
    with pytest.raises(ModelError, match="not a probe, or damaged"):
        Probe.load(path)
