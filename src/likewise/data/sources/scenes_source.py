"""Generated scenes as a source: "scenes:train=8000,validation=1000,seed=0,style=flat,size=64".

`task` says what the rows are: captions (the default), questions with answers, statements that an image makes
true, false or leaves undecided, pairs of images with a statement about both, or grounding (a phrase and its
box).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from likewise.data.annotation_kinds import Box
from likewise.data.columns import Needs, columns_read
from likewise.data.config import DataConfig
from likewise.data.images.stores import held
from likewise.data.record import Generated, Record, Source
from likewise.data.scenes.generate import Scenes, draw_scenes
from likewise.data.scenes.language import told
from likewise.data.sources.generated import options_of_address, part_seed, parts_to_make
from likewise.errors import ConfigError

__all__ = ["source_of_scenes"]

_DEFAULTS: dict[str, Any] = {
    "train": 8000, "validation": 1000, "test": 0, "seed": 0, "style": "flat", "size": 64, "task": "captions"
}  # fmt: skip


def source_of_scenes(config: DataConfig, needs: Needs | None = None) -> Source:
    """Draw the scenes. Each part has a stream of its own, so a part does not change with another's count."""
    options = _parse(config.source)
    rows_of, described = _TASKS[options["task"]]
    # The style and the boxes are in the data of those who need them only.
    reads = columns_read(needs) - ({"domain"} - set(needs or ()))
    source = Source(kind="generated scenes", address=config.source, records=[], splits_from="generated")
    source.columns = {name: said for name, said in (_COLUMNS | described).items() if name in reads}
    source.columns_found = ["image", "caption"] if options["task"] == "captions" else list(source.columns)
    source.unread = dict.fromkeys(("image_root", "text_separator", "encoding"), "scenes are drawn")
    pixels: list[Any] = []
    for part, split, count in parts_to_make(config, options):
        seed = part_seed(options["seed"], part)
        scenes = draw_scenes(count, seed=seed, size=options["size"], style=options["style"])
        start = sum(map(len, pixels))
        pixels.append(held(scenes.images))
        boxes = _boxes(scenes, needed=options["task"] == "grounding" or "boxes" in reads)
        for number, row in enumerate(rows_of(scenes, boxes)):
            row |= {name: Generated(start + row[name]) for name in ("image", "image_2") if name in row}
            row |= {"domain": options["style"]}
            name = f"{part} scene {number}"
            values = {column: value for column, value in row.items() if column in reads}
            source.records.append(Record(id=name, place=name, split=split, **values))
    source.pixels = np.concatenate(pixels)
    return source


_Rows = Iterator[dict[str, Any]]
_Boxes = list[tuple[Box, ...]]


def _boxes(scenes: Scenes, *, needed: bool) -> _Boxes:
    """The shapes of each scene, named as its caption names them; none where nobody needs them."""
    if not needed:
        return [()] * len(scenes)
    return [
        tuple(
            Box(f"a {thing.size} {thing.name}", (left, top, right - left, bottom - top), relative=False)
            for thing, (left, top, right, bottom) in zip(scene.things, boxes, strict=False)
        )
        for scene, boxes in zip(told(scenes.content), scenes.boxes.tolist(), strict=True)
    ]


def _captions(scenes: Scenes, boxes: _Boxes) -> _Rows:
    """A row a scene."""
    for number, caption in enumerate(scenes.captions):
        label = scenes.label_names[scenes.labels[number]]
        row = {"image": number, "text": (caption,), "label": label, "group": caption}
        yield row | {"boxes": boxes[number]}


def _questions(scenes: Scenes, boxes: _Boxes) -> _Rows:
    """A row a question."""
    for asked in scenes.questions():
        row = {"image": asked.scene, "text": (asked.question,), "answer": ((asked.answer, 1.0),)}
        yield row | {"group": scenes.captions[asked.scene]}


def _statements(scenes: Scenes, boxes: _Boxes) -> _Rows:
    """A row a statement: true, false or undecided."""
    for said in scenes.statements():
        row = {"image": said.scene, "text": (said.text,), "label": said.truth}
        yield row | {"group": scenes.captions[said.scene]}


def _pairs(scenes: Scenes, boxes: _Boxes) -> _Rows:
    """A row a statement about two scenes: true or false."""
    for said in scenes.pairs():
        both = sorted(scenes.captions[number] for number in (said.first, said.second))
        row = {"image": said.first, "image_2": said.second, "text": (said.text,), "group": " | ".join(both)}
        yield row | {"label": str(said.truth).lower()}


def _grounding(scenes: Scenes, boxes: _Boxes) -> _Rows:
    """A row a shape: its name and its box."""
    for number, caption in enumerate(scenes.captions):
        for box in boxes[number]:
            yield {"image": number, "text": (box.phrase,), "boxes": (box,), "group": caption}


_COLUMNS = {"image": "drawn", "group": "equal captions", "domain": "the style"}
_TASKS: dict[str, tuple[Callable[[Scenes, _Boxes], _Rows], dict[str, str]]] = {
    "captions": (_captions, {"text": "its caption", "label": "the main shape", "boxes": "its shapes"}),
    "questions": (_questions, {"text": "a question", "answer": "the answer"}),
    "statements": (_statements, {"text": "a statement", "label": "true, false or undecided"}),
    "pairs": (_pairs, {"image_2": "drawn", "text": "a statement about both", "label": "true or false"}),
    "grounding": (_grounding, {"text": "a phrase", "boxes": "what it names"}),
}


def _parse(address: str) -> dict[str, Any]:
    options = options_of_address(address, _DEFAULTS, words=("style", "task"))
    if options["train"] < 1 or min(options["validation"], options["test"]) < 0 or options["size"] < 8:
        raise ConfigError(f"{address}: train must be at least 1 and size at least 8")
    if options["task"] not in _TASKS:
        raise ConfigError(f"{address}: task must be one of {', '.join(_TASKS)}, got {options['task']!r}")
    return options
