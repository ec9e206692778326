"""What is said and asked of scenes: captions, and questions with their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch

from likewise.data.scenes.content import COLOURS, RELATIONS, SHAPES, SIZES, SceneContent
from likewise.step_random import StepRandom

__all__ = ["Dice", "Question", "Scene", "Thing", "ask_questions", "plural", "roll", "told", "write_captions"]

T = TypeVar("T")


class Thing(NamedTuple):
    """One shape of a scene, in words."""

    size: str
    colour: str
    shape: str

    @property
    def name(self) -> str:
        """What tells it from the others of its scene: no two have the same colour and shape."""
        return f"{self.colour} {self.shape}"


class Scene(NamedTuple):
    """A scene in words; relations are (first, relation, second) with their inverses."""

    things: list[Thing]
    relations: list[tuple[Thing, str, Thing]]


@dataclass(frozen=True)
class Question:
    """A question about scene `scene`; kind is colour, shape, size, count, relation or yes-no."""

    scene: int
    kind: str
    question: str
    answer: str


class Dice:
    """Takes one uniform number after another from those drawn for a scene."""

    def __init__(self, uniform: Sequence[float]) -> None:
        self._left = iter(uniform)

    def chance(self, probability: float = 0.5) -> bool:
        """True with that probability."""
        return next(self._left) < probability

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as likely."""
        return options[int(next(self._left) * len(options))]

    def other(self, options: Sequence[T], than: T) -> T:
        """One of the options that is not `than`."""
        return self.pick([option for option in options if option != than])


def roll(content: SceneContent, draw: StepRandom, purpose: str, count: int) -> list[Dice]:
    """Dice of `count` numbers for each scene, by its place alone."""
    uniform = draw.uniform(torch.arange(len(content.counts)), count, purpose=purpose)
    return [Dice(row) for row in uniform.tolist()]


def told(content: SceneContent) -> list[Scene]:
    """The scenes in words."""
    scenes = []
    for count, sizes, colours, shapes, relations in zip(
        content.counts.tolist(),
        content.sizes.tolist(),
        content.colours.tolist(),
        content.shapes.tolist(),
        content.relations.tolist(),
        strict=True,
    ):
        things = [Thing(SIZES[sizes[k]], COLOURS[colours[k]], SHAPES[shapes[k]]) for k in range(count)]
        related = []
        for k in range(1, count):
            # Each relation stands beside its inverse in RELATIONS.
            related.append((things[0], RELATIONS[relations[k - 1]], things[k]))
            related.append((things[k], RELATIONS[relations[k - 1] ^ 1], things[0]))
        scenes.append(Scene(things, related))
    return scenes


def write_captions(content: SceneContent) -> list[str]:
    """One sentence a scene that says all of it.

    Such as "a small red circle left of a large blue square and above a small green star".
    """
    captions = []
    for scene in told(content):
        names = [f"a {thing.size} {thing.name}" for thing in scene.things]
        # Every second relation is an inverse; the others are read from the first thing.
        parts = [
            f"{relation} {name}"
            for (_, relation, _), name in zip(scene.relations[::2], names[1:], strict=True)
        ]
        captions.append(f"{names[0]} {' and '.join(parts)}".strip())
    return captions


def plural(shape: str) -> str:
    """The plural of a shape's name."""
    return shape + ("es" if shape.endswith("s") else "s")


def ask_questions(content: SceneContent, draw: StepRandom) -> list[Question]:
    """Up to six questions a scene, one of each kind that it has a clear answer to."""
    questions = []
    for i, (scene, dice) in enumerate(
        zip(told(content), roll(content, draw, "scene questions", 16), strict=True)
    ):
        asked = [
            _ask_colour(scene, dice),
            _ask_shape(scene, dice),
            _ask_size(scene, dice),
            _ask_count(scene, dice),
            _ask_relation(scene, dice),
            _ask_yes_no(scene, dice),
        ]
        questions += [Question(i, *parts) for parts in asked if parts is not None]
    return questions


_Asked = tuple[str, str, str]  # kind, question, answer


def _ask_colour(scene: Scene, dice: Dice) -> _Asked | None:
    thing = dice.pick(scene.things)
    if sum(other.shape == thing.shape for other in scene.things) > 1:
        return None  # "the circle" would be one of two
    return "colour", f"what colour is the {thing.shape}?", thing.colour


def _ask_shape(scene: Scene, dice: Dice) -> _Asked | None:
    thing = dice.pick(scene.things)
    if sum(other.colour == thing.colour for other in scene.things) > 1:
        return None
    return "shape", f"what shape is the {thing.colour} thing?", thing.shape


def _ask_size(scene: Scene, dice: Dice) -> _Asked:
    thing = dice.pick(scene.things)
    return "size", f"is the {thing.name} small or large?", thing.size


def _ask_count(scene: Scene, dice: Dice) -> _Asked:
    kind = dice.pick(["all", "colour", "shape"])
    seen = dice.pick(scene.things)
    if kind == "colour":
        # Half of the time of a colour that is there, or almost every answer would be zero.
        colour = seen.colour if dice.chance() else dice.pick(COLOURS)
        count = sum(thing.colour == colour for thing in scene.things)
        return "count", f"how many {colour} things are there?", str(count)
    if kind == "shape":
        shape = seen.shape if dice.chance() else dice.pick(SHAPES)
        count = sum(thing.shape == shape for thing in scene.things)
        return "count", f"how many {plural(shape)} are there?", str(count)
    return "count", "how many things are there?", str(len(scene.things))


def _ask_relation(scene: Scene, dice: Dice) -> _Asked | None:
    if not scene.relations:
        return None
    first, relation, second = dice.pick(scene.relations)
    return "relation", f"where is the {first.name} seen from the {second.name}?", relation.removesuffix(" of")


def _ask_yes_no(scene: Scene, dice: Dice) -> _Asked:
    yes = dice.chance()
    answer = "yes" if yes else "no"
    if scene.relations and dice.chance():
        first, relation, second = dice.pick(scene.relations)
        said = relation if yes else dice.other(RELATIONS, relation)
        return "yes-no", f"is the {first.name} {said} the {second.name}?", answer
    thing = dice.pick(scene.things)
    if not yes:
        names = {thing.name for thing in scene.things}
        absent = [colour for colour in COLOURS if f"{colour} {thing.shape}" not in names]
        thing = thing._replace(colour=dice.pick(absent))
    return "yes-no", f"is there a {thing.name}?", answer
