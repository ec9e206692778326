"""`likewise evaluate RUN few-shot`: fixed trials of a table, and a note on folders that may be no classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import small_settings

from likewise import load
from likewise.cli.main import main
from likewise.data.scenes import draw_scenes
from likewise.runs.folder import RunFolder
from likewise.training.engine import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small_settings("simclr", steps=1), tmp_path_factory.mktemp("runs") / "run", show=False).path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("images")
    pixels = draw_scenes(12, seed=9, size=32).images
    paths = [folder / f"{number}.png" for number in range(12)]
    for path, one in zip(paths, pixels, strict=True):
        Image.fromarray(one.transpose(1, 2, 0)).save(path)
    return paths


def write_trials(folder: Path, images: list[Path], *, header: str = "trial,role,label,image") -> Path:
    """Two trials of three classes with one query each; an image may be in both."""
    for path in images:
        shutil.copy(path, folder)
    rows = [
        f"run{trial:02},{role},{label},{images[(trial + 3 * part + label) % 12].name}"
        for trial in range(2)
        for part, role in enumerate(("support", "query"))
        for label in range(3)
    ]
    path = folder / "trials.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_trials_of_a_table_are_measured(
    run: Path,
    images: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = write_trials(tmp_path, images)
    before = RunFolder(run).read_results().own
    monkeypatch.chdir(tmp_path)
    main(["evaluate", str(run), "few-shot", "--trials", "trials.csv", "--json"])
    said = capsys.readouterr()
    figures = json.loads(said.out)["few-shot"]
    vectors = load(run).encode_images(images)
    right = []
    for trial in range(2):
        supports, queries = (
            vectors[[(trial + 3 * part + label) % 12 for label in range(3)]] for part in (0, 1)
        )
        right.append(np.mean((queries @ supports.T).argmax(axis=1) == np.arange(3)))
    assert figures["accuracy"] == pytest.approx(np.mean(right))
    assert figures["chance_accuracy"] == pytest.approx(1 / 3)
    assert figures["measured_on"] == "the 2 trials of trials.csv: 12 rows"
    assert "measured on the 2 trials of trials.csv: 12 rows" in said.err
    kept = RunFolder(run).read_results()
    assert kept.own == before
    (entry,) = kept.others
    assert entry["figures"] == figures
    assert (entry["task"], entry["source"], entry["part"], entry["rows"]) == (
        "few-shot",
        str(table),
        "trials",
        12,
    )
    main(["evaluate", str(run), "few-shot", "--trials", "trials.csv"])
    shown = capsys.readouterr()
    assert "33.3 %" in shown.out
    assert "note: few-shot: whether images of the trials were trained on is not checked." in shown.err
    assert len(RunFolder(run).read_results().others) == 1


@pytest.mark.parametrize(
    ("header", "words", "message"),
    [
        (
            "trial,part,label,image",
            [],
            "trials.csv has no column role among trial, part, label, image; expected",
        ),
        (
            "role,trial,label,image",
            [],
            "trials.csv:2: trial 'support', role 'run00', label '0'; expected a name,",
        ),
        ("trial,role,label,image", ["--ways", "3"], "--trials names every image: leave --ways, --shots"),
        (
            "trial,role,label,image",
            ["--data", "scenes"],
            "--trials names its own images; give the task few-shot,",
        ),
        (None, [], "trials.csv: there is no such file; expected CSV"),
    ],
)
def test_other_tables_and_options_are_refused(
    run: Path,
    images: list[Path],
    header: str | None,
    words: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = tmp_path / "trials.csv" if header is None else write_trials(tmp_path, images, header=header)
    with pytest.raises(SystemExit):
        main(["evaluate", str(run), "few-shot", "--trials", str(table), *words])
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in said


def test_folders_that_are_taken_for_classes_are_noted(
    run: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Omniglot's official runs unpack: run01/training/class01.png."""
    for number, path in enumerate(images):
        folder = tmp_path / f"run{number % 2:02}" / ("training", "test")[number // 2 % 2]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)
    main(["evaluate", str(run), "few-shot", "--data", str(tmp_path), "--episodes", "10"])
    note = "the 2 classes are the folders run00, run01; if these are no classes, the figures say nothing"
    assert f"note: few-shot: {note}." in capsys.readouterr().err
    assert RunFolder(run).read_results().others[-1]["figures"]["note"] == note
