"""Line charts as inline SVG that takes its colours from the page, so that one drawing suits light and dark.

All text that comes from outside goes through `Markup.format`, which escapes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Series", "line_chart", "NUM_COLOURS"]

NUM_COLOURS = 10
"""How many series colours the style sheet defines: classes c0 to c9."""

_WIDTH, _HEIGHT = 360, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 10, 24
_MAX_POINTS = 300
_SMOOTH_FROM = 40


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(x, y), x ascending; points that are not finite break the line."""


def line_chart(
    title: str, series: Sequence[Series], format_y: Callable[[float], str], *, smooth: bool = False
) -> Markup:
    """A chart with its legend.

    Args:
        title: heading.
        series: at most `NUM_COLOURS` lines, each with a finite point.
        format_y: turns a value into its label.
        smooth: draw a running mean over a faint line of the values, where there are many.

    Returns:
        A `<figure>`.
    """
    points = [point for line in series for point in line.points if math.isfinite(point[1])]
    x_low, x_high = min(x for x, _ in points), max(x for x, _ in points)
    y_ticks = nice_ticks(min(y for _, y in points), max(y for _, y in points))
    axes = _Axes(x_low, x_high if x_high > x_low else x_low + 1, y_ticks[0], y_ticks[-1])
    parts = [_grid(axes, y_ticks, format_y), _x_labels(axes, x_low, x_high)]
    for number, line in enumerate(series):
        parts.append(_line(axes, line.points, number % NUM_COLOURS, smooth=smooth))
    legend = Markup("").join(
        Markup('<li><span class="key c{}"></span>{} <b>{}</b></li>').format(
            number % NUM_COLOURS, line.name if len(series) > 1 else "last", format_y(_last(line.points))
        )
        for number, line in enumerate(series)
    )
    description = "; ".join(
        f"{line.name} from {format_y(_first(line.points))} to {format_y(_last(line.points))}"
        for line in series
    )
    return Markup(
        '<figure class="chart"><h3>{}</h3><svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        '<ul class="legend">{}</ul></figure>'
    ).format(title, _WIDTH, _HEIGHT, f"{title} against step: {description}", Markup("").join(parts), legend)


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


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round values that enclose [low, high], about `count` steps of 1, 2, 2.5 or 5 times a power of ten."""
    if high <= low:
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
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
    ticks = [tick for tick in nice_ticks(low, high) if low <= tick <= high] if high > low else [low]
    labels = []
    for tick in ticks:
        anchor = "end" if axes.x(tick) > _WIDTH - 30 else "middle"
        labels.append(
            Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                axes.x(tick), _HEIGHT - 8, anchor, f"{tick:,.0f}"
            )
        )
    return Markup("").join(labels)


def _line(axes: _Axes, points: Sequence[tuple[float, float]], colour: int, *, smooth: bool) -> Markup:
    thin = _thinned(points)
    if len(thin) == 1:
        x, y = thin[0]
        return Markup('<circle class="c{} fill" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(
            colour, axes.x(x), axes.y(y)
        )
    raw = Markup('<path class="c{} line{}" d="{}"/>')
    if not smooth or len(thin) < _SMOOTH_FROM:
        return raw.format(colour, "", _path(axes, thin))
    return raw.format(colour, " faint", _path(axes, thin)) + raw.format(
        colour, "", _path(axes, _smoothed(thin))
    )


def _path(axes: _Axes, points: Sequence[tuple[float, float]]) -> str:
    commands, pen_down = [], False
    for x, y in points:
        if not math.isfinite(y):
            pen_down = False
            continue
        commands.append(f"{'L' if pen_down else 'M'}{axes.x(x):.1f} {axes.y(y):.1f}")
        pen_down = True
    return "".join(commands)


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `_MAX_POINTS` points, each the mean of its neighbourhood."""
    size = math.ceil(len(points) / _MAX_POINTS)
    if size <= 1:
        return list(points)
    buckets = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(x for x, _ in bucket) / len(bucket), sum(y for _, y in bucket) / len(bucket))
        for bucket in buckets
    ]


def _smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """A centred running mean over about a fifteenth of the points, what there is of it at both ends."""
    half = max(2, len(points) // 30)
    smoothed = []
    for place, (x, _) in enumerate(points):
        window = [y for _, y in points[max(0, place - half) : place + half + 1]]
        smoothed.append((x, sum(window) / len(window)))
    return smoothed


def _first(points: Sequence[tuple[float, float]]) -> float:
    return next(y for _, y in points if math.isfinite(y))


def _last(points: Sequence[tuple[float, float]]) -> float:
    return next(y for _, y in reversed(points) if math.isfinite(y))
