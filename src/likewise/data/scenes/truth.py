"""Whether a caption is true of a scene, in the grammar of `write_captions`."""

from __future__ import annotations

import re

from likewise.data.scenes.content import COLOURS, RELATIONS, SHAPES, SIZES
from likewise.data.scenes.language import Scene, Thing

__all__ = ["claims_of", "is_true", "read_caption"]

_THING = rf"a ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})"
_RELATED = rf"({'|'.join(RELATIONS)}) {_THING}"
_CAPTION = re.compile(rf"{_THING}(?: {_RELATED}(?: and {_RELATED})*)?")
_INVERSE = {name: RELATIONS[place ^ 1] for place, name in enumerate(RELATIONS)}

Claims = frozenset[Thing | tuple[Thing, str, Thing]]


def read_caption(text: str) -> Scene | None:
    """What a caption says, with the inverse of each relation; None where it is no sentence of the grammar."""
    text = " ".join(text.lower().rstrip(". ").split())
    if _CAPTION.fullmatch(text) is None:
        return None
    things = [Thing(*words) for words in re.findall(_THING, text)]
    relations = []
    for (relation, *_), thing in zip(re.findall(_RELATED, text), things[1:], strict=True):
        relations += [(things[0], relation, thing), (thing, _INVERSE[relation], things[0])]
    return Scene(things, relations)


def claims_of(scene: Scene) -> Claims:
    """Everything that a scene or caption claims: its things and their relations, in whatever order.

    Captions that say all of a scene in other words ("A left of B", "B right of A") have the same claims.
    """
    return frozenset((*scene.things, *scene.relations))


def is_true(said: Scene, scene: Scene) -> bool:
    """Whether a scene has every thing and every relation that a caption names.

    A caption may leave things out. One that names a thing twice is false: no scene has two alike. A relation
    between two things holds only where the scene tells it: of three things, each to the corner of their L.
    """
    return len(set(said.things)) == len(said.things) and claims_of(said) <= claims_of(scene)
