"""Signs of collapse in what the objective compares."""

import torch

from likewise.training.monitor import embedding_figures


def _rows(count: int, dim: int, directions: int) -> torch.Tensor:
    """(count, dim) rows that differ in some directions alone, as evenly spread as those allow."""
    generator = torch.Generator().manual_seed(0)
    inner = torch.randn(count, directions, generator=generator)
    return inner @ torch.randn(directions, dim, generator=generator)


def test_rows_that_differ_in_a_few_directions_are_collapsing_however_far_apart() -> None:
    figures, warning = embedding_figures({"first": _rows(32, 64, 2), "second": _rows(32, 64, 3)})
    assert figures["first_relative_deviation"] > 0.8
    assert figures["first_effective_rank"] < 2.1
    assert warning is not None
    assert "of 16 possible directions" in warning
    assert embedding_figures({"first": _rows(32, 64, 8)})[1] is None


def test_rows_that_are_all_the_same_are_collapsing() -> None:
    rows = 1 + 1e-3 * _rows(32, 64, 32)
    warning = embedding_figures({"first": rows})[1]
    assert warning is not None
    assert "nearly equal for all rows" in warning
    # One alone may be: a predictor that cannot predict says the mean.
    assert embedding_figures({"prediction": rows, "target": _rows(32, 64, 32)})[1] is None


def test_there_are_no_more_directions_than_things_to_tell_apart() -> None:
    """Three classes need two directions, and captions of one photo none."""
    rows = _rows(32, 64, 2)
    for name in ("label", "group"):
        assert embedding_figures({"features": rows, name: torch.arange(32) % 3})[1] is None
        assert embedding_figures({"features": rows, name: torch.arange(32)})[1] is not None
    label, group = torch.arange(32) % 3, torch.arange(32)
    assert embedding_figures({"features": rows, "label": label, "group": group})[1] is None


def test_only_what_is_named_is_looked_at() -> None:
    figures, warning = embedding_figures({"first": _rows(8, 16, 8), "second": _rows(8, 16, 1)}, ("first",))
    assert set(figures) == {"first_relative_deviation", "first_effective_rank"}
    assert warning is None
