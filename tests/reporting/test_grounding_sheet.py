"""The drawing of groundings: titles have room, boxes have numbers, colors a legend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from likewise.model.explanations.grounding import Grounding
from likewise.reporting.sheets import grounding_sheet
from likewise.reporting.sheets.grounding_sheet import draw_groundings


def found(phrase: str, scores: list[float | None]) -> Grounding:
    heat = np.eye(4, dtype=np.float32)
    place: dict[str, Any] = {"point": (20.0, 20.0), "region": (10.0, 10.0, 20.0, 20.0)}
    return Grounding(phrase=phrase, heat=heat, probability=0.5, box_scores=scores, **place)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    kept: list[Any] = []
    monkeypatch.setattr(grounding_sheet, "save_figure", lambda figure, _: kept.append(figure))
    return kept


@pytest.mark.parametrize("size", [(80, 80), (300, 40), (40, 300)])
def test_long_titles_stay_inside_and_apart(size: tuple[int, int], figures: list[Any]) -> None:
    phrases = ["a red square beside a green circle " * 10, "short", "unbroken" * 40] * 2
    assert (
        draw_groundings(Image.new("RGB", size), [found(one, []) for one in phrases], Path(), fit="crop") == []
    )
    (figure,) = figures
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    titles = [axis.title.get_window_extent(canvas.get_renderer()) for axis in figure.axes]
    images = [axis.get_window_extent() for axis in figure.axes]
    whole = [*titles, *images, figure.legends[0].get_window_extent()]
    for place, one in enumerate(whole):
        assert figure.bbox.x0 <= one.x0 <= one.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= one.y0 <= one.y1 <= figure.bbox.y1
        assert not any(one.overlaps(other) for other in whole[place + 1 :])


def test_boxes_have_numbers_and_colors_a_legend(figures: list[Any]) -> None:
    boxes = [[0, 0, 9, 9], [200, 0, 5, 5], [30, 30, 20, 20], [-9, -9, 5, 5]]
    draw_groundings(
        Image.new("RGB", (60, 60)), [found("a", [0.1, None, 0.2, None])], Path(), fit="crop", boxes=boxes
    )
    draw_groundings(Image.new("RGB", (60, 60)), [found("a", [])], Path(), fit="crop")
    with_boxes, without = figures
    (axis,) = with_boxes.axes
    assert [text.get_text() for text in axis.texts] == ["0", "2"]  # the others lie outside
    labels = [{text.get_text() for text in figure.legends[0].get_texts()} for figure in figures]
    assert labels[1] == {"region around it", "highest place"}
    assert labels[0] == {*labels[1], "best given box", "other given box"}
    colors = [text.get_bbox_patch().get_facecolor()[:3] for text in axis.texts]
    assert colors[0] == (1, 1, 1) != colors[1]
    assert len(without.axes[0].texts) == 0
