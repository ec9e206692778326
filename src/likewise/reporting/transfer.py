"""From domain to domain: confusion in the target, and which score would have chosen which step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from likewise.evaluation.registry import find_task
from likewise.reporting.formatting import format_percent, format_plain
from likewise.reporting.inputs import ReportInputs

__all__ = ["find_transfer"]

_TASK = "transfer"
_SCORES = (
    *("source_accuracy", "information", "neighbourhood_density", "entropy", "weighted_risk", "dev_risk"),
    "target_accuracy",
)
_LARGEST_MATRIX = 20


def find_transfer(inputs: ReportInputs) -> dict[str, Any]:
    """What the scores choose, and the target's confusion matrix.

    Raises:
        ValueError: the run has no figures of two domains.
    """
    figures = inputs.results.get(_TASK)
    if figures is None:
        raise ValueError("The run does not classify images of two domains.")
    names, confusion = figures.get("label_names") or [], figures.get("confusion") or []
    if len(names) > _LARGEST_MATRIX:
        names, confusion = [], []
    counts = np.asarray(confusion, dtype=np.int64).reshape(len(names), len(names))
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    return {
        "choices": _choices(inputs),
        "names": names,
        "matrix": [
            list(zip(*row, strict=True)) for row in zip(counts.tolist(), shares.tolist(), strict=True)
        ],
    }


def _choices(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The step that each score chooses among the evaluations, with both accuracies there."""
    evaluations = [line for line in inputs.metrics if line.get("kind") == "evaluation"]
    selected = inputs.settings.get("training", {}).get("select")
    rows = []
    for key in _SCORES:
        figure = find_task(_TASK).figure(key)
        assert figure is not None
        measured = [line for line in evaluations if isinstance(line.get(f"{_TASK}/{key}"), (int, float))]
        if not measured:
            continue
        sign = -1 if figure.better == "lower" else 1
        # Of equal values the later, as training chooses.
        best = max(measured, key=lambda line: (sign * line[f"{_TASK}/{key}"], line["step"]))
        show = format_percent if figure.unit == "share" else format_plain
        rows.append(
            {
                "score": figure.title,
                "step": best["step"],
                "value": show(best[f"{_TASK}/{key}"]),
                "source": _accuracy(best, "source"),
                "target": _accuracy(best, "target"),
                "oracle": figure.oracle,
                "selected": selected == f"{_TASK}.{key}",
            }
        )
    return rows


def _accuracy(line: Mapping[str, Any], domain: str) -> str:
    value = line.get(f"{_TASK}/{domain}_accuracy")
    return "" if value is None else format_percent(value)
