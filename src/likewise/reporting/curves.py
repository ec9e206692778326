"""Training curves: which of the logged numbers go together into one chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from likewise.reporting.charts import NUM_COLOURS, Series, line_chart
from likewise.reporting.figures import format_percent, format_plain, is_share, name_of, task_name

__all__ = ["training_charts"]

_NOT_CURVES = {"kind", "step", "epoch", "seconds", "seconds_left"}

_APART = {
    "learning_rate": "Learning rate",
    "temperature": "Temperature",
    "logit_scale": "Logit scale",
    "gradient_norm": "Gradient norm",
    "images_per_second": "Images a second",
    "waiting_share": "Share of time waiting for data",
}
"""Training numbers with a scale of their own; all others are parts of the loss."""

_SCHEDULED = {"learning_rate", "temperature", "logit_scale"}
"""Smooth by themselves: a running mean would only bend them."""

_NO_CURVES = ("dimension", "deviation", "confidence_interval")
"""Constant, or another curve's own."""

_MAX_CHARTS = 12


def training_charts(metrics: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Charts of everything logged: the loss with its parts, held-out figures by task, then the rest.

    Args:
        metrics: lines of metrics.jsonl, oldest first.

    Returns:
        Figures, at most twelve; none when nothing was logged.
    """
    train = _by_name(line for line in metrics if line.get("kind") == "train")
    held_out = _by_name(line for line in metrics if line.get("kind") == "evaluation")
    # a single look is no curve: its figures stand in the table of results
    held_out = {name: points for name, points in held_out.items() if len(points) > 1}
    charts = []
    # an objective of one part is its own total
    parts = [
        name for name in train if name not in _APART and (name == "loss" or train[name] != train.get("loss"))
    ]
    parts.sort(key=lambda name: name != "loss")  # the total first, the parts as they were logged
    if parts:
        lines = [Series(name_of(name), train[name]) for name in parts[:NUM_COLOURS]]
        charts.append(line_chart("Loss", lines, format_plain, smooth=True))
    charts += _held_out_charts(held_out)
    for name, title in _APART.items():
        if name in train:
            form = format_percent if name == "waiting_share" else format_plain
            noisy = name not in _SCHEDULED
            charts.append(line_chart(title, [Series(title, train[name])], form, smooth=noisy))
    return charts[:_MAX_CHARTS]


def _held_out_charts(figures: Mapping[str, tuple[tuple[float, float], ...]]) -> list[Markup]:
    """One chart for the shares of each task, one for each figure that is no share."""
    shares: dict[str, list[Series]] = {}
    single = []
    for name, points in figures.items():
        task, _, metric = name.rpartition("/")
        if metric.startswith(("chance_", "num_")) or metric.endswith(_NO_CURVES):
            continue  # constant, or the same curve as another
        if is_share(metric):
            shares.setdefault(task, []).append(Series(name_of(metric), points))
        elif not metric.endswith("mean_reciprocal_rank"):
            title = name_of(metric)
            if task not in ("", "collapse", "retrieval"):
                title = f"{task_name(task)}: {title}"
            single.append(line_chart(title, [Series(name_of(metric), points)], format_plain))
    together = [
        line_chart(
            f"{task_name(task)}, held out" if task else "Held out", lines[:NUM_COLOURS], format_percent
        )
        for task, lines in shares.items()
    ]
    return together + single


def _by_name(lines: Iterable[Mapping[str, Any]]) -> dict[str, tuple[tuple[float, float], ...]]:
    """Name to (step, value) points; what is no number, and names without a finite one, left out."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        step = line.get("step")
        if not isinstance(step, (int, float)):
            continue
        for name, value in line.items():
            if name not in _NOT_CURVES and isinstance(value, (int, float)) and not isinstance(value, bool):
                curves.setdefault(name, []).append((float(step), float(value)))
    return {
        name: tuple(points)
        for name, points in curves.items()
        if any(math.isfinite(value) for _, value in points)
    }
