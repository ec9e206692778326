"""A generated world of small captioned scenes in which everything is known.

Coloured shapes in relation, with captions, boxes, questions and answers, true, false and undecided
statements, statements about two scenes, and two drawing styles that serve as two domains. Scene i of a seed
is the same however many are drawn, and shows the same thing in both styles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.data.scenes.content import SHAPES, SceneContent, draw_content
from likewise.data.scenes.drawing import STYLES, draw_images
from likewise.data.scenes.language import Question, ask_questions, write_captions
from likewise.data.scenes.statements import SceneStatement, TwoSceneStatement, make_pairs, make_statements
from likewise.errors import ConfigError
from likewise.step_random import StepRandom

__all__ = ["LARGEST", "SMALLEST", "Question", "SceneStatement", "Scenes", "TwoSceneStatement", "draw_scenes"]

SMALLEST, LARGEST = 24, 512


@dataclass(frozen=True, kw_only=True)
class Scenes:
    """N scenes and what is known of them.

    Attributes:
        images: (N, 3, S, S) uint8, RGB.
        captions: N sentences that say all of a scene: sizes, colours, shapes, relations. Scenes that show the
            same thing have the same caption.
        groups: (N,) int64, equal where captions are equal.
        labels: (N,) int64 into `label_names`: the main shape, that is the large one or the only one.
        domain: (N,) int64 into `domain_names`: the drawing style.
        boxes: (N, 3, 4) float32, left, top, right, bottom in pixels (right and bottom exclusive); 0 where
            unused.
        content: the shapes, colours, sizes and relations as numbers, by slot as in `boxes`.
        seed: what the scenes were drawn from.
    """

    images: NDArray[np.uint8]
    captions: list[str]
    groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    domain: NDArray[np.int64]
    boxes: NDArray[np.float32]
    content: SceneContent
    seed: int
    stream: int = 0
    label_names: tuple[str, ...] = SHAPES
    domain_names: tuple[str, ...] = STYLES

    def __len__(self) -> int:
        return len(self.captions)

    def questions(self) -> list[Question]:
        """Questions on colour, shape, size, count, relation, yes or no: those with a clear answer."""
        return ask_questions(self.content, StepRandom(self.seed, self.stream))

    def statements(self) -> list[SceneStatement]:
        """A true, a false and an undecided statement of each scene."""
        return make_statements(self.content, StepRandom(self.seed, self.stream))

    def pairs(self) -> list[TwoSceneStatement]:
        """One statement about each scene and its neighbour together, true in half of the cases."""
        return make_pairs(self.content, StepRandom(self.seed, self.stream))


def draw_scenes(count: int, *, seed: int, size: int = 64, style: str = "flat", stream: int = 0) -> Scenes:
    """Draws scenes.

    Args:
        count: how many, N.
        seed: scene i of a seed is always the same, however many are drawn.
        size: side of the images in pixels, 24 to 512.
        style: "flat" or "sketch".
        stream: another series of scenes of the same seed.

    Raises:
        ConfigError: a count below 1, a size out of bounds, an unknown style.
    """
    if count < 1:
        raise ConfigError(f"scenes: the count must be at least 1, got {count}")
    if not SMALLEST <= size <= LARGEST:
        raise ConfigError(f"scenes: the size must lie between {SMALLEST} and {LARGEST} pixels, got {size}")
    if style not in STYLES:
        raise ConfigError(f"scenes: unknown style {style!r}; there are {', '.join(STYLES)}")
    draw = StepRandom(seed, stream)
    content = draw_content(count, draw)
    images, boxes = draw_images(content, draw, size=size, style=style)
    captions = write_captions(content)
    numbers: dict[str, int] = {}
    groups = np.array([numbers.setdefault(caption, len(numbers)) for caption in captions], dtype=np.int64)
    return Scenes(
        images=images,
        captions=captions,
        groups=groups,
        labels=content.shapes[np.arange(count), content.main],
        domain=np.full(count, STYLES.index(style), dtype=np.int64),
        boxes=boxes,
        content=content,
        seed=seed,
        stream=stream,
    )
