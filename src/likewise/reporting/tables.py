"""Tables of a report: results beside chance, settings, data, records set aside."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.evaluation.base import Figure
from likewise.evaluation.registry import figure_of
from likewise.metrics.linear_probe import NOT_CONVERGED
from likewise.reporting.formatting import (
    format_count,
    format_figure,
    format_percent,
    format_plain,
    number_in,
    rows_by_type,
    task_title,
)

__all__ = ["KeyTable", "ResultRow", "ResultTable", "key_tables", "reasons", "result_tables"]


@dataclass(frozen=True)
class ResultRow:
    """One figure."""

    name: str
    value: str
    chance: str
    """Empty where it has none."""
    lower_is_better: bool


@dataclass(frozen=True)
class ResultTable:
    """The figures of one task."""

    name: str
    rows: list[ResultRow]
    counts: str
    """How much was measured."""
    fingerprint: str | None
    """Of the data."""
    remarks: list[str]
    """Caveats of the figures."""
    beside: str = "Chance"
    """What stands beside each value."""


def result_tables(
    results: Mapping[str, Mapping[str, Any]], others: Sequence[Mapping[str, Any]] = ()
) -> list[ResultTable]:
    """One table per task and data; a figure's chance level stands beside it.

    Args:
        results: figures on the run's own validation data, by task.
        others: entries of figures on other data, as in results.json.
    """
    tables = []
    measured = [(task, task_title(task), figures) for task, figures in results.items()]
    measured += [(entry["task"], _title_of_other(entry), entry["figures"]) for entry in others]
    for task, title, figures in measured:
        rows, counts = [], []
        for key, value in figures.items():
            number, figure = number_in(value), figure_of(task, key)
            if number is None or key.startswith("chance_"):
                continue
            if figure.unit == "count":
                counts.append(format_count(figure, number))
                continue
            chance = _text_of(figure, figure.chance_in(figures))
            rows.append(ResultRow(figure.title, _text_of(figure, value), chance, figure.better == "lower"))
        fingerprint = figures.get("data_fingerprint")
        mark = None if fingerprint is None else str(fingerprint)
        if rows:
            tables.append(ResultTable(title, rows, ", ".join(counts), mark, _remarks(figures)))
        for kind, found in rows_by_type(figures).items():
            by_type = [
                ResultRow(
                    f"{one.name} ({format_plain(one.num_rows)})",
                    format_percent(one.accuracy),
                    one.beside,
                    lower_is_better=False,
                )
                for one in found
            ]
            tables.append(ResultTable(f"{title} by {kind}", by_type, "", None, [], "Text alone"))
    return tables


def _title_of_other(entry: Mapping[str, Any]) -> str:
    part = entry.get("part")
    return f"{task_title(entry['task'])} on {entry['source']}" + (f" ({part})" if part else "")


def _remarks(figures: Mapping[str, Any]) -> list[str]:
    remarks = [NOT_CONVERGED] if figures.get("converged") is False else []
    remarks += [figures[key] for key in ("overlap", "note") if isinstance(figures.get(key), str)]
    return [f"{remark[0].upper()}{remark[1:]}." for remark in remarks]


def _text_of(figure: Figure, value: Any) -> str:
    """A figure's value, or its mean with deviation; empty for None."""
    number = number_in(value)
    if number is None:
        return ""
    text = format_figure(figure, number)
    if isinstance(value, Mapping):
        spread, runs = value.get("deviation"), value.get("num_runs")
        text += "" if spread is None else f" ± {format_figure(figure, float(spread))}"
        text += "" if runs is None else f" ({runs} runs)"
    return text


@dataclass(frozen=True)
class KeyTable:
    """Names and values of one section."""

    name: str
    rows: list[tuple[str, str]]


def key_tables(values: Mapping[str, Any], top: str, max_rows: int | None = None) -> list[KeyTable]:
    """Nested values as flat tables: the plain ones under the name `top`, then a table for each section.

    Names of deeper values are joined by dots. At most `max_rows` rows of a table are shown, the rest counted.
    """
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    sections = {name: value for name, value in values.items() if isinstance(value, Mapping)}
    tables = [KeyTable(name, _flat(value)) for name, value in ({top: plain} | sections).items() if value]
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
    """Reasons why records were set aside, most frequent first; text after a colon is of the single record."""
    counts = Counter(str(record.get("reason", "no reason given")).split(":")[0] for record in bad_records)
    return counts.most_common()
