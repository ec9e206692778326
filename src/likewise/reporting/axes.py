"""The plot area of an SVG drawing: axes, grid and marks of line charts, ROC curves and maps.

Colours come from the page's style sheet, so one drawing suits light and dark. `Markup.format` escapes text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Axes", "Point", "nice_ticks"]

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Maps data coordinates, y upwards, to places on a drawing."""

    width: float
    height: float
    """Of the whole drawing, margins included."""
    margins: tuple[float, float, float, float]
    """Top, right, bottom, left."""
    x_range: Point = (0.0, 1.0)
    y_range: Point = (0.0, 1.0)

    def x(self, value: float) -> float:
        """Distance from the left edge."""
        _, right, _, left = self.margins
        share = (value - self.x_range[0]) / (self.x_range[1] - self.x_range[0])
        return left + share * (self.width - left - right)

    def y(self, value: float) -> float:
        """Distance from the upper edge."""
        top, _, bottom, _ = self.margins
        share = (value - self.y_range[0]) / (self.y_range[1] - self.y_range[0])
        return self.height - bottom - share * (self.height - top - bottom)

    def path(self, points: Sequence[Point]) -> str:
        """Path data of a line through the points."""
        return "".join(
            f"{'L' if place else 'M'}{self.x(x):.1f} {self.y(y):.1f}" for place, (x, y) in enumerate(points)
        )

    def line(self, style: str, *pieces: Sequence[Point]) -> Markup:
        """A line, with a gap between any two pieces; `style` are classes of the style sheet."""
        return Markup('<path class="{}" d="{}"/>').format(style, "".join(map(self.path, pieces)))

    def dot(self, style: str, point: Point, radius: float) -> Markup:
        """A filled circle."""
        x, y = point
        return Markup('<circle class="{} fill" cx="{:.1f}" cy="{:.1f}" r="{}"/>').format(
            style, self.x(x), self.y(y), radius
        )

    def y_axis(self, ticks: Iterable[float], label: Callable[[float], str]) -> Markup:
        """A grid line at each tick, with its label on the left."""
        _, right, _, left = self.margins
        tick = Markup(
            '<line class="grid" x1="{0}" x2="{1}" y1="{2:.1f}" y2="{2:.1f}"/>'
            '<text class="tick" x="{3}" y="{4:.1f}" text-anchor="end">{5}</text>'
        )
        places = [(self.y(value), _short(label(value), value)) for value in ticks]
        return Markup("").join(
            tick.format(left, self.width - right, y, left - 6, y + 3.5, text) for y, text in places
        )

    def x_axis(self, ticks: Iterable[float], label: Callable[[float], str], *, grid: bool = False) -> Markup:
        """The label of each tick, below; with a grid line if asked for."""
        top, foot = self.margins[0], self.height - self.margins[2]
        line = Markup('<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2}"/>' if grid else "")
        tick = line + Markup('<text class="tick" x="{0:.1f}" y="{3}" text-anchor="{4}">{5}</text>')
        drawn = []
        for value in ticks:
            x = self.x(value)
            anchor = "end" if x > self.width - 20 else "middle"
            drawn.append(tick.format(x, top, foot, foot + 16, anchor, _short(label(value), value)))
        return Markup("").join(drawn)

    def draw(self, parts: Iterable[Markup], description: str) -> Markup:
        """The whole drawing; the description is for those who don't see it."""
        return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            self.width, self.height, description, Markup("").join(parts)
        )


def _short(label: str, value: float) -> str:
    """A tick's label, no longer than the margin beside the plot."""
    label = label.replace(".0 %", " %")
    return label if len(label) <= 7 else f"{value:.2g}".replace("e+0", "e").replace("e-0", "e-")


def nice_ticks(low: float, high: float, count: int = 4, *, whole: bool = False) -> list[float]:
    """Round values that enclose [low, high], about `count` steps of 1, 2, 2.5 or 5 times a power of ten.

    With `whole`, steps are integers.
    """
    if high <= low:
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    if whole:
        step = float(max(1, math.floor(step)))  # of 2.5, and of steps below 1
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]
