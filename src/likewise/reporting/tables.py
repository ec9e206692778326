"""Tables of a report: results beside chance, settings, the data, what was set aside, confusions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.evaluation.registry import figure_of
from likewise.metrics.linear_probe import NOT_CONVERGED
from likewise.reporting.formatting import count_in_words, format_value, name_of, task_name

__all__ = ["ResultRow", "ResultTable", "result_tables", "KeyTable", "key_tables", "reasons"]


@dataclass(frozen=True)
class ResultRow:
    """One figure."""

    name: str
    value: str
    chance: str
    """Empty where chance has no meaning."""


@dataclass(frozen=True)
class ResultTable:
    """The figures of one task."""

    name: str
    rows: list[ResultRow]
    counts: str
    """How much was measured."""
    fingerprint: str | None
    """Of the data the figures belong to."""
    remarks: list[str]
    """What the reader of the figures must know."""


def result_tables(results: Mapping[str, Mapping[str, Any]]) -> list[ResultTable]:
    """One table a task; a figure's chance level stands beside it, not in a row of its own."""
    tables = []
    for task, figures in results.items():
        rows = [
            ResultRow(
                name_of(name), _value(name, value), _value(name, figure_of(task, name).chance_in(figures))
            )
            for name, value in figures.items()
            if _is_figure(value) and not name.startswith(("chance_", "num_"))
        ]
        counts = [
            count_in_words(name, value["mean"] if isinstance(value, Mapping) else value)
            for name, value in figures.items()
            if name.startswith("num_") and _is_figure(value)
        ]
        fingerprint = figures.get("data_fingerprint")
        if rows:
            tables.append(
                ResultTable(
                    task_name(task),
                    rows,
                    ", ".join(counts),
                    None if fingerprint is None else str(fingerprint),
                    _remarks(figures),
                )
            )
    return tables


def _remarks(figures: Mapping[str, Any]) -> list[str]:
    remarks = [NOT_CONVERGED] if figures.get("converged") is False else []
    remarks += [figures["overlap"]] if isinstance(figures.get("overlap"), str) else []
    return [f"{remark[0].upper()}{remark[1:]}." for remark in remarks]


def _is_figure(value: Any) -> bool:
    if isinstance(value, Mapping):  # over several seeds
        return _is_figure(value.get("mean"))
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _value(name: str, value: Any) -> str:
    """A figure, or a mean with its deviation; empty for None."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        spread = value.get("deviation")
        runs = value.get("num_runs")
        tail = "" if spread is None else f" ± {format_value(name, float(spread))}"
        return format_value(name, float(value["mean"])) + tail + ("" if runs is None else f" ({runs} runs)")
    return format_value(name, value)


@dataclass(frozen=True)
class KeyTable:
    """Names and values of one section."""

    name: str
    rows: list[tuple[str, str]]


def key_tables(values: Mapping[str, Any], top: str, max_rows: int | None = None) -> list[KeyTable]:
    """Nested values as flat tables: those at the top under the name `top`, then a table for each section.

    Deeper nesting is spelled with dots; of a table, `max_rows` are shown and the others counted.
    """
    plain = [(name, _text(value)) for name, value in values.items() if not isinstance(value, Mapping)]
    tables = [KeyTable(top, plain)] if plain else []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            tables.append(KeyTable(name, _flat(value)))
    if max_rows is None:
        return tables
    return [KeyTable(table.name, _cut(table.rows, max_rows)) for table in tables]


def _cut(rows: list[tuple[str, str]], max_rows: int) -> list[tuple[str, str]]:
    left_out = len(rows) - max_rows
    return rows if left_out <= 0 else [*rows[:max_rows], ("and others", f"{left_out:,}")]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _text(value)))
    return rows


def _text(value: Any) -> str:
    """A value as text; long lists are cut."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else str(value)
    if isinstance(value, (list, tuple)):
        shown = ", ".join(_text(item) for item in value[:12])
        return shown + (f", and {len(value) - 12} more" if len(value) > 12 else "") or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(item)}" for name, item in value.items()) or "none"
    return str(value)


def reasons(bad_records: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """Why records were set aside, commonest first; what follows a colon is the single record's own."""
    counts = Counter(str(record.get("reason", "no reason given")).split(":")[0] for record in bad_records)
    return counts.most_common()
