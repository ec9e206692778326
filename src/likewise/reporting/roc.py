"""The ROC curve of same-or-different pairs, as inline SVG that takes its colours from the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from likewise.metrics.verification import verification
from likewise.reporting.formatting import format_percent, format_plain
from likewise.reporting.inputs import ReportInputs

__all__ = ["Roc", "find_roc", "roc_chart"]

_SIDE, _LEFT, _TOP, _RIGHT, _BOTTOM = 300, 60, 12, 22, 40


@dataclass(frozen=True)
class Roc:
    """The curve with the figures that belong to it."""

    chart: Markup
    facts: list[tuple[str, str, str]]
    """Name, value and an explanation of each."""


def find_roc(inputs: ReportInputs) -> Roc:
    """The curve that was measured with the results, else that of the report's own images.

    Raises:
        ValueError: too few classes or items, see `verification`.
    """
    figures: Mapping[str, Any] = inputs.results.get("verification", {})
    if not figures.get("roc"):
        assert inputs.image_embeddings is not None
        assert inputs.labels is not None
        figures = verification(inputs.image_embeddings, inputs.labels)
    area, equal = float(figures["roc_auc"]), float(figures["equal_error_rate"])
    facts = [
        (
            "Area under the curve",
            f"{area:.3f}",
            "the chance that a pair of one class is nearer than a pair of two; 0.5 by lot",
        ),
        (
            "Equal error rate",
            format_percent(equal),
            "where as many pairs are wrongly accepted as wrongly refused; 50 % by lot",
        ),
        (
            "Accuracy",
            format_percent(float(figures["accuracy"])),
            f"at the threshold best for the other half of the classes ({_threshold(figures)}); "
            f"{format_percent(float(figures['chance_accuracy']))} by lot",
        ),
        (
            "Pairs",
            format_plain(figures["num_pairs"]),
            f"of {format_plain(figures['num_classes'])} classes, half of them of one class",
        ),
    ]
    return Roc(roc_chart(figures["roc"], area, equal), facts)


def _threshold(figures: Mapping[str, Any]) -> str:
    """The threshold in words."""
    value = figures["threshold"]
    if value is None:
        return "there is none: one answer for all pairs is best"
    return f"about {value:.2f}"


def roc_chart(points: Sequence[Sequence[float]], area: float, equal: float) -> Markup:
    """A square chart of the curve, the line of chance and the point of equal errors.

    Args:
        points: (x, y) from (0, 0) to (1, 1): share of the different pairs, and of the same pairs, accepted.
        area: under the curve, for those who don't see it.
        equal: the equal error rate.

    Returns:
        A `<figure>`.
    """
    width = _SIDE + _LEFT + _RIGHT
    height = _SIDE + _TOP + _BOTTOM
    path = "".join(f"{'L' if place else 'M'}{_x(x):.1f} {_y(y):.1f}" for place, (x, y) in enumerate(points))
    under = f"{path}L{_x(1):.1f} {_y(0):.1f}L{_x(0):.1f} {_y(0):.1f}Z"
    mark_x, mark_y = _x(equal), _y(1 - equal)
    parts = [
        _grid(),
        Markup('<path class="c0 under" d="{}"/>').format(under),
        Markup('<path class="chance" d="M{} {}L{} {}"/>').format(_x(0), _y(0), _x(1), _y(1)),
        Markup('<path class="chance" d="M{} {}L{:.1f} {:.1f}"/>').format(_x(0), _y(1), mark_x, mark_y),
        Markup('<path class="c0 line" d="{}"/>').format(path),
        Markup('<circle class="c1 fill point" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(mark_x, mark_y),
        Markup('<text class="label" x="{:.1f}" y="{:.1f}">equal errors {}</text>').format(
            mark_x + 11, mark_y + 14, format_percent(equal)
        ),
    ]
    return Markup(
        '<figure class="roc"><svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg></figure>'
    ).format(
        width,
        height,
        f"ROC curve: area {area:.3f}, equal error rate {format_percent(equal)}",
        Markup("").join(parts),
    )


def _x(share: float) -> float:
    return _LEFT + share * _SIDE


def _y(share: float) -> float:
    return _TOP + (1 - share) * _SIDE


def _grid() -> Markup:
    lines = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        label = f"{100 * share:.0f} %"
        lines.append(
            Markup(
                '<line class="grid" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>'
                '<line class="grid" x1="{3}" x2="{3}" y1="{4}" y2="{5}"/>'
                '<text class="tick" x="{6}" y="{7}" text-anchor="end">{8}</text>'
                '<text class="tick" x="{3}" y="{9}" text-anchor="middle">{8}</text>'
            ).format(
                _x(0),
                _x(1),
                _y(share),
                _x(share),
                _y(0),
                _y(1),
                _x(0) - 6,
                _y(share) + 3.5,
                label,
                _y(0) + 15,
            )
        )
    middle = _y(0.5)
    lines.append(
        Markup(
            '<text class="tick" x="{}" y="{}" text-anchor="middle">different pairs accepted</text>'
            '<text class="tick" x="{}" y="{}" text-anchor="middle" transform="rotate(-90 {} {})">'
            "same pairs accepted</text>"
        ).format(_x(0.5), _y(0) + 34, 12, middle, 12, middle)
    )
    return Markup("").join(lines)
