"""Figures of verdicts and of grounding, by hand, on small tables."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.data import DataConfig, Splits, prepare
from likewise.data.columns import Needs
from likewise.evaluation import statements as statement_module
from likewise.evaluation.phrases import phrases_of
from likewise.evaluation.registry import find_task
from likewise.evaluation.statements import measure_statements, statements_of
from likewise.evaluation.tasks import grounding as grounding_module
from likewise.sampling import sampled_rows

ROWS = [
    ["image", "text", "label", "split"],
    ["a.png", "there is a dog", "true", "train"],
    ["b.png", "there is a dog", "true", "train"],
    ["a.png", "there is a cat", "true", "train"],
    ["b.png", "no bird", "false", "train"],
    ["c.png", "there is a dog", "true", "validation"],
    ["d.png", "There is  a dog", "false", "validation"],
    ["c.png", "no bird", "true", "validation"],
    ["c.png", "it is dark", "true", "validation"],
    ["c.png", "a fish", "false", "validation"],
    ["d.png", "a bird", "maybe", "validation"],
]
CLASSES = ["false", "true"]


def prepared(folder: Path, rows: list[list[str]], *needs: str) -> Splits:
    for number, name in enumerate("abcd"):
        Image.fromarray(np.full((40, 80, 3), 50 * number, np.uint8)).save(folder / f"{name}.png")
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    config = DataConfig(source=str(folder / "rows.csv"), cache_dir=str(folder / "cache"))
    return prepare(config, image_size=16, needs=Needs(*needs))


def measured(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By a model that says true of the images of their rows, and false of others."""
    shades = [0, 50, 100, 150]

    def judged(_: Any, ability: str, data: Any, texts: list[str], rows: Any) -> np.ndarray:
        assert (ability, len(texts)) == ("entail", len(rows))
        seen = [shades.index(int(one)) for one in data.images(rows)[:, 0, 0, 0]]
        own = [shades.index(int(one)) for one in splits.validation.images(rows)[:, 0, 0, 0]]  # type: ignore[union-attr]
        same = np.array(seen) == np.array(own)
        return np.stack([~same, same], axis=1).astype(np.float32)

    monkeypatch.setattr(statement_module, "judge_dataset", judged)
    model = SimpleNamespace(network=SimpleNamespace(classes=CLASSES))
    context: Any = SimpleNamespace(model=model, train=splits.train, validation=splits.validation)
    return measure_statements(context, "entail")


def test_verdicts_stand_beside_what_needs_no_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(prepared(tmp_path, ROWS, "image", "text", "label"), monkeypatch)
    assert found["accuracy"] == pytest.approx(3 / 5)  # always true, of 3 true and 2 false ones
    assert found["shuffled_accuracy"] == pytest.approx(2 / 5)
    assert found["majority_accuracy"] == pytest.approx(3 / 5)
    assert found["text_only_accuracy"] == pytest.approx(3 / 5)  # one false row of four tells it little
    # Deviations: three of .4 and one of -.6 of c.png, one of -.6 of d.png.
    assert found["accuracy_error"] == pytest.approx((2 * 0.6**2) ** 0.5 / 5)
    assert found["num_unknown"] == 1
    # "there is a dog" is of two images, and wrong with one.
    assert (found["num_statements"], found["consistency"], found["majority_consistency"]) == (1, 0, 0)
    assert found["note"].startswith("the images add nothing that shows: accuracy 60.0%, text alone 60.0%")


def test_without_training_rows_the_note_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits = prepared(tmp_path, ROWS, "image", "text", "label")
    found = measured(replace(splits, train=splits.train.subset([])), monkeypatch)
    assert "there is no training part" in found["note"]
    assert not {"majority_accuracy", "text_only_accuracy", "majority_consistency"} & found.keys()


