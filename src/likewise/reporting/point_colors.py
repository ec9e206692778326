"""Which colour each item of the map gets: its class, or a telling word of its caption.

N items.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.reporting.charts import NUM_COLOURS
from likewise.reporting.inputs import ReportInputs

__all__ = ["Coloring", "color_images", "color_texts"]

_LITTLE = """
a an and are as at be been being below above beside between behind by for from front has have he her his in
inside into is it its near next of off on one onto or other out over she some that the their them there they
this three to two under up very was were which while who with left right
"""

_STOP_WORDS = frozenset(_LITTLE.split())

_NONE = "none of these"

_WORD = re.compile(r"[^\W\d_]+")
_CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True)
class Coloring:
    """Kinds of items."""

    kinds: list[str]
    """Names, at most ten; the last may stand for all others."""
    kind_of: NDArray[np.int64]
    """(N,) into `kinds`, -1 where there is nothing to tell items apart by."""
    basis: str
    """A sentence that says what the colours mean."""


def color_images(inputs: ReportInputs) -> Coloring:
    """Colours for the images: by label when there are any, else by a word of the caption, else none."""
    count = inputs.num_images or 0
    if inputs.has_labels() and inputs.labels is not None:
        labels = np.asarray(inputs.labels)
        return _by_commonest([inputs.label_name(int(label)) for label in labels], "Colours are the classes.")
    image_of_text = inputs.image_of_text()
    if inputs.captions is not None and image_of_text is not None:
        captions = [""] * count
        for text, image in zip(inputs.captions, image_of_text.tolist(), strict=True):
            captions[image] = f"{captions[image]} {text}".strip()
        return _by_word(captions)
    return Coloring([], np.full(count, -1), "There are neither labels nor captions to colour by.")


def color_texts(captions: Sequence[str]) -> Coloring:
    """Colours for texts by a telling word."""
    return _by_word(captions)


def _by_commonest(names: Sequence[str], basis: str) -> Coloring:
    """The commonest kinds have their own colour, the last colour stands for the others."""
    common = [name for name, _ in Counter(sorted(names)).most_common()]
    if _NONE in common:  # what has no kind comes last, whatever its number
        common.remove(_NONE)
        common.append(_NONE)
    if len(common) > NUM_COLOURS:
        others = f"{len(common) - NUM_COLOURS + 1} others"
        common = [*common[: NUM_COLOURS - 1], others]
    place = {name: number for number, name in enumerate(common)}
    kind_of = np.array([place.get(name, len(common) - 1) for name in names], dtype=np.int64)
    return Coloring(common, kind_of, basis)


def _by_word(captions: Sequence[str]) -> Coloring:
    """Kinds are common words; a caption belongs to the first of them that it holds."""
    words = [_words(caption) for caption in captions]
    counts = Counter(word for caption in words for word in sorted(set(caption)))
    # a word that nearly all captions hold tells nothing apart
    telling = [word for word, times in counts.most_common() if times <= 0.6 * len(captions)]
    chosen = set(telling[: NUM_COLOURS - 1])
    kinds = [next((word for word in caption if word in chosen), _NONE) for caption in words]
    if not chosen:
        return Coloring([], np.full(len(captions), -1), "No word of the captions tells the items apart.")
    return _by_commonest(
        kinds, "There are no labels: colours are the first of these common words in the caption."
    )


def _words(caption: str) -> list[str]:
    """Words in order, lower case, without those that say little; Chinese by pairs of characters."""
    found = [word for word in _WORD.findall(caption.lower()) if not _CHINESE.search(word)]
    chinese = "".join(_CHINESE.findall(caption))
    pairs = [chinese[start : start + 2] for start in range(len(chinese) - 1)]
    return [word for word in found if word not in _STOP_WORDS and len(word) > 1] + pairs
