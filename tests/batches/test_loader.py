"""Batches: whose random draws a row has, however the batch is shared and cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likewise.batches.batch import Batch
from likewise.batches.loader import Loader
from likewise.batches.samplers import make_order
from likewise.batches.tokenized_texts import TokenTable
from likewise.data import Dataset
from likewise.data.column_kinds import Classes, Names, Texts
from likewise.data.images.stores import HeldPixels
from likewise.data.stored_kinds import Images
from likewise.encoders.tokenizer import train_tokenizer
from likewise.step_random import StepRandom

LABELS = np.array([0] * 6 + [1] * 5 + [2] * 1 + [3] * 4)
CAPTIONS = 40


@pytest.fixture(scope="module")
def data() -> Dataset:
    count = len(LABELS)
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
    texts = [tuple(f"row {row} says {word}" for word in range(CAPTIONS)) for row in range(count)]
    return Dataset(
        {
            "id": Names([str(row) for row in range(count)]),
            "group": Classes(np.arange(count), []),
            "label": Classes(LABELS, [str(label) for label in range(4)]),
            "text": Texts(texts),
            "image": Images(pixels=HeldPixels(pixels), rows=np.arange(count)),
        }
    )


def loader(data: Dataset, *, rank: int = 0, world_size: int = 1) -> Loader:
    texts = data.texts or []
    tokens = TokenTable(
        texts, train_tokenizer((t for row in texts for t in row), vocabulary_size=300, max_tokens=32)
    )
    order = make_order(
        "classes",
        data.labels,
        num_rows=len(data),
        batch_size=16,
        examples_per_class=4,
        world_size=world_size,
        seed=3,
    )
    return Loader(data, {"text": tokens}, order, seed=3, rank=rank, world_size=world_size)


def test_a_row_that_comes_again_draws_anew(data: Dataset) -> None:
    batch = loader(data).batch(0)
    assert batch.occurrence is not None
    first = batch.occurrence == 0
    assert int((~first).sum()) >= 3  # the class of one stands there four times
    assert torch.equal(batch.key[first], batch.index[first])
    assert len(batch.key.unique()) == len(batch)
    # What a row drew before it could come again, it draws still.
    uniform = StepRandom(3, 0).uniform(batch.index, 1, purpose="caption")[:, 0].numpy()
    table = loader(data)._tokens["text"]
    plain, _ = table.padded(table.pick(batch.index.numpy(), uniform))
    assert torch.equal(batch.text.tokens[first], torch.from_numpy(plain)[first])
    alone = batch.text.tokens[batch.index == 11]
    assert len(alone) == 4
    assert len({tuple(tokens.tolist()) for tokens in alone}) > 1


def test_draws_do_not_depend_on_replicas_pieces_or_where_a_run_went_on(data: Dataset) -> None:
    whole = loader(data)
    for step in (2, 0):
        batch = whole.batch(step)
        halves = [loader(data, rank=rank, world_size=2).batch(step) for rank in (0, 1)]
        pieces = [batch.rows(start, start + 3) for start in range(0, 16, 3)]
        for parts in (halves, pieces):
            assert torch.equal(torch.cat([part.key for part in parts]), batch.key)
            assert torch.equal(torch.cat([part.index for part in parts]), batch.index)


def test_a_batch_without_occurrences_is_keyed_by_its_rows() -> None:
    index = torch.tensor([4, 2, 9])
    assert torch.equal(Batch(index=index).key, index)
    assert torch.equal(Batch(index=index, occurrence=torch.zeros_like(index)).key, index)


def test_several_texts_of_a_row() -> None:
    texts = [("one",), ("a", "b", "c"), ("left x", "y")]
    table = TokenTable(texts, train_tokenizer(sum(texts, ()), vocabulary_size=300, max_tokens=32))
    rows = np.array([1, 0, 2])
    batch = table.batch(rows, np.array([0.5, 0.9, 0.0]), per_row=2)
    assert batch.tokens.shape == batch.mask.shape == (3, 2, batch.tokens.shape[2])
    # Row 1 begins at its second caption, row 0 has one alone.
    for place, captions in enumerate((["b", "c"], ["one"], ["left x", "y"])):
        for number, caption in enumerate(captions):
            expected = table._tokenizer.encode([caption])[0].tolist()
            assert batch.tokens[place, number, batch.mask[place, number]].tolist() == expected
    assert not batch.mask[1, 1].any()
    assert batch.keep_sides is not None
    assert batch.keep_sides.tolist() == [False, False, True]
