"""Verdicts on statements about one image (`entail`) or two (`compare`), with where the model looked.

Dimensions: N statements, B of a batch, C classes, g side of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.dataset import Dataset
from likewise.model.explanations.attention_cam import attention_cam
from likewise.model.inputs import batches
from likewise.model.runtime import Runtime

__all__ = [
    "COLUMNS",
    "LookedAt",
    "Verdict",
    "class_names",
    "class_probabilities",
    "judge_dataset",
    "look",
    "verdicts",
]

COLUMNS = {"entail": ("image",), "compare": ("image", "image_2")}
"""The columns of images that each ability reads."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a model says of a statement."""

    label: str
    """The most probable class."""
    probabilities: dict[str, float]
    """Of all classes, which sum to 1."""

    @property
    def probability(self) -> float:
        """Of the label."""
        return self.probabilities[self.label]


@dataclass(frozen=True, kw_only=True)
class LookedAt:
    """A verdict with (g, g) maps, one for each image: what supports its label, at least 0; not scaled."""

    verdict: Verdict
    maps: list[NDArray[np.float32]]


def class_probabilities(
    model: Runtime, ability: str, stored: Sequence[Tensor], texts: Sequence[str]
) -> NDArray[np.float32]:
    """Probabilities of the classes.

    Args:
        model: has the ability.
        ability: `entail` or `compare`.
        stored: for each image of a statement (B, 3, S, S) uint8 squares.
        texts: B statements.

    Returns:
        (B, C) float32.

    Raises:
        AbilityError: the model lacks the ability.
    """
    network = model.needs(ability)
    tokens, mask = model.tokens(texts)
    with model.computing():
        logits = getattr(network, ability)(*map(model.pixels, stored), tokens, mask)
    probabilities: NDArray[np.float32] = logits.float().softmax(dim=1).cpu().numpy()
    return probabilities


def judge_dataset(
    model: Runtime,
    ability: str,
    data: Dataset,
    texts: Sequence[str],
    rows: NDArray[np.int64],
    *,
    batch_size: int = 128,
) -> NDArray[np.float32]:
    """(N, C) probabilities of statements about images of a dataset, read from its cache.

    Args:
        model: has the ability.
        ability: `entail` or `compare`.
        data: has the columns of images.
        texts: N statements.
        rows: (N,) the row of each.
        batch_size: statements at a time.
    """
    found = [
        class_probabilities(
            model,
            ability,
            [data.images(rows[part], column) for column in COLUMNS[ability]],
            texts[part],
        )
        for part in batches(len(texts), batch_size)
    ]
    return np.concatenate(found) if found else np.zeros((0, len(class_names(model))), np.float32)


def class_names(model: Runtime) -> list[str]:
    """Names of the model's classes."""
    network: Any = model.network
    names: list[str] = network.classes
    return names


def verdicts(model: Runtime, probabilities: NDArray[np.float32]) -> list[Verdict]:
    """(N, C) probabilities as verdicts."""
    names = class_names(model)
    return [
        Verdict(label=names[int(row.argmax())], probabilities=dict(zip(names, row.tolist(), strict=True)))
        for row in probabilities
    ]


def look(
    model: Runtime,
    ability: str,
    stored: Sequence[Tensor],
    texts: Sequence[str],
    *,
    layer: int | None = None,
) -> list[LookedAt]:
    """Verdicts with maps; arguments as of `attention_cam`."""
    logits, maps = attention_cam(model, ability, stored, texts, layer=layer)
    found = verdicts(model, logits.softmax(dim=1).numpy())
    return [
        LookedAt(verdict=verdict, maps=[one[row].numpy() for one in maps])
        for row, verdict in enumerate(found)
    ]
