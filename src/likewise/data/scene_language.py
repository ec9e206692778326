"""What is said of scenes: captions, questions with answers, statements with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from likewise.data.scene_content import COLOURS, MAX_SHAPES, RELATIONS, SHAPES, SIZES, SceneContent
from likewise.draw import Draw

__all__ = [
    "Question",
    "SceneStatement",
    "TwoSceneStatement",
    "ask_questions",
    "make_pairs",
    "make_statements",
    "write_captions",
]


@dataclass(frozen=True)
class Question:
    """A question about scene `scene`; kind is colour, shape, size, count, relation or yes-no."""

    scene: int
    kind: str
    question: str
    answer: str


@dataclass(frozen=True)
class SceneStatement:
    """A statement about scene `scene` and whether the picture makes it true, false, or cannot decide it."""

    scene: int
    text: str
    truth: Literal["true", "false", "undecided"]


@dataclass(frozen=True)
class TwoSceneStatement:
    """A statement about two scenes, the first shown left, and whether it is true."""

    first: int
    second: int
    text: str
    truth: bool


def write_captions(content: SceneContent) -> list[str]:
    """One sentence a scene, such as "a small red circle left of a large blue square and above a small green star"."""
    captions = []
    for count, sizes, colours, shapes, relations in zip(
        content.counts.tolist(),
        content.sizes.tolist(),
        content.colours.tolist(),
        content.shapes.tolist(),
        content.relations.tolist(),
        strict=True,
    ):
        names = [f"a {SIZES[sizes[k]]} {COLOURS[colours[k]]} {SHAPES[shapes[k]]}" for k in range(count)]
        parts = [f"{RELATIONS[relations[k - 1]]} {names[k]}" for k in range(1, count)]
        captions.append(" ".join([names[0], " and ".join(parts)]).strip())
    return captions


def ask_questions(content: SceneContent, draw: Draw) -> list[Question]:
    raise NotImplementedError


def make_statements(content: SceneContent, draw: Draw) -> list[SceneStatement]:
    raise NotImplementedError


def make_pairs(content: SceneContent, draw: Draw) -> list[TwoSceneStatement]:
    raise NotImplementedError
