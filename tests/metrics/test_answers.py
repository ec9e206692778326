"""When two answers are equal, and of which type questions and answers are."""

from __future__ import annotations

import itertools

import pytest

from likewise.metrics.texts.answers import answer_type, consensus_accuracy, normalized_answer, question_type


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes.", "yes"),
        ("a dog", "dog"),
        ("The  Red one!", "red 1"),
        ("Two", "2"),
        ("none", "0"),
        ("3.5", "3.5"),
        ("10:30", "10:30"),
        ("Don't know", "dont know"),
        ("dont know", "dont know"),
        ("don’t know", "dont know"),
        ("I’d've", "idve"),
        ("we're", "we're"),
        ("we’re", "we're"),
        ("were", "were"),
        ("its", "its"),
        ("6'2", "6'2"),
        ("the", "the"),
        ("狗", "狗"),
    ],
)
def test_equal_answers_are_one(text: str, expected: str) -> None:
    assert normalized_answer(text) == expected


@pytest.mark.parametrize(
    ("matches", "expected"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)]
)
def test_consensus_is_the_mean_over_nine_of_ten_annotators(matches: int, expected: float) -> None:
    """As published: by the ten subsets themselves."""
    given = [("yes", matches / 10), ("no", 1 - matches / 10)] if matches < 10 else [("yes", 1.0)]
    assert consensus_accuracy("Yes", given) == pytest.approx(expected)
    people = ["yes"] * matches + ["no"] * (10 - matches)
    subsets = [min(1.0, sum(one == "yes" for one in nine) / 3) for nine in itertools.combinations(people, 9)]
    assert consensus_accuracy("yes", given) == pytest.approx(sum(subsets) / 10)


def test_answers_that_read_the_same_add_up() -> None:
    assert consensus_accuracy("two", [("2", 0.1), ("Two", 0.2), ("three", 0.7)]) == pytest.approx(0.9)


def test_types() -> None:
    for question, expected in (
        ("What colour is it?", "what colour"),
        ("Why?", "why"),
        ("这是什么颜色", "这是"),
    ):
        assert question_type(question) == expected
    answers = ("No", "seven", "1,000", "red", "10 dogs")
    assert [answer_type(one) for one in answers] == ["yes/no", "number", "number", "other", "other"]
