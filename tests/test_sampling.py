"""A sample of rows: as many as asked, each once, the same each time, of every kind."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.sampling import sampled_rows


@pytest.mark.parametrize(("total", "count"), [(10, 3), (10, 10), (3, 10), (0, 5), (1500, 1000)])
def test_as_many_as_asked_each_once_in_order(total: int, count: int) -> None:
    rows = sampled_rows(total, count)
    assert len(rows) == min(total, count)
    assert (np.diff(rows) > 0).all()
    assert set(rows.tolist()) <= set(range(total))
    assert np.array_equal(rows, sampled_rows(total, count))


def test_rows_that_take_turns_are_all_met() -> None:
    """Every second of 1,500 rows, or two of three, would leave one of three classes out."""
    for count in (500, 750, 1000):
        met = np.bincount(sampled_rows(1500, count) % 3)
        assert (np.abs(met - count / 3) < 3 * np.sqrt(count * 2 / 9)).all()
