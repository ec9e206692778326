"""Where each word looks: maps over pictures, for pairs that the model found right and wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.model.grad_cam import overlay
from likewise.reporting.inputs import ExplainedPair, ReportInputs
from likewise.reporting.pictures import picture_uri

__all__ = ["LookRow", "find_looks"]

_MOST_WORDS = 16


@dataclass(frozen=True)
class LookRow:
    """One pair: its picture, and the maps of its text and words as `data:` addresses."""

    caption: str
    right: bool
    probability: float
    picture: str
    whole: str
    words: list[tuple[str, str]]
    num_hidden: int
    """Words that are not shown."""


def find_looks(inputs: ReportInputs) -> list[LookRow]:
    """A row for each explained pair, the right ones first."""
    ordered = sorted(inputs.explanations, key=lambda pair: not pair.right)
    return [_row(pair) for pair in ordered]


def _row(pair: ExplainedPair) -> LookRow:
    found = pair.explanation
    shown = list(zip(found.words, found.maps, strict=True))[:_MOST_WORDS]
    return LookRow(
        caption=pair.caption,
        right=pair.right,
        probability=found.probability,
        picture=picture_uri(pair.picture),
        whole=_over(pair.picture, found.whole),
        words=[(word, _over(pair.picture, heat)) for word, heat in shown],
        num_hidden=len(found.words) - len(shown),
    )


def _over(picture: NDArray[np.uint8], heat: NDArray[np.float32]) -> str:
    return picture_uri(np.moveaxis(np.asarray(overlay(picture, heat)), -1, 0))
