"""Baselines that do not look at the images."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.evaluation.text_baselines import (
    accuracy_error,
    most_frequent,
    rows_of_other_groups,
    text_only_predictions,
)


def test_the_most_frequent_class_is_counted() -> None:
    assert most_frequent(["no", "yes", "yes"]) == "yes"
    assert most_frequent([2, 1, 1, 2]) == 2
    with pytest.raises(ValueError, match="no row"):
        most_frequent([])


def test_texts_alone_are_learned_where_they_tell() -> None:
    texts = [
        f"the {color} thing is {size}" for color in ("red", "blue", "green") for size in ("big", "small")
    ]
    classes = ["yes" if "big" in text else "no" for text in texts]
    assert text_only_predictions(texts * 5, classes * 5, ["the pink thing is big", "small"]) == ["yes", "no"]


def test_counts_weigh() -> None:
    """Rows that occur twice count twice, as if they were not put together."""
    assert text_only_predictions(["a b", "a b", "a b"], [0, 1, 1], ["a b"]) == [1]
    assert text_only_predictions(["a b", "a b", "a b"], [0, 0, 1], ["a b"]) == [0]


def test_texts_without_words_or_of_one_class_give_the_most_frequent() -> None:
    assert text_only_predictions(["?", "!", "!!"], [0, 1, 1], ["?"]) == [1]
    assert text_only_predictions(["one", "two"], ["a", "a"], ["three"]) == ["a"]
    assert text_only_predictions(["红色的圆", "蓝色的圆"] * 3, ["真", "假"] * 3, ["红色"]) == ["真"]
    with pytest.raises(ValueError, match="2 texts and 1 classes"):
        text_only_predictions(["a", "b"], ["x"], [])


@pytest.mark.parametrize("groups", [[0, 0, 1, 1], [0, 1, 2, 2, 2, 3], list(range(50)), [5, 5, 9, 9, 7]])
def test_every_row_gets_one_of_another_group(groups: list[int]) -> None:
    given = np.array(groups)
    others = rows_of_other_groups(given)
    assert sorted(others.tolist()) == list(range(len(given)))
    assert (given[others] != given).all()


def test_one_group_of_most_rows_cannot_be_shuffled() -> None:
    with pytest.raises(ValueError, match="3 of 5 rows are of one group"):
        rows_of_other_groups(np.array([0, 0, 0, 1, 2]))


def test_the_error_is_the_binomial_one_of_rows_by_themselves_and_larger_of_equal_rows() -> None:
    right = np.array([True, True, True, False])
    assert accuracy_error(right, np.arange(4)) == pytest.approx((0.75 * 0.25 / 4) ** 0.5)
    twice = np.repeat(right, 2)
    assert accuracy_error(twice, np.repeat(np.arange(4), 2)) == pytest.approx((0.75 * 0.25 / 4) ** 0.5)
