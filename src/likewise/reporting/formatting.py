"""Numbers and names as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from likewise.evaluation.base import Figure
from likewise.evaluation.registry import tasks
from likewise.methods.catalog import known_method

__all__ = [
    "TypeRow",
    "format_count",
    "format_figure",
    "format_percent",
    "format_plain",
    "method_title",
    "number_in",
    "rows_by_type",
    "task_title",
    "title_of",
]


def title_of(key: str) -> str:
    """A key as words: `learning_rate` is "Learning rate"."""
    return key.replace("_", " ").strip().capitalize() or key


def task_title(name: str) -> str:
    """A task's title."""
    known = tasks().get(name)
    return title_of(name) if known is None else known.title


def method_title(name: str) -> str:
    """A method's title; an unknown name stays as it is."""
    method = known_method(name)
    return name if method is None else method.title


def number_in(value: Any) -> float | None:
    """A figure, or its mean over several seeds; None for anything else."""
    if isinstance(value, Mapping):
        value = value.get("mean")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def format_figure(figure: Figure, value: float) -> str:
    """A figure's value with its unit."""
    return format_percent(value) if figure.unit == "share" else format_plain(value)


def format_count(figure: Figure, value: float) -> str:
    """A count with what it counts: "1 image"."""
    words = figure.title.lower()
    if value == 1:
        words = words.removesuffix("ies") + "y" if words.endswith("ies") else words.removesuffix("s")
    return f"{format_plain(value)} {words}"


def format_percent(share: float) -> str:
    """A share as a percentage, with a second decimal between -1 % and 1 %."""
    if not math.isfinite(share):
        return "not a number"
    digits = 1 if abs(share) >= 0.00995 or share == 0 else 2
    return f"{100 * share:.{digits}f} %"


def format_plain(value: float) -> str:
    """A number with at most four significant digits and separated thousands."""
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"


class TypeRow(NamedTuple):
    """Rows of one type: their accuracy, that of the text alone if it is known, and how many there are."""

    name: str
    accuracy: float
    text_only: float | None
    num_rows: float

    @property
    def beside(self) -> str:
        """What stands beside the accuracy."""
        return "" if self.text_only is None else format_percent(self.text_only)


def rows_by_type(figures: Mapping[str, Any]) -> dict[str, list[TypeRow]]:
    """What a task returns under `by_question_type` and the like, as "question type" with its rows."""
    return {
        key.removeprefix("by_").replace("_", " "): [
            TypeRow(name, one["accuracy"], one.get("text_only_accuracy"), one["num_questions"])
            for name, one in value.items()
        ]
        for key, value in figures.items()
        if key.startswith("by_") and isinstance(value, Mapping)
    }
