"""Transfer and similarity of texts: what enters which figure, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from likewise.data import Dataset
from likewise.data.column_kinds import Classes, Names, Numbers, Texts
from likewise.evaluation.base import NoOptions
from likewise.evaluation.registry import find_task


def two_domains(classes: list[int]) -> Dataset:
    """Four source rows, then four target rows, of classes a to d."""
    columns: dict[str, Any] = {
        "id": Names([str(number) for number in range(8)]),
        "group": Classes(np.arange(8), []),
        "label": Classes(np.array(classes), ["d", "c", "b", "a"]),
        "domain": Classes(np.repeat([0, 1], 4), ["source", "target"]),
    }
    return Dataset(columns, num_source_domains=1)


def transferred(classes: list[int], predicted: list[int]) -> dict[str, Any]:
    """Of a model that knows a, b and d, in this order."""
    probabilities = np.full((8, 3), 0.1, np.float32)
    probabilities[np.arange(8), predicted] = 0.8
    context: Any = SimpleNamespace(
        validation=two_domains(classes),
        model=SimpleNamespace(classes=("a", "b", "d")),
        class_probabilities=probabilities,
        images=np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32),
    )
    return find_task("transfer").run(context, NoOptions())


def test_both_accuracies_are_over_rows_of_known_classes_and_the_others_are_counted() -> None:
    # Source: a, b, c, d; target: a, a, c, without a label.
    found = transferred([3, 2, 1, 0, 3, 3, 1, -1], predicted=[0, 0, 0, 2, 0, 1, 1, 1])
    assert found["source_accuracy"] == pytest.approx(2 / 3)
    assert found["target_accuracy"] == 0.5
    assert (found["num_source"], found["num_unknown_source"]) == (3, 1)
    assert (found["num_target"], found["num_unknown"]) == (4, 1)
    assert [row["target_accuracy"] for row in found["per_class"]] == [0.5, None, None]


def test_labels_of_the_target_change_no_score_that_chooses() -> None:
    known = transferred([3, 2, 0, 0, 3, 3, 2, 0], predicted=[0, 0, 0, 2, 0, 1, 1, 1])
    without = transferred([3, 2, 0, 0, -1, -1, -1, -1], predicted=[0, 0, 0, 2, 0, 1, 1, 1])
    assert "target_accuracy" not in without
    chosen = [figure.key for figure in find_task("transfer").figures if figure.better and not figure.oracle]
    assert len(chosen) == 7
    assert all(known[key] == without[key] for key in chosen)


def test_a_source_of_other_classes_says_so() -> None:
    with pytest.raises(ValueError, match=r"fewer than two source rows.*\(a, b"):
        transferred([1, 1, 1, 0, 3, 3, 2, 0], predicted=[0] * 8)


def test_alignment_is_of_pairs_above_four_of_five() -> None:
    """The pair at 4 itself is none of them (Gao 2021, section 2.3)."""
    texts = ["a red ball", "two dogs", "one cat here", "some word"]
    vectors = np.eye(8, dtype=np.float32)
    vectors[4] = vectors[0]  # the pair with the score 5 is equal, that with 4 is apart
    data = Dataset(
        {
            "id": Names([str(number) for number in range(4)]),
            "group": Classes(np.arange(4), []),
            "text": Texts([(text,) for text in texts]),
            "text_2": Texts([(text + " too",) for text in texts]),
            "score": Numbers(np.array([5.0, 4.0, 1.0, 0.0])),
        }
    )
    model = SimpleNamespace(encode_texts=lambda given: vectors[: len(given)])
    context: Any = SimpleNamespace(validation=data, model=model)
    found = find_task("sts").run(context, NoOptions())
    assert found["alignment"] == pytest.approx(0, abs=1e-6)
    assert found["num_pairs"] == 4
