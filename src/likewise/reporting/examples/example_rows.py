"""Chooses the examples of tasks on images and texts that a report shows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from likewise.data import Dataset
from likewise.evaluation.context import Context
from likewise.evaluation.tasks.vqa import heaviest_answers
from likewise.metrics.texts.answers import normalized_answer
from likewise.model.explanations.answer_maps import answer_maps
from likewise.reporting.examples.statement_examples import grounded_phrases, judged_statements
from likewise.reporting.examples.task_examples import chosen_rows
from likewise.reporting.inputs import TaskExample

__all__ = ["task_examples"]

_MAX_ROWS = 300


def task_examples(context: Context) -> dict[str, list[TaskExample]]:
    """The examples of each task that the model and the data allow, by its title."""
    builders: dict[str, tuple[str, tuple[str, ...], Callable[[Context, Dataset], list[TaskExample]]]] = {
        "Question answering": ("answer", ("image", "text", "answer"), _answers),
        "Visual entailment": (
            "entail",
            ("image", "text", "label"),
            partial(judged_statements, ability="entail"),
        ),
        "Two-image reasoning": (
            "compare",
            ("image", "image_2", "text", "label"),
            partial(judged_statements, ability="compare"),
        ),
        "Phrase grounding": ("ground", ("image", "boxes"), grounded_phrases),
    }
    spread = np.unique(np.linspace(0, len(context.validation) - 1, _MAX_ROWS).astype(np.int64))
    rows = context.validation.subset(spread)
    examples = {
        title: build(context, rows)
        for title, (ability, columns, build) in builders.items()
        if ability in context.model.abilities and all(rows.has(column) for column in columns)
    }
    return {title: found for title, found in examples.items() if found}


def _answers(context: Context, rows: Dataset) -> list[TaskExample]:
    """Questions with the likeliest answer."""
    ranked = [found[0] for found in context.model.answer_dataset(rows)]
    truth = heaviest_answers(rows)
    right = [
        normalized_answer(one.text) == normalized_answer(t) for one, t in zip(ranked, truth, strict=True)
    ]
    chosen = chosen_rows(right)
    questions = [(rows.texts or [])[row][0] for row in chosen]
    images = rows.images(chosen)
    maps = answer_maps(context.model, images, questions, [ranked[row].text for row in chosen])
    return [
        TaskExample(
            text=question,
            images=[image.numpy()],
            said=f"{ranked[row].text} ({100 * ranked[row].probability:.0f} %)",
            true=truth[row],
            right=right[row],
            maps=[heat],
        )
        for row, question, image, heat in zip(chosen, questions, images, maps, strict=True)
    ]
