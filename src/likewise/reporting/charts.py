"""Line charts as inline SVG that takes its colours from the page, so that one drawing suits light and dark.

All text that comes from outside goes through `Markup.format`, which escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

__all__ = ["Series", "line_chart", "NUM_COLOURS"]

NUM_COLOURS = 10
"""How many series colours the style sheet defines: classes c0 to c9."""

# And how many kinds of dashes: d0, a whole line, to d5; the six recalls of retrieval each have their own.
_NUM_DASHES = 6

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 24
_MAX_POINTS = 300
_SMOOTH_FROM = 40

_Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: tuple[_Point, ...]
    """(x, y), x ascending; points that are not finite break the line, and one alone between them is a dot."""


def line_chart(
    title: str,
    series: Sequence[Series],
    format_y: Callable[[float], str],
    *,
    smooth: bool = False,
    note: str = "",
) -> Markup:
    """A chart with its legend. Its lines differ in colour and in their dashes.

    Args:
        title: heading.
        series: at most `NUM_COLOURS` lines, each with a finite point.
        format_y: turns a value into its label.
        smooth: draw a running mean over a faint line of the values, where there are many.
        note: a sentence below.

    Returns:
        A `<figure>`.
    """
    points = [point for line in series for point in line.points if math.isfinite(point[1])]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_ticks = nice_ticks(min(y for _, y in points), max(y for _, y in points))
    axes = _Axes(x_low, x_high if x_high > x_low else x_low + 1, y_ticks[0], y_ticks[-1])
    parts = [_grid(axes, y_ticks, format_y), _x_labels(axes, x_low, x_high)]
    for number, line in enumerate(series):
        parts.append(_line(axes, line.points, _look(number), smooth=smooth))
    key = Markup(
        '<svg class="key" viewBox="0 0 26 6" aria-hidden="true"><path class="{} line" d="M2 3H24"/></svg>'
    )
    legend = Markup("").join(
        Markup("<li>{}{} <b>{}</b></li>").format(
            key.format(_look(number)),
            line.name if len(series) > 1 else "last",
            format_y(_last(line.points)),
        )
        for number, line in enumerate(series)
    )
    description = "; ".join(
        f"{line.name} from {format_y(_first(line.points))} to {format_y(_last(line.points))}"
        for line in series
    )
    return Markup(
        '<figure class="chart"><h3>{}</h3><svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        '<ul class="legend">{}</ul>{}</figure>'
    ).format(
        title,
        _WIDTH,
        _HEIGHT,
        f"{title} against step: {description}",
        Markup("").join(parts),
        legend,
        Markup("<figcaption>{}</figcaption>").format(note) if note else "",
    )


def _look(number: int) -> str:
    """The classes of a line by its number: its colour and its dashes."""
    return f"c{number % NUM_COLOURS} d{number % _NUM_DASHES}"


@dataclass(frozen=True)
class _Axes:
    """Values to places on the drawing."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x_low) / (self.x_high - self.x_low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = (value - self.y_low) / (self.y_high - self.y_low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def nice_ticks(low: float, high: float, count: int = 4, *, whole: bool = False) -> list[float]:
    """Round values that enclose [low, high], about `count` steps of 1, 2, 2.5 or 5 times a power of ten.

    `whole` ones have no decimals.
    """
    if high <= low:
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = float(max(1, math.floor(step)))  # 2.5 and what is below 1; greater ones are whole
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _grid(axes: _Axes, ticks: Sequence[float], format_y: Callable[[float], str]) -> Markup:
    lines = []
    for tick in ticks:
        y = axes.y(tick)
        lines.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 6, y + 3.5, _tick_label(tick, format_y))
        )
    return Markup("").join(lines)


def _tick_label(tick: float, format_y: Callable[[float], str]) -> str:
    """A tick's label, no longer than the margin beside the chart."""
    label = format_y(tick).replace(".0 %", " %")
    return label if len(label) <= 7 else f"{tick:.2g}".replace("e+0", "e").replace("e-0", "e-")


def _x_labels(axes: _Axes, low: float, high: float) -> Markup:
    ticks = [low]
    if high > low:
        ticks = [tick for tick in nice_ticks(low, high, whole=True) if low <= tick <= high]
    labels = []
    for tick in ticks:
        anchor = "end" if axes.x(tick) > _WIDTH - 30 else "middle"
        labels.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                axes.x(tick), _HEIGHT - 8, anchor, f"{tick:,.0f}"
            )
        )
    return Markup("").join(labels)


def _line(axes: _Axes, points: Sequence[_Point], look: str, *, smooth: bool) -> Markup:
    """A path through the pieces between breaks, and a dot for each point that is alone there."""
    size = math.ceil(len(points) / _MAX_POINTS)
    pieces = [_thinned(piece, size) for piece in _pieces(points)]
    lines = [piece for piece in pieces if len(piece) > 1]
    drawn = [
        Markup('<circle class="{} fill" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(look, axes.x(x), axes.y(y))
        for (x, y) in (piece[0] for piece in pieces if len(piece) == 1)
    ]
    if lines:
        path = Markup('<path class="{} line" d="{}"/>')
        if smooth and sum(map(len, lines)) >= _SMOOTH_FROM:
            colour = look.split()[0]
            drawn.append(path.format(f"{colour} faint", _path(axes, lines)))
            lines = [_smoothed(piece) for piece in lines]
        drawn.append(path.format(look, _path(axes, lines)))
    return Markup("").join(drawn)


def _path(axes: _Axes, pieces: Sequence[Sequence[_Point]]) -> str:
    return "".join(
        f"{'L' if place else 'M'}{axes.x(x):.1f} {axes.y(y):.1f}"
        for piece in pieces
        for place, (x, y) in enumerate(piece)
    )


def _pieces(points: Sequence[_Point]) -> list[list[_Point]]:
    """The runs of finite points between those that are not."""
    runs = groupby(points, key=lambda point: math.isfinite(point[1]))
    return [list(run) for finite, run in runs if finite]


def _thinned(points: Sequence[_Point], size: int) -> list[_Point]:
    """One point for each `size` neighbours, their mean."""
    if size <= 1:
        return list(points)
    buckets = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(x for x, _ in bucket) / len(bucket), sum(y for _, y in bucket) / len(bucket))
        for bucket in buckets
    ]


def _smoothed(points: Sequence[_Point]) -> list[_Point]:
    """A centred running mean over about a fifteenth of the points, what there is of it at both ends."""
    half = max(2, len(points) // 30)
    smoothed = []
    for place, (x, _) in enumerate(points):
        window = [y for _, y in points[max(0, place - half) : place + half + 1]]
        smoothed.append((x, sum(window) / len(window)))
    return smoothed


def _first(points: Sequence[_Point]) -> float:
    return next(y for _, y in points if math.isfinite(y))


def _last(points: Sequence[_Point]) -> float:
    return next(y for _, y in reversed(points) if math.isfinite(y))
