"""The ROC curve of verification as inline SVG, with its figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from likewise.metrics.verification import verification
from likewise.reporting.axes import Axes, Point, nice_ticks
from likewise.reporting.formatting import format_percent, format_plain
from likewise.reporting.inputs import ReportInputs

__all__ = ["Roc", "find_roc"]

_AXES = Axes(width=382, height=352, margins=(12, 22, 40, 60))


@dataclass(frozen=True)
class Roc:
    """The curve and its figures."""

    chart: Markup
    facts: list[tuple[str, str, str]]
    """Name, value and meaning of each figure."""


def find_roc(inputs: ReportInputs) -> Roc:
    """The curve in the results, else that of the report's images.

    Raises:
        ValueError: no labels, or too few classes or items; see `verification`.
    """
    figures: Mapping[str, Any] = inputs.results.get("verification", {})
    if not figures.get("roc"):
        figures = verification(*inputs.labelled_embeddings())
    area, equal = float(figures["roc_auc"]), float(figures["equal_error_rate"])
    threshold = figures["threshold"]
    at = "there is none: one answer for all pairs is best" if threshold is None else f"about {threshold:.2f}"
    facts = [
        (
            "Area under the curve",
            f"{area:.3f}",
            "probability that a pair of one class is nearer than a pair of two; chance 0.5",
        ),
        (
            "Equal error rate",
            format_percent(equal),
            "where false accepts are as frequent as false rejects; chance 50 %",
        ),
        (
            "Accuracy",
            format_percent(float(figures["accuracy"])),
            f"at the threshold chosen on the other half of the classes ({at}); "
            f"chance {format_percent(float(figures['chance_accuracy']))}",
        ),
        (
            "Pairs",
            format_plain(figures["num_pairs"]),
            f"of {format_plain(figures['num_classes'])} classes, half of them of one class",
        ),
    ]
    return Roc(_chart(figures["roc"], area, equal), facts)


def _chart(curve: Sequence[Sequence[float]], area: float, equal: float) -> Markup:
    """The curve, the diagonal of chance and the point of equal errors.

    Args:
        curve: (x, y) from (0, 0) to (1, 1): shares of different pairs and of same pairs that are accepted.
        area: under the curve.
        equal: the equal error rate.
    """
    points: list[Point] = [(x, y) for x, y in curve]
    ticks, equal_point = nice_ticks(0, 1), (equal, 1 - equal)
    text = Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>')
    middle = Markup('<g text-anchor="middle"{}>{}</g>')
    right_of_point = _AXES.x(equal) + 11, _AXES.y(1 - equal) + 14
    turned = Markup(' transform="translate(12 {}) rotate(-90)"').format(_AXES.y(0.5))
    parts = [
        _AXES.y_axis(ticks, format_percent),
        _AXES.x_axis(ticks, format_percent, grid=True),
        _AXES.line("c0 under", [*points, (1, 0), (0, 0)]),
        _AXES.line("chance", [(0, 0), (1, 1)], [(0, 1), equal_point]),
        _AXES.line("c0 line", points),
        _AXES.dot("c1 point", equal_point, 5),
        text.format("label", *right_of_point, f"equal errors {format_percent(equal)}"),
        middle.format("", text.format("tick", _AXES.x(0.5), _AXES.y(0) + 34, "different pairs accepted")),
        middle.format(turned, text.format("tick", 0, 0, "same pairs accepted")),
    ]
    description = f"ROC curve: area {area:.3f}, equal error rate {format_percent(equal)}"
    return Markup('<figure class="roc">{}</figure>').format(_AXES.draw(parts, description))
