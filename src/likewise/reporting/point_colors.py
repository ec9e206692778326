"""Colours of the items on a map: by class, or by a common word of the caption.

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

__all__ = ["Coloring", "color_domains", "color_images", "color_texts"]

_STOP_WORDS_TEXT = """
a an and are as at be been being below above beside between behind by for from front has have he her his in
inside into is it its near next of off on one onto or other out over she some that the their them there they
this three to two under up very was were which while who with left right
"""
_STOP_WORDS = frozenset(_STOP_WORDS_TEXT.split())

_NO_WORD = "none of these"

_WORD = re.compile(r"[^\W\d_]+")
_CHINESE = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True)
class Coloring:
    """Kinds of items, each with a colour."""

    kinds: list[str]
    """Names, at most ten; the last may stand for all others."""
    kind_of: NDArray[np.int64]
    """(N,) into `kinds`; -1 where nothing tells items apart."""
    basis: str
    """A sentence on what the colours mean."""


def color_images(inputs: ReportInputs) -> Coloring:
    """Colours of the images: by label, else by a word of the captions, else none."""
    if inputs.labels is not None and inputs.has_labels:
        names = [inputs.label_name(label) for label in inputs.labels.tolist()]
        return _by_frequency(names, "Colours are the classes.")
    image_of_text = inputs.image_of_text()
    if inputs.captions is not None and image_of_text is not None:
        captions = [""] * inputs.num_images
        for text, image in zip(inputs.captions, image_of_text.tolist(), strict=True):
            captions[image] = f"{captions[image]} {text}".strip()
        return color_texts(captions)
    return _no_colours(inputs.num_images, "There are neither labels nor captions to colour by.")


def color_domains(inputs: ReportInputs) -> Coloring | None:
    """Colours of the images by domain; None where there are not several."""
    domains = inputs.several_domains()
    if domains is None:
        return None
    names = [inputs.domain_name(row) or "unknown" for row in range(len(domains))]
    return _by_frequency(names, "Colours are the domains.")


def color_texts(captions: Sequence[str]) -> Coloring:
    """Colours of texts: by the first of the common words that each has."""
    words = [_words(caption) for caption in captions]
    counts = Counter(word for caption in words for word in sorted(set(caption)))
    # A word of nearly all captions does not tell them apart.
    telling = [word for word, count in counts.most_common() if count <= 0.6 * len(captions)]
    chosen = set(telling[: NUM_COLOURS - 1])
    if not chosen:
        return _no_colours(len(captions), "No word of the captions tells the items apart.")
    names = [next((word for word in caption if word in chosen), _NO_WORD) for caption in words]
    basis = "There are no labels: colours are the first of these common words in the caption."
    return _by_frequency(names, basis)


def _no_colours(count: int, basis: str) -> Coloring:
    return Coloring([], np.full(count, -1), basis)


def _by_frequency(names: Sequence[str], basis: str) -> Coloring:
    """A colour for each of the most frequent names; the last one for all others."""
    kinds = [name for name, _ in Counter(sorted(names)).most_common()]
    kinds.sort(key=lambda name: name == _NO_WORD)  # last, however frequent
    if len(kinds) > NUM_COLOURS:
        kinds = [*kinds[: NUM_COLOURS - 1], f"{len(kinds) - NUM_COLOURS + 1} others"]
    place = {name: number for number, name in enumerate(kinds)}
    kind_of = np.array([place.get(name, len(kinds) - 1) for name in names], dtype=np.int64)
    return Coloring(kinds, kind_of, basis)


def _words(caption: str) -> list[str]:
    """Words in order, lower case, without stop words; pairs of characters for Chinese."""
    found = [word for word in _WORD.findall(caption.lower()) if not _CHINESE.search(word)]
    chinese = "".join(_CHINESE.findall(caption))
    pairs = [chinese[start : start + 2] for start in range(len(chinese) - 1)]
    return [word for word in found if word not in _STOP_WORDS and len(word) > 1] + pairs
