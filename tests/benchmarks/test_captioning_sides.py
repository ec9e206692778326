"""The contenders of the captioning benchmark compute the same."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's contenders, which are no part of the package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import captioning_sides

    return captioning_sides


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_both_sides_have_the_same_logits_and_losses(kind: str, sides: ModuleType) -> None:
    options = sides.Options(
        width=32,
        encoder_depth=1,
        image_size=32,
        patch_size=8,
        vocabulary_size=50,
        batch_size=4,
        num_beams=3,
        num_tokens=6,
    )
    pair = sides.sides_of(kind, options)
    sides.check_same(pair, options)
    batch = sides.random_batch(options)
    ours, theirs = (float(side.loss(batch).detach()) for side in pair)
    assert ours == pytest.approx(theirs, rel=1e-4 if kind == "lstm" else 0.02)  # transformers also sees [CLS]
