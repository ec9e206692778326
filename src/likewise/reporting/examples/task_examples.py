"""Right and wrong examples of the tasks on images and texts, with where the model looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.model.explanations.explanation import overlay
from likewise.reporting.examples.galleries import image_uri
from likewise.reporting.inputs import ReportInputs, TaskExample

__all__ = ["ExampleRow", "chosen_rows", "find_examples"]

_NUM_EACH = 3


@dataclass(frozen=True)
class ExampleRow:
    """One example: its text, what was said and what is true, and its images and maps as data URIs."""

    text: str
    said: str
    true: str
    right: bool
    images: list[tuple[str, str]]
    """Words and data URI of each image: as it is, then with the map of where the model looked."""


def chosen_rows(right: Sequence[bool]) -> list[int]:
    """Up to three right rows and up to three wrong ones, evenly spaced: sources are often sorted."""
    chosen: list[int] = []
    for wanted in (True, False):
        found = np.flatnonzero(np.asarray(right) == wanted)
        places = np.linspace(0, len(found) - 1, min(_NUM_EACH, len(found))).astype(np.int64)
        chosen += found[places].tolist()
    return chosen


def find_examples(inputs: ReportInputs) -> list[tuple[str, list[ExampleRow]]]:
    """For each task its examples, the right ones first.

    Raises:
        ValueError: there are none.
    """
    shown = {title: rows for title, rows in inputs.examples.items() if rows}
    if not shown:
        raise ValueError("It needs a model that answers, compares, entails or grounds.")
    return [
        (title, [_row(one) for one in sorted(rows, key=lambda one: not one.right)])
        for title, rows in shown.items()
    ]


def _row(example: TaskExample) -> ExampleRow:
    images: list[tuple[str, str]] = []
    many = len(example.images) > 1
    for number, image in enumerate(example.images):
        which = ("first ", "second ")[number] if many else ""
        images.append((f"{which}image", image_uri(image)))
        if example.maps:
            mapped: NDArray[np.uint8] = np.asarray(overlay(image, example.maps[number]))
            images.append(
                (f"where it looked{f', {which}image' if many else ''}", image_uri(np.moveaxis(mapped, -1, 0)))
            )
    return ExampleRow(example.text, example.said, example.true, example.right, images)
