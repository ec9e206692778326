"""Updates of an index that are killed at random moments."""

from __future__ import annotations

import os
import signal
import time
import warnings
from pathlib import Path

import numpy as np
from photos import write_photos

from likewise.model import Model
from likewise.search import build_index, open_index

NUM_OLD, NUM_NEW = 4, 40


def _update(model: Model, folder: Path, out: Path) -> None:
    build_index(model, folder, out, batch_size=4)


def kill_updates(model: Model, place: Path, *, kills: int, seed: int) -> list[int]:
    """Kill updates of an index by SIGKILL; after each kill it must open, whole and right.

    Args:
        model: embeds the photos.
        place: an empty folder.
        kills: how many.
        seed: of the moments.

    Returns:
        How many rows the index had after each kill.
    """
    photos, expected = place / "photos", place / "expected.index"
    write_photos(photos, range(NUM_NEW))
    began = time.monotonic()
    _update(model, photos, expected)
    seconds = time.monotonic() - began
    right = open_index(expected)
    vectors = {record["id"]: right.vectors[row] for row, record in enumerate(right.records(range(NUM_NEW)))}
    draws, found = np.random.default_rng(seed), []
    out = place / "killed.index"
    for number in range(kills):
        for path in photos.iterdir():
            path.unlink()
        write_photos(photos, range(NUM_OLD + number))
        _update(model, photos, out)
        write_photos(photos, range(NUM_NEW))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which hold no lock here
            child = os.fork()
        if child == 0:
            try:
                _update(model, photos, out)
            finally:
                os._exit(0)
        time.sleep(draws.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        index = open_index(out)
        records = index.records(range(len(index)))
        assert len(index) in (NUM_OLD + number, NUM_NEW)
        for row, record in enumerate(records):
            np.testing.assert_allclose(index.vectors[row], vectors[record["id"]], atol=1e-5)
            assert index.thumbnail(row)
        found.append(len(index))
        _update(model, photos, out)  # goes on
        assert open_index(out).size == NUM_NEW
    return found
