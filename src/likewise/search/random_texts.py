"""Random texts, whose scores say what a score means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from likewise.search.calibration import RandomTexts
from likewise.search.embedder import Embedder
from likewise.search.rows.listing import Entry

__all__ = ["random_texts"]

_NUM_TEXTS = 512

_COMMON = """
a dog, a cat, a horse, a bird, a fish, a flower, a tree, a mountain, a beach, the sea, a river, a street,
a house, a kitchen, a bedroom, a table, a chair, a car, a bus, a train, an airplane, a boat, a bicycle, a
man, a woman, a child, a group of people, a baby, a face, a hand, a shirt, a dress, a shoe, a bag, a hat,
a watch, a phone, a computer, a book, a newspaper, a painting, a drawing, a map, a sign, a number, food,
a cake, fruit, vegetables, a cup of coffee, a bottle, a ball, a guitar, snow, rain, a sunset, a night
sky, a bridge, a church, a market, a garden, a field, a forest, an empty room
"""


def random_texts(model: Embedder, entries: Sequence[Entry]) -> RandomTexts:
    """Texts drawn from the captions; common words where there are none, nothing where the model reads no
    texts."""
    if "encode_texts" not in model.abilities:
        return RandomTexts(np.zeros((0, model.dim), np.float32), np.zeros(0, np.int64))
    captioned = [row for row, entry in enumerate(entries) if entry.captions]
    if len(captioned) < 2:
        common = [text.strip() for text in _COMMON.split(",")]
        return RandomTexts(model.encode_texts(common), np.full(len(common), -1, np.int64))
    draws = np.random.default_rng(0)
    rows = np.sort(draws.choice(captioned, min(_NUM_TEXTS, len(captioned)), replace=False))
    return RandomTexts(model.encode_texts([entries[row].captions[0] for row in rows.tolist()]), rows)
