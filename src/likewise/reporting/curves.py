"""Training curves: which of the logged numbers go together into one chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from likewise.reporting.charts import NUM_COLOURS, Series, line_chart
from likewise.reporting.formatting import (
    count_in_words,
    format_percent,
    format_plain,
    is_share,
    name_of,
    task_name,
)

__all__ = ["training_charts"]

_NOT_CURVES = {"kind", "step", "epoch", "seconds"}

_APART = {
    "learning_rate": "Learning rate",
    "temperature": "Temperature",
    "gradient_norm": "Gradient norm",
    "images_per_second": "Images a second",
    "waiting_share": "Share of time waiting for data",
}
"""Training numbers with a scale of their own; all others are parts of the loss."""

_SCHEDULED = {"learning_rate", "temperature"}
"""Smooth by themselves: a running mean would only bend them."""

_NO_CURVES = frozenset({"dimension", "deviation"})
"""Constant, or another curve's own; so are counts, chance levels and intervals, by any name."""

_COMPARED = {
    "relative_deviation": "Spread of what is compared (1 is even, 0 collapsed)",
    "effective_rank": "Effective rank of what is compared",
}
"""What is logged of each embedding that the objective compares, behind the embedding's name."""

_MAX_CHARTS = 16


def training_charts(metrics: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Charts of everything logged: the loss with its parts, held-out figures by task, then the rest.

    Args:
        metrics: lines of metrics.jsonl, oldest first.

    Returns:
        Figures, at most sixteen; none when nothing was logged.
    """
    train = _by_name(line for line in metrics if line.get("kind") == "train")
    looks = [line for line in metrics if line.get("kind") == "evaluation"]
    held_out = _by_name(_with_breaks(looks))
    # a single look is no curve: its figures stand in the table of results
    held_out = {
        name: points
        for name, points in held_out.items()
        if sum(math.isfinite(value) for _, value in points) > 1
    }
    charts = []
    # an objective of one part is its own total
    parts = [
        name for name in train if name not in _APART and (name == "loss" or train[name] != train.get("loss"))
    ]
    parts.sort(key=lambda name: name != "loss")  # the total first, the parts as they were logged
    if parts:
        lines = [Series(name_of(name), train[name]) for name in parts[:NUM_COLOURS]]
        charts.append(line_chart("Loss", lines, format_plain, smooth=True))
    charts += _held_out_charts(held_out, looks)
    for name, title in _APART.items():
        if name in train:
            form = format_percent if name == "waiting_share" else format_plain
            noisy = name not in _SCHEDULED
            charts.append(line_chart(title, [Series(title, train[name])], form, smooth=noisy))
    return charts[:_MAX_CHARTS]


def _held_out_charts(
    figures: Mapping[str, tuple[tuple[float, float], ...]], looks: Sequence[Mapping[str, Any]]
) -> list[Markup]:
    """One chart for the shares of each task, one for each figure that is no share.

    Args:
        figures: the curves, by task and metric.
        looks: the lines that they come from, which hold what was counted.
    """
    shares: dict[str, list[Series]] = {}
    compared: dict[str, list[Series]] = {}
    single = []
    for name, points in figures.items():
        task, _, metric = name.rpartition("/")
        if metric.startswith(("chance_", "num_")) or metric.endswith("confidence_interval"):
            continue  # constant, or the same curve as another
        kind = next((kind for kind in _COMPARED if task == "compared" and metric.endswith(f"_{kind}")), None)
        if kind is not None:
            embedding = metric.removesuffix(f"_{kind}").replace("_", " ")
            compared.setdefault(kind, []).append(Series(embedding, points))
        elif is_share(metric):
            shares.setdefault(task, []).append(Series(name_of(metric), points))
        elif metric not in _NO_CURVES and not metric.endswith("mean_reciprocal_rank"):
            title = name_of(metric)
            if task not in ("", "collapse", "retrieval"):
                title = f"{task_name(task)}: {title}"
            note = _what_changed(looks, task)
            single.append(line_chart(title, [Series(name_of(metric), points)], format_plain, note=note))
    together = [
        line_chart(
            f"{task_name(task)}, held out" if task else "Held out",
            lines[:NUM_COLOURS],
            format_percent,
            note=_what_changed(looks, task),
        )
        for task, lines in shares.items()
    ]
    spread = [
        line_chart(_COMPARED[kind], lines[:NUM_COLOURS], format_plain) for kind, lines in compared.items()
    ]
    return together + single + spread


def _with_breaks(looks: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The same lines, with a break of a task's curves wherever what it was measured on changes.

    While training at most `training.evaluation_rows` are looked at, at the end all of them: among more
    candidates the right one is harder to find, so a line on to the last figure would show a fall where there
    is none.
    """
    before: dict[str, dict[str, Any]] = {}
    for look in looks:
        now = {task: _counts(look, task) for name in look if (task := name.rpartition("/")[0])}
        changed = {task for task, counts in now.items() if before.get(task, counts) != counts}
        broken = {name: math.nan for name in look if name.rpartition("/")[0] in changed}
        if broken:
            yield {"step": look.get("step")} | broken
        yield look
        before |= now


def _counts(look: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What a task's figures of one look were measured on, by name."""
    return {name: value for name, value in look.items() if name.startswith(f"{task}/num_")}


def _what_changed(looks: Sequence[Mapping[str, Any]], task: str) -> str:
    """A sentence on a task's counts where they are not the same at all looks; else nothing."""
    found = [counts for look in looks if (counts := _counts(look, task))]
    told = [
        " and ".join(
            count_in_words(name.rpartition("/")[2], value)
            for name, value in counts.items()
            if any(other.get(name) != value for other in found)
        )
        for counts in found
    ]
    several = list(dict.fromkeys(words for words in told if words))
    if len(several) < 2:
        return ""
    return f"Measured on {', then on '.join(several)}: figures on either side of a break do not compare."


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
