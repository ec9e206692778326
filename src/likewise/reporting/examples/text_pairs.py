"""Scored pairs of texts to check by eye: those that the model orders as people do, and those it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from likewise.reporting.inputs import ReportInputs

__all__ = ["find_text_pairs"]

_LONGEST = 240


def find_text_pairs(inputs: ReportInputs) -> dict[str, Any]:
    """Best and worst pairs of the run's own figures of `sts`, else of the newest on other data.

    Raises:
        ValueError: no scored pairs were measured.
    """
    measured = [inputs.results.get("sts", {})]
    measured += [
        entry["figures"]
        for entry in reversed(inputs.others)
        if entry.get("task") == "sts" and isinstance(entry.get("figures"), Mapping)
    ]
    for figures in measured:
        if figures.get("best_pairs") and figures.get("worst_pairs"):
            return {name: [_shown(pair) for pair in figures[f"{name}_pairs"]] for name in ("best", "worst")}
    raise ValueError("No pairs of texts with scores were measured.")


def _shown(pair: Mapping[str, Any]) -> dict[str, str]:
    first, second = (str(pair[name])[:_LONGEST] for name in ("first", "second"))
    score, cosine = float(pair["score"]), float(pair["cosine"])
    return {"first": first, "second": second, "score": f"{score:g}", "cosine": f"{cosine:.2f}"}
