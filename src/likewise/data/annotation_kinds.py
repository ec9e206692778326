"""Two kinds of columns for what people write about an image: answers with weights, phrases with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from likewise.data.cells import clean_text, is_blank, listed_texts, name_in, number_in, unpacked
from likewise.data.column_kinds import Listed, Parsing
from likewise.errors import RecordError

__all__ = ["Box", "Boxes", "WeightedTexts"]

_PHRASE_KEYS = ("phrase", "text", "caption", "label", "name", "category")
_BOX_KEYS = ("box", "bbox")
_ANSWER_KEYS = ("answer", "text")
_WEIGHT_KEYS = ("weight", "confidence", "score")


class WeightedTexts(Listed):
    """Answers with weights: N tuples of (text, weight).

    A cell holds one text, a list of texts (weight: the share of those who gave it), a list of {"answer",
    "weight"}, an object {text: weight}, or any of these written as JSON.
    """

    @staticmethod
    def parse(cells: Sequence[Any], how: Parsing) -> tuple[tuple[str, float], ...] | None:
        """See Kind."""
        cell = unpacked(cells[0])
        if is_blank(cell):
            return None
        if isinstance(cell, dict):
            texts = _first(cell, _ANSWER_KEYS)
            cell = (
                [pair for pair in cell.items() if pair[1] is not None] if texts is None else texts
            )  # {"text": [...], "answer_start": [...]}
        if not isinstance(cell, (list, tuple)):
            cell = listed_texts(cell, how.config.text_separator)
        weights: dict[str, float] = {}
        given = False
        for item in cell:
            text, weight = item if isinstance(item, (list, tuple)) and len(item) == 2 else (item, None)
            if isinstance(item, dict):
                text, weight = _first(item, _ANSWER_KEYS), _first(item, _WEIGHT_KEYS)
            if is_blank(text):
                continue
            given = given or weight is not None
            text = clean_text(name_in(text), how.config)
            weights[text] = weights.get(text, 0.0) + (1.0 if weight is None else number_in(weight))
        total = 1.0 if given else sum(weights.values())
        return tuple((text, weight / total) for text, weight in weights.items()) or None


class Box(NamedTuple):
    """A phrase and where it is in the image.

    Attributes:
        phrase: what is there, "" where only the place is known.
        box: x and y of the upper left corner, width, height.
        relative: the four are shares of the image's sides; otherwise pixels of the original image.
    """

    phrase: str
    box: tuple[float, float, float, float]
    relative: bool


class Boxes(Listed):
    """Phrases with boxes: N tuples of Box.

    A cell holds a list of {"phrase", "box": [x, y, width, height]}, or {"phrase": [...], "box": [...]}, or
    either written as JSON. Where no number of a cell is above 1, all are shares of the image's sides.
    """

    @staticmethod
    def parse(cells: Sequence[Any], how: Parsing) -> tuple[Box, ...] | None:
        """See Kind."""
        cell = unpacked(cells[0])
        if is_blank(cell):
            return None
        if isinstance(cell, dict):
            boxes = _first(cell, _BOX_KEYS) or []
            phrases = _first(cell, _PHRASE_KEYS) or [""] * len(boxes)
            cell = [{"phrase": phrase, "box": box} for phrase, box in zip(phrases, boxes, strict=False)]
        if not isinstance(cell, (list, tuple)) or not all(isinstance(item, dict) for item in cell):
            raise RecordError('expected a list of {"phrase": ..., "box": [x, y, width, height]}')
        found = []
        for item in cell:
            box, phrase = _first(item, _BOX_KEYS), _first(item, _PHRASE_KEYS)
            if not isinstance(box, (list, tuple)) or len(box) != 4:
                raise RecordError(f"a box has four numbers: x, y, width, height; got {box!r}")
            found.append(
                ("" if is_blank(phrase) else clean_text(phrase, how.config), tuple(map(number_in, box)))
            )
        relative = all(number <= 1 for _, box in found for number in box)
        return tuple(Box(phrase, box, relative) for phrase, box in found) or None  # type: ignore[arg-type]


def _first(item: dict[str, Any], keys: Sequence[str]) -> Any:
    """The first value of a dict under these keys. Parquet writes None where a row has no such key."""
    return next((item[key] for key in keys if item.get(key) is not None), None)
