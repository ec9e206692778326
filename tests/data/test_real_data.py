"""Real data sets, read as a user would; skipped where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from likewise.data import DataConfig, open_source

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason="the real data is not beside the checkout"),
]

EXPECTED = {
    "flickr8k/captions.csv": (7000, {"image", "text", "split"}),
    "flickr8k/entailment.tsv": (None, {"image", "text", "split", "label"}),
    "cifar10": (25_000, {"image", "label"}),
    "clothing": (3409, {"image", "label"}),
    "omniglot": (32_460, {"image", "label"}),
    "digits": (51_291, {"image", "label", "domain"}),
    "easy_vqa/*_images.parquet": (4000, {"image", "group"}),
    "nlvr": (6934, {"image", "text", "label"}),
    "text/stsb_*.tsv": (14_498, {"text"}),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_understood(name: str) -> None:
    count, roles = EXPECTED[name]
    source = open_source(DataConfig(source=str(DATA / name)))
    assert set(source.columns) == roles
    assert source.problems == []
    if count is not None:
        assert len(source.records) == count
