"""Chooses the examples of tasks on images and texts that a report shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from likewise.data import Dataset
from likewise.evaluation.context import Context
from likewise.evaluation.tasks.vqa import heaviest_answers
from likewise.metrics.texts.answers import normalized_answer
from likewise.model.answer_maps import answer_maps
from likewise.reporting.inputs import TaskExample

__all__ = ["chosen_rows", "task_examples"]

_NUM_EACH = 3
_MAX_ROWS = 300


def task_examples(context: Context) -> dict[str, list[TaskExample]]:
    """The examples of each task that the model and the data allow, by its title."""
    builders: dict[str, tuple[str, tuple[str, ...], Callable[[Context, Dataset], list[TaskExample]]]] = {
        "Question answering": ("answer", ("image", "text", "answer"), _answers),
    }
    spread = np.unique(np.linspace(0, len(context.validation) - 1, _MAX_ROWS).astype(np.int64))
    rows = context.validation.subset(spread)
    return {
        title: build(context, rows)
        for title, (ability, columns, build) in builders.items()
        if ability in context.model.abilities and all(rows.has(column) for column in columns)
    }


def chosen_rows(right: Sequence[bool]) -> list[int]:
    """Up to three right rows and up to three wrong ones, evenly spaced: sources are often sorted."""
    chosen: list[int] = []
    for wanted in (True, False):
        found = np.flatnonzero(np.asarray(right) == wanted)
        places = np.linspace(0, len(found) - 1, min(_NUM_EACH, len(found))).astype(np.int64)
        chosen += found[places].tolist()
    return chosen


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
