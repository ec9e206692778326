"""Phrase grounding: the region of an image that a phrase names, by where the match of the two looks.

No boxes are needed in training. Dimensions: B pairs, g side of a map, K given boxes, S side of a square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.images.geometry import boxes_in_image, boxes_in_square
from likewise.errors import DataError
from likewise.metrics.grounding import box_scores, peak, peak_region, smooth_maps
from likewise.model.explanations.attention_cam import attention_cam
from likewise.model.inputs import batches
from likewise.model.runtime import Runtime

__all__ = ["Grounding", "checked_boxes", "ground_squares", "grounding_maps"]

_MATCHES = 1
"""The class of the match's logits that is explained."""


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """Where a phrase is in an image; places in pixels of the image."""

    phrase: str
    heat: NDArray[np.float32]
    """(g, g), at least 0: the map over the square that the model sees; not scaled."""
    probability: float
    """Of the match of image and phrase."""
    point: tuple[float, float] | None
    """x and y of the map's highest place; None where no place is higher than others."""
    region: tuple[float, float, float, float] | None
    """x, y, width and height of the box around what is at least half as high, connected with the point."""
    box_scores: list[float | None]
    """A score of each given box, the higher the likelier; None of one that lies outside the square."""

    @property
    def best_box(self) -> int | None:
        """Which given box has the highest score; None where none has a score."""
        scores = [-1.0 if score is None else score for score in self.box_scores]
        return int(np.argmax(scores)) if max(scores, default=-1.0) >= 0 else None


def grounding_maps(
    model: Runtime, stored: Tensor, phrases: Sequence[str], *, layer: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Maps of phrases over squares.

    Args:
        model: can ground.
        stored: (B, 3, S, S) uint8.
        phrases: B.
        layer: index of the fusion layer; the middle one when None.

    Returns:
        (B, g, g) maps, and (B,) probabilities of the match.

    Raises:
        AbilityError: the model cannot ground.
        ConfigError: there is no such layer.
    """
    logits, maps = attention_cam(model, "ground", [stored], phrases, classes=_MATCHES, layer=layer)
    return maps[0].numpy(), logits.softmax(dim=1)[:, _MATCHES].numpy()


def ground_squares(
    model: Runtime,
    stored: Tensor,
    sizes: Sequence[tuple[int, int]],
    phrases: Sequence[str],
    boxes: Sequence[Sequence[Sequence[float]]] | None = None,
    *,
    layer: int | None = None,
    batch_size: int = 64,
) -> list[Grounding]:
    """Ground phrases in images that are squares already.

    Args:
        model: can ground.
        stored: (B, 3, S, S) uint8.
        sizes: width and height of each image before it became square.
        phrases: B.
        boxes: of each image K boxes (x, y, width, height) in its pixels.
        layer: index of the fusion layer; the middle one when None.
        batch_size: pairs at a time.
    """
    fit = model.config["images"]["fit"]
    found = []
    for part in batches(len(phrases), batch_size):
        maps, probabilities = grounding_maps(model, stored[part], phrases[part], layer=layer)
        for row, (heat, smooth) in enumerate(zip(maps, smooth_maps(maps), strict=True), part.start):
            given = [] if boxes is None else boxes[row]
            shown = boxes_in_square(given, sizes[row], fit)
            scores = zip(box_scores(smooth, shown).tolist(), shown[:, 2:].min(axis=1) > 0, strict=True)
            top, region = peak(smooth), peak_region(smooth)
            places: list[Any] = [
                None if box is None else tuple(boxes_in_image([box], sizes[row], fit)[0].tolist())
                for box in (None if top is None else (*top, 0.0, 0.0), region)
            ]
            found.append(
                Grounding(
                    phrase=phrases[row],
                    heat=heat,
                    probability=float(probabilities[row - part.start]),
                    point=None if places[0] is None else places[0][:2],
                    region=places[1],
                    box_scores=[score if is_shown else None for score, is_shown in scores],
                )
            )
    return found


def checked_boxes(boxes: Sequence[Any], num_phrases: int) -> list[list[list[float]]]:
    """Lists of boxes, one list for each phrase, or one for all.

    Raises:
        DataError: another number of lists, or something that is no box.
    """
    given = list(boxes)
    if given and all(_is_box(one) for one in given):
        given = [given]  # the boxes of one image, for all phrases
    if len(given) == 1:
        given *= num_phrases
    if len(given) != num_phrases:
        raise DataError(f"boxes come as one list for each of {num_phrases} phrases; got {len(given)} lists.")
    checked = []
    for place, listed in enumerate(given):
        if not np.iterable(listed) or not all(_is_box(box) for box in listed):
            raise DataError(f"boxes of phrase {place}: a box is x, y, width, height; got {listed!r}")
        numbers = np.asarray(listed, np.float64).reshape(-1, 4)
        if not np.isfinite(numbers).all() or (numbers[:, 2:] <= 0).any():
            raise DataError(f"boxes of phrase {place}: width and height must be above 0; got {listed!r}")
        checked.append(numbers.tolist())
    return checked


def _is_box(value: Any) -> bool:
    """Whether a value is four numbers."""
    try:
        return np.asarray(value, np.float64).shape == (4,)
    except (TypeError, ValueError):
        return False
