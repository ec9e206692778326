"""Phrase grounding: peaks, regions, ranked boxes, and figures against values worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.metrics.grounding import (
    box_scores,
    grounding_figures,
    holds,
    peak,
    peak_region,
    smooth_maps,
)


def spot(row: int, column: int, size: int = 8) -> np.ndarray:
    heat = np.zeros((size, size), np.float32)
    heat[row, column] = 1.0
    return heat


def boxes(*given: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(given, np.float64).reshape(-1, 4)


def test_the_peak_is_the_middle_of_the_highest_cell_x_first() -> None:
    assert peak(spot(1, 6)) == (6.5 / 8, 1.5 / 8)
    assert peak(np.full((4, 4), 0.3, np.float32)) is None


def test_smoothing_keeps_the_highest_place() -> None:
    x, y = peak(smooth_maps(spot(1, 2, 4)[None])[0]) or (0, 0)
    assert (x, y) == pytest.approx((2.5 / 4, 1.5 / 4), abs=1 / 64)


def test_the_region_holds_what_is_connected_with_the_peak() -> None:
    heat = spot(2, 2)
    heat[2, 3], heat[3, 3], heat[6, 6], heat[2, 4] = 0.9, 0.6, 0.8, 0.4
    assert peak_region(heat) == (2 / 8, 2 / 8, 2 / 8, 2 / 8)
    assert peak_region(heat, share=0.3) == (2 / 8, 2 / 8, 3 / 8, 2 / 8)
    assert peak_region(np.zeros((4, 4), np.float32)) is None


def test_box_scores_are_sums_over_the_root_of_the_area() -> None:
    heat = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    given = boxes((0.25, 0.5, 0.5, 0.25), (0, 0, 1, 1), (0.5, 0.5, 0, 0.2))
    inside = heat[4:6, 2:6].sum() / 64
    expected = [inside / (0.5 * 0.25) ** 0.5, heat.mean(), 0]
    assert box_scores(heat, given) == pytest.approx(expected, rel=1e-6)
    assert box_scores(heat, given, power=0)[0] == pytest.approx(inside, rel=1e-6)


def test_a_box_between_cells_takes_their_shares() -> None:
    heat = spot(0, 0, 2)
    half = box_scores(heat, boxes((0, 0, 0.25, 0.5)), power=0)[0]
    assert half == pytest.approx(0.5 / 4)


def test_a_point_lies_in_a_box_from_its_left_edge_to_before_its_right() -> None:
    own = boxes((0.25, 0, 0.25, 0.5), (0.75, 0.5, 0.25, 0.5))
    assert holds(own, (0.25, 0.0))
    assert not holds(own, (0.5, 0.0))
    assert holds(own, (0.9, 0.9))
    assert not holds(own, None)


def test_figures_by_hand() -> None:
    maps = np.stack([spot(0, 0), spot(7, 7), np.full((8, 8), 0.5, np.float32)])
    quarter, middle = boxes((0, 0, 0.5, 0.5)), boxes((0.25, 0.25, 0.5, 0.5))
    found = grounding_figures(
        maps, [quarter, quarter, middle], [boxes((0.5, 0.5, 0.5, 0.5)), boxes((0.5, 0.5, 0.25, 0.5)), quarter]
    )
    assert found["pointing"] == pytest.approx(1 / 3)  # the second points elsewhere, the third nowhere
    assert found["chance_pointing"] == pytest.approx(0.25)
    assert found["center_pointing"] == pytest.approx(1 / 3)
    assert found["num_phrases"] == 3
    # The second's own box has nothing of the map and neither has the other; the third's are equal: ties.
    assert found["box_accuracy"] == pytest.approx(1 / 3)
    assert found["chance_box_accuracy"] == pytest.approx(0.5)
    assert found["largest_box_accuracy"] == pytest.approx(1 / 3)


def test_boxes_that_overlap_cover_their_union() -> None:
    own = boxes((0, 0, 0.5, 1), (0.25, 0, 0.5, 1))
    assert grounding_figures(spot(0, 0)[None], [own])["chance_pointing"] == pytest.approx(0.75)
    assert "box_accuracy" not in grounding_figures(spot(0, 0)[None], [own])


def test_chance_leaves_out_the_padding() -> None:
    """A box of a quarter of the square, of an image that fills half of it."""
    half = grounding_figures(spot(0, 0)[None], [boxes((0, 0.25, 0.5, 0.5))], shares=[0.5])
    assert half["chance_pointing"] == pytest.approx(0.5)


def test_random_points_score_chance() -> None:
    """A map whose peak falls anywhere points into a box as often as the box is large."""
    generator = np.random.default_rng(0)
    maps = generator.random((4000, 8, 8)).astype(np.float32)
    found = grounding_figures(maps, [boxes((0.125, 0.25, 0.5, 0.375))] * 4000)
    assert found["pointing"] == pytest.approx(found["chance_pointing"], abs=0.02)


def test_nothing_to_ground_is_an_error() -> None:
    with pytest.raises(ValueError, match="no phrase"):
        grounding_figures(np.zeros((0, 8, 8), np.float32), [])
