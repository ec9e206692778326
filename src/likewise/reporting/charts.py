"""Line charts as inline SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from likewise.reporting.axes import Axes, Point, nice_ticks

__all__ = ["NUM_COLOURS", "Series", "line_chart"]

NUM_COLOURS = 10
"""Series colours in the style sheet: classes c0 to c9."""

# Dash styles d0, solid, to d5: each of retrieval's six recalls has its own.
_NUM_DASHES = 6

_MAX_POINTS = 300
_SMOOTH_FROM = 40


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: tuple[Point, ...]
    """(x, y), x ascending. A y that is not finite breaks the line; a point alone between breaks is a dot."""

    @property
    def finite(self) -> list[Point]:
        """The points with a finite y."""
        return [point for point in self.points if math.isfinite(point[1])]


def line_chart(
    title: str,
    series: Sequence[Series],
    format_y: Callable[[float], str],
    *,
    smooth: bool = False,
    note: str = "",
) -> Markup:
    """A chart with its legend; lines differ in colour and in dashes.

    Args:
        title: heading.
        series: at most `NUM_COLOURS` lines, each with a finite point.
        format_y: turns a value into its label.
        smooth: where there are many points, draw a running mean over a faint line of the values.
        note: a sentence below the chart.

    Returns:
        A `<figure>`.
    """
    xs, ys = zip(*(point for line in series for point in line.finite), strict=True)
    low, high = min(xs), max(xs)
    y_ticks = nice_ticks(min(ys), max(ys))
    x_ticks = [tick for tick in nice_ticks(low, high, whole=True) if low <= tick <= high] or [low]
    axes = Axes(
        width=360,
        height=200,
        margins=(10, 12, 24, 52),
        x_range=(low, high if high > low else low + 1),
        y_range=(y_ticks[0], y_ticks[-1]),
    )
    drawn = [axes.y_axis(y_ticks, format_y), axes.x_axis(x_ticks, "{:,.0f}".format)]
    drawn += [_line(axes, line.points, _style(number), smooth=smooth) for number, line in enumerate(series)]
    key = Markup(
        '<li><svg class="key" viewBox="0 0 26 6" aria-hidden="true"><path class="{} line" d="M2 3H24"/></svg>'
        "{} <b>{}</b></li>"
    )
    legend = [
        key.format(_style(number), line.name if len(series) > 1 else "last", format_y(line.finite[-1][1]))
        for number, line in enumerate(series)
    ]
    description = "; ".join(
        f"{line.name} from {format_y(line.finite[0][1])} to {format_y(line.finite[-1][1])}" for line in series
    )
    return Markup('<figure class="chart"><h3>{}</h3>{}<ul class="legend">{}</ul>{}</figure>').format(
        title,
        axes.draw(drawn, f"{title} against step: {description}"),
        Markup("").join(legend),
        Markup("<figcaption>{}</figcaption>").format(note) if note else "",
    )


def _style(number: int) -> str:
    """Classes of a line: its colour and its dashes."""
    return f"c{number % NUM_COLOURS} d{number % _NUM_DASHES}"


def _line(axes: Axes, points: Sequence[Point], style: str, *, smooth: bool) -> Markup:
    """A line through the points between breaks, and a dot for each point that is alone there."""
    size = math.ceil(len(points) / _MAX_POINTS)
    runs = groupby(points, key=lambda point: math.isfinite(point[1]))
    pieces = [_thinned(list(run), size) for finite, run in runs if finite]
    drawn = [axes.dot(style, piece[0], 3.5) for piece in pieces if len(piece) == 1]
    lines = [piece for piece in pieces if len(piece) > 1]
    if smooth and sum(map(len, lines)) >= _SMOOTH_FROM:
        drawn.append(axes.line(f"{style.split()[0]} faint line", *lines))
        lines = [_smoothed(piece) for piece in lines]
    if lines:
        drawn.append(axes.line(f"{style} line", *lines))
    return Markup("").join(drawn)


def _thinned(points: Sequence[Point], size: int) -> list[Point]:
    """The mean of each `size` consecutive points."""
    return [_mean(points[start : start + size]) for start in range(0, len(points), size)]


def _smoothed(points: Sequence[Point]) -> list[Point]:
    """A centred running mean over about a fifteenth of the points, shorter at both ends."""
    half = max(2, len(points) // 30)
    return [
        (x, _mean(points[max(0, place - half) : place + half + 1])[1]) for place, (x, _) in enumerate(points)
    ]


def _mean(points: Sequence[Point]) -> Point:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)