def test_statements_without_a_class_are_left_out_and_unknown_ones_counted(tmp_path: Path) -> None:
    data = prepared(tmp_path, ROWS, "image", "text", "label").validation
    assert data is not None
    found = statements_of(data, ["true"])
    assert (found.texts, found.labels.tolist()) == (["there is a dog", "no bird", "it is dark"], [0, 0, 0])
    assert found.num_unknown == 3
    assert data.labels is not None
    data.labels[:] = -1
    nothing = statements_of(data, CLASSES)
    assert (nothing.texts, nothing.num_unknown) == ([], 0)


def test_classes_are_the_models_in_any_case_and_rows_without_one_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[*row[:2], row[2].title(), row[3]] for row in ROWS[1:]]
    rows += [["c.png", "a tree", "", "validation"], ["d.png", "a house", "", "validation"]]
    found = measured(prepared(tmp_path, [ROWS[0], *rows], "image", "text"), monkeypatch)
    assert (found["num_items"], found["accuracy"]) == (5, pytest.approx(3 / 5))
    assert (found["num_unknown"], found["num_unlabelled"]) == (1, 2)


BOXES = [
    [
        {"phrase": "a dog", "box": [20, 0, 20, 20]},
        {"phrase": "a dog", "box": [50, 20, 30, 20]},
        {"phrase": "a cat", "box": [0, 0, 10, 40]},
        {"phrase": "", "box": [20, 20, 10, 10]},
    ],
    [{"phrase": "a bird", "box": [40, 0, 20, 40]}],
]


def test_phrases_have_their_boxes_as_the_square_shows_them(tmp_path: Path) -> None:
    """Images are 80 x 40, so that the square is their middle, from 20 to 60."""
    rows = [
        ["image", "boxes"],
        *([f"{name}.png", json.dumps(one)] for name, one in zip("ab", BOXES, strict=True)),
    ]
    splits = prepared(tmp_path, rows, "image", "boxes")
    data = splits.train if splits.validation is None else splits.train.joined(splits.validation)
    found = phrases_of(data, "crop")
    order = np.argsort(found.texts)
    assert [found.texts[place] for place in order] == ["a bird", "a dog"]
    bird, dog = order
    np.testing.assert_allclose(found.boxes[bird], [[0.5, 0, 0.5, 1]])
    assert len(found.others[bird]) == 0
    np.testing.assert_allclose(found.boxes[dog], [[0, 0, 0.5, 0.5], [0.75, 0.5, 0.25, 0.5]])
    np.testing.assert_allclose(found.others[dog], [[0, 0.5, 0.25, 0.25]])
    assert (found.num_hidden, found.shares) == (1, [1.0, 1.0])  # the cat
    padded = phrases_of(data, "pad")
    assert (padded.num_hidden, padded.shares) == (0, [0.5, 0.5, 0.5])


def test_a_share_of_many_phrases_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        ["image", "boxes"],
        *([f"{name}.png", json.dumps(one)] for name, one in zip("ab", BOXES, strict=True)),
    ]
    splits = prepared(tmp_path, rows, "image", "boxes")
    data = splits.train if splits.validation is None else splits.train.joined(splits.validation)
    spot = np.zeros((1, 8, 8), np.float32)
    spot[0, 1, 5] = 1.0  # in the bird's box, and in none of the dog's
    monkeypatch.setattr(grounding_module, "_MAX_PHRASES", 1)
    monkeypatch.setattr(grounding_module, "_maps", lambda _, __, ___, chosen: spot.repeat(len(chosen), 0))
    model = SimpleNamespace(config={"images": {"fit": "crop"}})
    context: Any = SimpleNamespace(model=model, validation=data)
    task = find_task("grounding")
    found = task.run(context, None)
    first = phrases_of(data, "crop").texts[sampled_rows(2, 1)[0]]
    assert found["note"] == "1 of 2 phrases are measured, a random sample"
    assert (found["num_phrases"], found["num_hidden"]) == (1, 1)
    assert found["pointing"] == found["shuffled_pointing"] == float(first == "a bird")
