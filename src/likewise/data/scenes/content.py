"""What scenes show: one to three coloured shapes and how they stand to each other.

Legend: N scenes, at most K = 3 shapes in each. Slot 0 holds the shape that is named first; every relation is
read from it: "slot 0 left of slot 1 and above slot 2".
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.step_random import StepRandom

__all__ = ["COLOURS", "SHAPES", "SIZES", "RELATIONS", "MAX_SHAPES", "SceneContent", "draw_content"]

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross")
SIZES = ("small", "large")
RELATIONS = ("left of", "right of", "above", "below")
MAX_SHAPES = 3

_RADIUS = np.array([0.105, 0.195], dtype=np.float32)  # of the image's side: large is seen as twice small
# Of slot 0 from the other, x and y.
_DIRECTION = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]], dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class SceneContent:
    """What N scenes show. Unused slots hold -1 (0 in centres and radii).

    Attributes:
        colours: (N, 3) int64 into COLOURS.
        shapes: (N, 3) int64 into SHAPES.
        sizes: (N, 3) int64 into SIZES. A scene of several shapes has exactly one large: the main one.
        relations: (N, 2) int64 into RELATIONS: of slot 0 to slot 1, of slot 0 to slot 2.
        counts: (N,) int64, 1 to 3.
        centres: (N, 3, 2) float32, x and y in [0, 1], y down.
        radii: (N, 3) float32, of the image's side.
    """

    colours: NDArray[np.int64]
    shapes: NDArray[np.int64]
    sizes: NDArray[np.int64]
    relations: NDArray[np.int64]
    counts: NDArray[np.int64]
    centres: NDArray[np.float32]
    radii: NDArray[np.float32]

    @property
    def main(self) -> NDArray[np.int64]:
        """(N,) the slot of the main shape: the large one, or the only one."""
        return np.asarray(np.argmax(self.sizes, axis=1), dtype=np.int64)


def draw_content(count: int, draw: StepRandom) -> SceneContent:
    """Draws what `count` scenes show; scene i depends on the draw and on i alone."""
    uniform = draw.uniform(torch.arange(count), 16, purpose="scene content").numpy()  # (N, 16)
    counts = 1 + (uniform[:, 0] > 0.15).astype(np.int64) + (uniform[:, 0] > 0.80)
    # (N, 3) a colour and a shape in one number
    kinds = _distinct(uniform[:, 1:4], len(COLOURS) * len(SHAPES))
    large = np.floor(uniform[:, 4] * counts).astype(np.int64)
    sizes = (np.arange(MAX_SHAPES) == large[:, None]).astype(np.int64)
    sizes[counts == 1, 0] = uniform[counts == 1, 5] < 0.5
    first = np.floor(uniform[:, 6] * 4).astype(np.int64)
    # The second relation lies on the other axis: three shapes stand in an L, and no other words fit them.
    second = np.where(first < 2, 2, 0) + (uniform[:, 7] < 0.5)
    relations = np.stack([first, second], axis=1)
    kinds, sizes, relations = _in_order_of_naming(kinds, sizes, relations, counts)
    radii = (_RADIUS[sizes] * (0.94 + 0.12 * uniform[:, 8:9])).astype(np.float32)
    centres = _place(relations, radii, counts, uniform[:, 9:])
    unused = np.arange(MAX_SHAPES) >= counts[:, None]
    return SceneContent(
        colours=np.where(unused, -1, kinds // len(SHAPES)),
        shapes=np.where(unused, -1, kinds % len(SHAPES)),
        sizes=np.where(unused, -1, sizes),
        relations=np.where(unused[:, 1:], -1, relations),
        counts=counts,
        centres=np.where(unused[:, :, None], 0, centres).astype(np.float32),
        radii=np.where(unused, 0, radii).astype(np.float32),
    )


def _distinct(uniform: NDArray[np.float32], choices: int) -> NDArray[np.int64]:
    """(N, 3) three different numbers below `choices` from (N, 3) uniform ones."""
    first, second, third = (np.floor(uniform[:, k] * (choices - k)).astype(np.int64) for k in range(3))
    second += second >= first
    low, high = np.minimum(first, second), np.maximum(first, second)
    third += third >= low
    third += third >= high
    return np.stack([first, second, third], axis=1)


def _in_order_of_naming(
    kinds: NDArray[np.int64],
    sizes: NDArray[np.int64],
    relations: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Orders the slots so that scenes that show the same thing are described in the same words.

    "A left of B" and "B right of A" are one scene; which is said depends on A and B alone, by a fixed
    shuffled rank, so that all four relations occur. In a scene of three the corner of the L is named first,
    and the rank orders the two others.
    """
    rank = (kinds * len(SIZES) + sizes + 1) * 59 % 97  # 97 is prime and above the 96 kinds: no ties
    kinds, sizes, relations = kinds.copy(), sizes.copy(), relations.copy()
    two = (counts == 2) & (rank[:, 0] > rank[:, 1])
    three = (counts == 3) & (rank[:, 1] > rank[:, 2])
    for array in (kinds, sizes):
        array[two, :2] = array[two, 1::-1]
        array[three, 1:] = array[three, :0:-1]
    relations[two, 0] ^= 1  # left and right, above and below are neighbours in RELATIONS
    relations[three] = relations[three, ::-1]
    return kinds, sizes, relations


def _place(
    relations: NDArray[np.int64],
    radii: NDArray[np.float32],
    counts: NDArray[np.int64],
    uniform: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(N, 3, 2) centres in [0, 1], jittered within what keeps every relation plain and no shape cut off."""
    towards = _DIRECTION[relations]  # (N, 2, 2), of slot 0 seen from slots 1 and 2
    distance = 0.39 + 0.08 * uniform[:, 0, None]  # (N, 1)
    centres = np.full((len(counts), MAX_SHAPES, 2), 0.5, dtype=np.float32)
    two, three = counts == 2, counts == 3
    centres[two, 0] += 0.5 * distance[two] * towards[two, 0]
    centres[two, 1] -= 0.5 * distance[two] * towards[two, 0]
    centres[three, 0] += 0.5 * distance[three] * towards[three].sum(axis=1)
    for slot in (1, 2):
        centres[three, slot] = centres[three, 0] - distance[three] * towards[three, slot - 1]
    spread = np.array([0.0, 0.035, 0.02], dtype=np.float32)[counts - 1]
    own = 2 * uniform[:, 1:7].reshape(-1, MAX_SHAPES, 2) - 1
    centres += spread[:, None, None] * own
    shared = np.array([0.30, 0.07, 0.05], dtype=np.float32)[counts - 1]
    # The first slot's two numbers also move the scene as a whole.
    centres += shared[:, None, None] * own[:, :1]
    reach = radii[:, :, None] * 1.05 + 0.03
    return np.clip(centres, reach, 1 - reach).astype(np.float32)
