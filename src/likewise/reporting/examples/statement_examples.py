"""Examples of statements about images and of grounded phrases: right ones, wrong ones, with maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset
from likewise.evaluation.context import Context
from likewise.evaluation.phrases import phrases_of
from likewise.evaluation.statements import statements_of
from likewise.metrics.grounding import holds, peak, smooth_maps
from likewise.model.explanations.grounding import grounding_maps
from likewise.model.verdicts import COLUMNS, class_names, judge_dataset, look
from likewise.reporting.examples.task_examples import chosen_rows
from likewise.reporting.inputs import TaskExample

__all__ = ["grounded_phrases", "judged_statements"]

_MAX_PHRASES = 120
_SIDE = 160
_OWN, _POINT = (57, 211, 83), (0, 200, 255)


def judged_statements(context: Context, rows: Dataset, ability: str) -> list[TaskExample]:
    """Statements with verdicts; empty where no class of the data is known to the model.

    Args:
        context: of the model.
        rows: some validation rows.
        ability: `entail` or `compare`.
    """
    model = context.model
    names = class_names(model)
    found = statements_of(rows, names)
    if not found.texts:
        return []
    guesses = judge_dataset(model, ability, rows, found.texts, found.rows).argmax(1)
    right = guesses == found.labels
    chosen = chosen_rows(right.tolist())
    stored = [rows.images(found.rows[chosen], column) for column in COLUMNS[ability]]
    texts = [found.texts[place] for place in chosen]
    return [
        TaskExample(
            text=text,
            images=[one[number].numpy() for one in stored],
            said=f"{seen.verdict.label} ({100 * seen.verdict.probability:.0f} %)",
            true=names[found.labels[place]],
            right=bool(right[place]),
            maps=seen.maps,
        )
        for number, (place, text, seen) in enumerate(
            zip(chosen, texts, look(model, ability, stored, texts), strict=True)
        )
    ]


def grounded_phrases(context: Context, rows: Dataset) -> list[TaskExample]:
    """Phrases with their boxes, the map of the match and its peak."""
    model = context.model
    found = phrases_of(rows, model.config["images"]["fit"])
    if not found.texts:
        return []
    spread = np.linspace(0, len(found.texts) - 1, min(_MAX_PHRASES, len(found.texts))).astype(np.int64)
    texts = [found.texts[place] for place in spread]
    stored = rows.images(found.rows[spread])
    maps, _ = grounding_maps(model, stored, texts)
    points = [peak(heat) for heat in smooth_maps(maps)]
    hits = np.array([holds(found.boxes[place], point) for place, point in zip(spread, points, strict=True)])
    return [
        TaskExample(
            text=texts[number],
            images=[_marked(stored[number].numpy(), found.boxes[spread[number]], points[number])],
            said="points into its box" if hits[number] else "points elsewhere",
            true="the green box",
            right=bool(hits[number]),
            maps=[maps[number]],
        )
        for number in chosen_rows(hits.tolist())
    ]


def _marked(
    image: NDArray[np.uint8], boxes: NDArray[np.float64], point: tuple[float, float] | None
) -> NDArray[np.uint8]:
    """A (3, S, S) image with green frames and a blue point on it."""
    from PIL import Image, ImageDraw

    side = max(_SIDE, image.shape[1])
    drawn = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).resize(
        (side, side), Image.Resampling.NEAREST
    )
    pen = ImageDraw.Draw(drawn)

    def frame(corners: Sequence[float], color: Any, width: int) -> None:
        pen.rectangle([side * corner for corner in corners], outline=color, width=width)

    for x, y, width, height in boxes.tolist():
        frame((x, y, x + width, y + height), (0, 0, 0), 4)
        frame((x, y, x + width, y + height), _OWN, 2)
    if point is not None:
        x, y = (side * share for share in point)
        pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=_POINT, outline=(0, 0, 0))
    return np.ascontiguousarray(np.asarray(drawn).transpose(2, 0, 1))
