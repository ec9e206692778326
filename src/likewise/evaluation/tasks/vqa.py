"""Visual question answering: how often is the likeliest answer the right one?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset
from likewise.data.columns import QUESTION, REQUIRED, Needs
from likewise.evaluation.base import Figure, Task, task
from likewise.evaluation.context import Context
from likewise.evaluation.text_baselines import (
    BASELINE_FIGURES,
    accuracy_error,
    most_frequent,
    rows_of_other_groups,
    text_only_predictions,
    with_other_images,
)
from likewise.metrics.texts.answers import answer_type, consensus_accuracy, normalized_answer, question_type
from likewise.model.answers import Score

__all__ = ["VQA", "VQAOptions", "heaviest_answers"]

_MOST_TYPES = 20


@dataclass(frozen=True, kw_only=True)
class VQAOptions:
    """Options of question answering."""

    answer_score: Score = "sum"
    """vqa: rank answers by the sum of their tokens' log-likelihoods, or by the mean."""


@task("vqa")
class VQA(Task):
    """The likeliest of the model's known answers against the one that most people gave."""

    title = "Question answering"
    summary = "accuracy of answers to questions about images, beside text alone and shuffled images"
    needs = Needs("image", text=QUESTION, answer=REQUIRED)
    abilities = ("answer",)
    options = VQAOptions
    monitored: ClassVar = "always"
    order = 12
    figures = (
        Figure(
            "accuracy",
            "Accuracy of answers",
            "share",
            "higher",
            chance="majority_accuracy",
            headline="Accuracy of answers",
            curve=True,
        ),
        Figure("consensus_accuracy", "VQA v2's accuracy, by agreement of ten annotators", "share", "higher"),
        *BASELINE_FIGURES,
        Figure("unknown_share", "Questions whose answer training never had", "share", "lower"),
        Figure("num_answers", "Answers to choose from", "count"),
        Figure("num_questions", "Questions", "count"),
    )
    extras = ("by_question_type", "by_answer_type", "note")

    def run(self, context: Context, options: VQAOptions) -> dict[str, Any]:
        """See `Task.run`."""
        train, validation = context.train, context.validation
        questions = [texts[0] for texts in validation.texts or ()]
        truth = heaviest_answers(validation)
        known = context.model.needs("answer").known_answers()

        def right(answers: Sequence[str]) -> NDArray[np.bool_]:
            pairs = zip(answers, truth, strict=True)
            return np.array([normalized_answer(one) == normalized_answer(other) for one, other in pairs])

        def answered(data: Dataset) -> list[str]:
            found = context.model.answer_dataset(data, score=options.answer_score)
            return [ranked[0].text for ranked in found]

        answers = answered(validation)
        hits = right(answers)
        learned, notes = heaviest_answers(train), []
        by_text = None
        # The model's answers are in the order of their frequency in its training.
        majority = most_frequent(learned or known)
        if learned:
            asked = [texts[0] for texts in train.texts or ()]
            by_text = right(text_only_predictions(asked, learned, questions))
        else:
            notes.append(
                "there is no training part for the baseline of text alone; the majority is that of the "
                "model's own training"
            )
        normalized = {normalized_answer(one) for one in known}
        figures: dict[str, Any] = {
            "accuracy": float(hits.mean()),
            "accuracy_error": accuracy_error(hits, validation.groups),
            "majority_accuracy": float(right([majority] * len(truth)).mean()),
            "unknown_share": float(np.mean([normalized_answer(one) not in normalized for one in truth])),
            "num_answers": float(len(known)),
            "num_questions": float(len(truth)),
            "by_question_type": _by_type([question_type(one) for one in questions], hits, by_text),
            "by_answer_type": _by_type([answer_type(one) for one in truth], hits, by_text),
        }
        if by_text is not None:
            figures["text_only_accuracy"] = float(by_text.mean())
        given = validation.column("answer").values
        if any(len(row) > 1 for row in given):
            scores = [consensus_accuracy(one, row) for one, row in zip(answers, given, strict=True)]
            figures["consensus_accuracy"] = float(np.mean(scores))
        try:
            others = with_other_images(validation, rows_of_other_groups(validation.groups))
        except ValueError as error:
            notes.append(str(error))
        else:
            figures["shuffled_accuracy"] = float(right(answered(others)).mean())
        return figures | ({"note": "; ".join(notes)} if notes else {})


def heaviest_answers(data: Dataset) -> list[str]:
    """The answer of each row that most people gave; of equally frequent ones the first."""
    if not data.has("answer"):
        return []
    return [max(row, key=lambda pair: pair[1])[0] for row in data.column("answer").values if row]


def _by_type(
    types: Sequence[str], hits: NDArray[np.bool_], by_text: NDArray[np.bool_] | None
) -> dict[str, dict[str, float]]:
    """Accuracy, the text-only model's if there is one, and the number of questions, of the most frequent
    types."""
    kinds = np.array(types)
    return {
        name: {
            "accuracy": float(hits[kinds == name].mean()),
            "num_questions": float(count),
        }
        | ({} if by_text is None else {"text_only_accuracy": float(by_text[kinds == name].mean())})
        for name, count in Counter(types).most_common(_MOST_TYPES)
    }
