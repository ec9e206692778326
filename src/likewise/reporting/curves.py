"""Training curves: charts of the logged numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from likewise.evaluation.registry import RETAINED_TASKS, figure_of
from likewise.methods.base import INFORMATION
from likewise.reporting.axes import Point
from likewise.reporting.charts import NUM_COLOURS, Series, line_chart
from likewise.reporting.formatting import (
    format_count,
    format_percent,
    format_plain,
    number_in,
    task_title,
    title_of,
)

__all__ = ["training_charts"]

_NOT_CURVES = {"kind", "step", "epoch", "seconds"}

_APART = {
    "learning_rate": "Learning rate",
    "temperature": "Temperature",
    "gradient_norm": "Gradient norm",
    "images_per_second": "Rows per second",
    "waiting_share": "Share of time waiting for data",
}
"""Training numbers with a chart of their own; all others are parts of the loss."""

_SCHEDULED = {"learning_rate", "temperature"}
"""Smooth already; a running mean would distort them."""

_MONITORED = {
    "relative_deviation": "Spread of the compared embeddings (1 is even, 0 collapsed)",
    "effective_rank": "Effective rank of the compared embeddings",
}
"""Logged under `compared/`, for each embedding that the objective compares."""

_NOT_DRAWN = {"deviation"}
"""Logged, but proportional to another curve."""

_MAX_CHARTS = 16


def training_charts(metrics: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Charts of everything logged: the loss with its parts, validation figures by task, then the rest.

    Args:
        metrics: lines of metrics.jsonl, oldest first.

    Returns:
        Figures, at most sixteen.
    """
    logged = _by_task(line for line in metrics if line.get("kind") == "train")
    train = _task_curves(logged.get("", []), min_points=1)
    # An objective of one part logs it a second time as the total.
    bounds = [name for name in train if name.endswith(INFORMATION)]
    parts = [
        name
        for name in train
        if name not in (*_APART, *bounds) and (name == "loss" or train[name] != train.get("loss"))
    ]
    parts.sort(key=lambda name: name != "loss")  # the total first
    charts = []
    if parts:
        lines = [Series(title_of(name), train[name]) for name in parts[:NUM_COLOURS]]
        charts.append(line_chart("Loss", lines, format_plain, smooth=True))
    if bounds:
        lines = [Series(title_of(name.removesuffix(INFORMATION)), train[name]) for name in bounds]
        title = "Mutual information, lower bound in nats: log(candidates) - loss"
        charts.append(line_chart(title, lines[:NUM_COLOURS], format_plain, smooth=True))
    charts += _validation_charts([line for line in metrics if line.get("kind") == "evaluation"])
    for name, title in _APART.items():
        if name in train:
            form = format_percent if name == "waiting_share" else format_plain
            line = Series(title, train[name])
            charts.append(line_chart(title, [line], form, smooth=name not in _SCHEDULED))
    return charts[:_MAX_CHARTS]


def _validation_charts(lines: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """A chart for the shares of each task, one for each other figure, and those of compared embeddings."""
    together, single, monitored = [], [], defaultdict(list)
    for task, measured in _by_task(lines).items():
        if task == "retained":
            together += _retained_charts(measured)
            continue
        shares, note = [], _counts_note(task, [figures for _, figures in measured])
        for key, points in _task_curves(measured, min_points=2).items():
            kind = next(
                (kind for kind in _MONITORED if task == "compared" and key.endswith(f"_{kind}")), None
            )
            figure = figure_of(task, key)
            if kind is not None:
                monitored[kind].append(Series(key.removesuffix(f"_{kind}").replace("_", " "), points))
            elif not figure.curve or key in _NOT_DRAWN:
                continue
            elif figure.unit == "share":
                shares.append(Series(figure.title, points))
            else:
                title = figure.title
                single.append(line_chart(title, [Series(title, points)], format_plain, note=note))
        if shares:
            title = f"{task_title(task)}, validation"
            together.append(line_chart(title, shares[:NUM_COLOURS], format_percent, note=note))
    spread = [
        line_chart(title, monitored[kind][:NUM_COLOURS], format_plain)
        for kind, title in _MONITORED.items()
        if kind in monitored
    ]
    return together + single + spread


def _retained_charts(measured: Sequence[tuple[float, Mapping[str, Any]]]) -> list[Markup]:
    """The shares of the second source, each beside the starting model's."""
    lines = []
    for key, points in _task_curves(measured, min_points=1).items():
        name = key.removeprefix("start_")
        figure = next((one for task in RETAINED_TASKS if (one := figure_of(task, name)).curve), None)
        if figure is not None and figure.unit == "share" and figure.headline is not None:
            lines.append(Series(figure.title + (", starting model" if name != key else ""), points))
    title = "Kept of what the starting model knew, on the source of --data.retain"
    return [line_chart(title, lines[:NUM_COLOURS], format_percent)] if lines else []


def _by_task(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[float, dict[str, Any]]]]:
    """Steps and figures of each task, from names such as `retrieval/num_images`; other names under ""."""
    found: dict[str, list[tuple[float, dict[str, Any]]]] = {}
    for line in lines:
        step, tasks = number_in(line.get("step")), defaultdict[str, dict[str, Any]](dict)
        if step is None:
            continue
        for name, value in line.items():
            task, _, key = name.rpartition("/")
            if key not in _NOT_CURVES and number_in(value) is not None:
                tasks[task][key] = value
        for task, figures in tasks.items():
            found.setdefault(task, []).append((step, figures))
    return found


def _task_curves(
    measured: Sequence[tuple[float, Mapping[str, Any]]], *, min_points: int
) -> dict[str, tuple[Point, ...]]:
    """Curves of one task with enough finite points; they break where the task's counts change.

    During training at most `training.evaluation_rows` rows are evaluated, at the end all: the right candidate
    is harder to find among more, so a line to the last figure would show a fall where there is none.
    """
    curves: dict[str, list[Point]] = defaultdict(list)
    before: dict[str, Any] | None = None
    for step, figures in measured:
        counts = _counts(figures)
        for key, value in figures.items():
            curves[key] += [(step, math.nan)] * (before not in (None, counts))
            curves[key].append((step, float(value)))
        before = counts
    return {
        key: tuple(points)
        for key, points in curves.items()
        if sum(math.isfinite(value) for _, value in points) >= min_points
    }


def _counts(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that say how much was measured."""
    return {key: value for key, value in figures.items() if key.startswith("num_")}


def _counts_note(task: str, measured: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on the task's counts where they change; else nothing."""
    found = [counts for figures in measured if (counts := _counts(figures))]
    words = [
        " and ".join(
            format_count(figure_of(task, key), value)
            for key, value in counts.items()
            if any(other.get(key) != value for other in found)
        )
        for counts in found
    ]
    different = list(dict.fromkeys(filter(None, words)))
    if len(different) < 2:
        return ""
    return f"Measured on {', then on '.join(different)}: figures on either side of a break do not compare."
