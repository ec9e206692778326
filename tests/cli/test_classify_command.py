"""`likewise classify`: rows of the likeliest classes, printed or written; what cannot work is said."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_runs import small_settings

from likewise.cli.main import main
from likewise.model import load
from likewise.training.engine import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    draws = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(3):
        pixels = draws.integers(0, 256, (40, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"images/{number}.png")
    (folder / "images/broken.png").write_bytes(b"no image")
    return train(small_settings("source-only", steps=1), folder / "run", show=False).path


def test_the_likeliest_classes_are_written(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, out = run.parent / "images", tmp_path / "classes.csv"
    words = ["classify", str(run), str(images), "--num-classes", "2", "--device", "cpu"]
    main([*words, "--out", str(out)])
    said = capsys.readouterr()
    assert "wrote 6 rows" in said.out
    assert "set aside" in said.err
    rows = list(csv.DictReader(out.read_text().splitlines()))
    model = load(run)
    expected = model.classify([images / f"{number}.png" for number in range(3)])
    for number, found in enumerate(expected):
        first, second = rows[2 * number : 2 * number + 2]
        assert first["class"] == model.classes[found.argmax()]
        assert float(first["probability"]) == pytest.approx(found.max(), rel=1e-5)
        assert float(second["probability"]) == pytest.approx(np.sort(found)[-2], rel=1e-5)
    main([*words, "--out", str(tmp_path / "classes.jsonl")])
    lines = [json.loads(line) for line in (tmp_path / "classes.jsonl").read_text().splitlines()]
    assert [line["class"] for line in lines] == [row["class"] for row in rows]


def test_one_class_an_image_is_printed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["classify", str(run), str(run.parent / "images/0.png"), "--device", "cpu"])
    name, label, probability = capsys.readouterr().out.strip().split("\t")
    assert name.endswith("0.png")
    assert label in load(run).classes
    assert 0 < float(probability) <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", "classes.txt"], "expected a name that ends in .csv, .jsonl, .parquet"),
        (["--num-classes", "0"], "--num-classes is 0"),
    ],
)
def test_wrong_options_are_refused(
    words: list[str], said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["classify", str(run), str(run.parent / "images"), *words])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_no_file_is_written_without_an_image(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, out = str(run.parent / "images/broken.png"), tmp_path / "classes.csv"
    with pytest.raises(SystemExit) as ended:
        main(["classify", str(run), broken, "--device", "cpu", "--out", str(out)])
    assert ended.value.code != 0
    said = capsys.readouterr().err
    assert "1 image set aside" in said
    assert "no image could be read" in said
    assert not out.exists()
