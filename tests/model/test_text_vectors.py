"""Texts in batches of like length."""

from __future__ import annotations

import pytest

from likewise.model.text_vectors import length_batches


def test_batches_are_bounded_and_hold_every_text_once() -> None:
    lengths = [3, 900, 5, 5, 64, 2, 2, 2]
    order, parts = length_batches(lengths, 3, most_tokens=128)
    batches = [[lengths[place] for place in order[part]] for part in parts]
    assert batches == [[900], [64, 5], [5, 3, 2], [2, 2]]
    assert sorted(order.tolist()) == list(range(8))
    assert length_batches([], 4, most_tokens=8)[1] == []
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        length_batches([1], 0, most_tokens=8)
