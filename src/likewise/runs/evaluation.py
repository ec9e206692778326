"""Evaluation of a run's model: each task on the rows that fit it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from likewise.errors import DataError, LikewiseError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import default_tasks, evaluate, find_task, tasks
from likewise.evaluation.trials import measure_trials
from likewise.model.model import Model
from likewise.runs.folder import RunFolder
from likewise.runs.unseen_rows import Measured, resolved_source

__all__ = ["fitting_tasks", "keep_results", "measure", "measure_fixed_trials"]


def fitting_tasks(model: Model, measured: Measured) -> list[str]:
    """Names of all tasks that the model and the data allow."""
    learning, others = (default_tasks(model, splits) for splits in (measured.parts, measured.whole))
    return [name for name, task in tasks().items() if name in (learning if task.learns else others)]


def measure(
    model: Model, measured: Measured, options: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any] | LikewiseError]]:
    """Measure tasks one after another.

    Args:
        model: the run's model.
        measured: its evaluation data.
        options: by task, an instance of its options class.

    Yields:
        The task, and its figures with what they were measured on, or why it could not be measured.

    Raises:
        AbilityError: the model lacks an ability; nothing is measured.
        DataError: a task learns from training rows, and there are none; nothing is measured.
    """
    learning = sorted(name for name in options if find_task(name).learns)
    if learning and len(measured.parts.train) == 0:
        raise DataError(
            f"{' and '.join(learning)}: learning from labelled rows needs a training part, and "
            f"{measured.parts.summary['source']} has none; see --data.train-split."
        )
    for name, chosen in options.items():
        find_task(name).check(model, chosen)
    whole = Context(model, measured.whole)
    parts = whole
    if learning and measured.parts is not measured.whole:
        parts = Context(model, measured.parts)
    for name, chosen in options.items():
        try:
            figures = evaluate(parts if name in learning else whole, name, chosen)
        except LikewiseError as error:
            yield name, error
        else:
            yield name, measured.beside(name) | figures


def keep_results(run: RunFolder, measured: Measured, results: Mapping[str, dict[str, Any]]) -> None:
    """Write figures into the run's results.json: those of other data never replace the run's own."""
    for task, figures in results.items():
        if measured.own and not measured.changed:
            run.add_results(task, figures)
        else:
            run.add_other_results(measured.entry(task, figures))


def measure_fixed_trials(model: Model, table: str, run: RunFolder | None) -> dict[str, Any]:
    """Few-shot figures on the fixed trials of a table, written into results.json of a run."""
    find_task("few-shot").check(model, None)
    figures = measure_trials(model, table)
    if run is not None:
        entry = {"task": "few-shot", "source": resolved_source(table), "part": "trials"}
        marks = {"rows": figures["num_rows"], "fingerprint": figures["data_fingerprint"]}
        run.add_other_results(entry | marks | {"figures": figures})
    return figures
