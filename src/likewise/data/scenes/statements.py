"""Statements about scenes: true, false or undecided of one; true or false of two together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from likewise.data.scenes.content import COLOURS, RELATIONS, SHAPES, SIZES, SceneContent
from likewise.data.scenes.language import Dice, Scene, Thing, plural, roll, told
from likewise.step_random import StepRandom

__all__ = ["SceneStatement", "TwoSceneStatement", "make_pairs", "make_statements"]


@dataclass(frozen=True)
class SceneStatement:
    """A statement about scene `scene`; the image makes it true, false, or cannot decide it."""

    scene: int
    text: str
    truth: Literal["true", "false", "undecided"]


@dataclass(frozen=True)
class TwoSceneStatement:
    """A statement about two scenes, `first` shown left of `second`, and whether it is true."""

    first: int
    second: int
    text: str
    truth: bool


def make_statements(content: SceneContent, draw: StepRandom) -> list[SceneStatement]:
    """A true, a false and an undecided statement of each scene.

    What an image does not show (weight, what a thing is made of, what lies behind it) is undecided of the
    things that are there. Said of a thing that is not there it is false, so that the words alone do not tell
    these apart. They tell something all the same: to call what no image decides undecided and all else true
    is right for two of three, and a model that looks must do better than that.
    """
    statements = []
    dice_of = roll(content, draw, "scene statements", 32)
    for i, (scene, dice) in enumerate(zip(told(content), dice_of, strict=True)):
        statements.append(SceneStatement(i, _plain(scene, dice, true=True), "true"))
        false = (
            _hidden(_absent(scene, dice), scene, dice)
            if dice.chance(0.3)
            else _plain(scene, dice, true=False)
        )
        statements.append(SceneStatement(i, false, "false"))
        statements.append(SceneStatement(i, _hidden(dice.pick(scene.things), scene, dice), "undecided"))
    return statements


def _absent(scene: Scene, dice: Dice) -> Thing:
    """A thing like one of the scene's, in a colour it does not have there."""
    thing = dice.pick(scene.things)
    names = {other.name for other in scene.things}
    return thing._replace(colour=dice.pick([c for c in COLOURS if f"{c} {thing.shape}" not in names]))


def _plain(scene: Scene, dice: Dice, *, true: bool) -> str:
    """A statement that the image decides."""
    kind = dice.pick(["thing", "size", "count", "relation"])
    if kind == "relation" and scene.relations:
        first, relation, second = dice.pick(scene.relations)
        said = relation if true else dice.other(RELATIONS, relation)
        return f"the {first.name} is {said} the {second.name}"
    if kind == "size":
        thing = dice.pick(scene.things)
        size = thing.size if true else dice.other(SIZES, thing.size)
        return f"the {thing.name} is {size}"
    if kind == "count":
        count = len(scene.things)
        return _there_are(count if true else dice.other([1, 2, 3], count))
    return f"there is a {(dice.pick(scene.things) if true else _absent(scene, dice)).name}"


def _there_are(count: int) -> str:
    return "there is one thing" if count == 1 else f"there are {('two', 'three')[count - 2]} things"


def _hidden(thing: Thing, scene: Scene, dice: Dice) -> str:
    """A statement about `thing` that no image decides."""
    others = [other for other in scene.things if other != thing]
    forms = [
        f"the {thing.name} is made of {dice.pick(['wood', 'paper', 'glass', 'iron'])}",
        f"the {thing.name} was drawn by {dice.pick(['a child', 'a machine', 'a teacher'])}",
        f"a {dice.pick(COLOURS)} {dice.pick(SHAPES)} is hidden behind the {thing.name}",
    ]
    if others:
        other = dice.pick(others)
        forms.append(f"the {thing.name} is {dice.pick(['heavier', 'older', 'softer'])} than the {other.name}")
    return dice.pick(forms)


def make_pairs(content: SceneContent, draw: StepRandom) -> list[TwoSceneStatement]:
    """One statement about each scene and its neighbour (0 and 1, 2 and 3, ...), half of them true.

    Some kinds are true more often than others; by the kind alone some 70 % can be told.

    None when there is one scene only; the last of an odd number of scenes is paired with the one before it.
    """
    scenes = told(content)
    if len(scenes) == 1:
        return []
    pairs = []
    for i, dice in enumerate(roll(content, draw, "scene pairs", 64)):
        second = i ^ 1 if i ^ 1 < len(scenes) else i - 1
        text, truth = _about_two(scenes[i].things, scenes[second].things, dice)
        pairs.append(TwoSceneStatement(i, second, text, truth))
    return pairs


_ATTEMPTS = 8


def _about_two(left: list[Thing], right: list[Thing], dice: Dice) -> tuple[str, bool]:
    """A statement whose truth was drawn first, so that half are true."""
    wanted = dice.chance()
    for _ in range(_ATTEMPTS):
        text, truth = _try_about_two(left, right, dice)
        if truth == wanted:
            return text, truth
    total = len(left) + len(right)
    said = total if wanted else dice.other(range(2, 7), total)
    return f"the two pictures show {said} things in all", wanted


def _try_about_two(left: list[Thing], right: list[Thing], dice: Dice) -> tuple[str, bool]:
    """Some statement about two scenes and its truth. Takes at most seven numbers."""
    kind = dice.pick(["both", "one", "neither", "more", "side", "total"])
    seen = dice.pick(left + right)
    shape = seen.shape if dice.chance(0.7) else dice.pick(SHAPES)
    colour = seen.colour if dice.chance(0.7) else dice.pick(COLOURS)
    with_shape = [any(thing.shape == shape for thing in side) for side in (left, right)]
    with_colour = [any(thing.colour == colour for thing in side) for side in (left, right)]
    if kind == "both":
        return f"both pictures show a {shape}", all(with_shape)
    if kind == "one":
        return f"exactly one picture shows something {colour}", sum(with_colour) == 1
    if kind == "neither":
        return f"there are no {plural(shape)} in either picture", not any(with_shape)
    if kind == "more":
        return "the left picture shows more things than the right one", len(left) > len(right)
    if kind == "side":
        there = any(thing.name == seen.name for thing in right)
        return f"the right picture shows a {seen.name}", there
    total = dice.pick(range(2, 7))
    return f"the two pictures show {total} things in all", total == len(left) + len(right)
