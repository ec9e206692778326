"""`likewise evaluate RUN TASK [--data SOURCE]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from likewise.data import DataConfig
from likewise.errors import ConfigError, DataError, LikewiseError
from likewise.evaluation.tasks import (
    LEARNING_TASKS,
    TASKS,
    Embedded,
    Episodes,
    check_task,
    default_tasks,
    evaluate,
)
from likewise.metrics.linear_probe import NOT_CONVERGED
from likewise.metrics.prompts import prompts
from likewise.metrics.reranking import chance_of
from likewise.model.model import Model
from likewise.option_flags import parse_flags
from likewise.reporting.formatting import format_plain
from likewise.runs.folder import RunFolder
from likewise.runs.open import OWN_DATA, is_run, open_model
from likewise.runs.unseen_rows import Measured, open_measured

__all__ = ["EvaluateCommand", "run"]

_TASK_LINES = "; ".join(f"{name}: {line}" for name, (_, _, line) in TASKS.items())


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Measure a trained model on held-out data."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    task: Annotated[
        str,
        tyro.conf.Positional,
        tyro.conf.arg(metavar="[TASK]", help=f"{_TASK_LINES}; all: every one that fits."),
    ] = "all"

    data: DataConfig = field(default_factory=lambda: DataConfig(source=OWN_DATA))
    """Measured on: the validation part, of another source the test part where it names no other; or all of
    another source that names no parts (tasks that learn from labelled rows keep a drawn part of it for that).
    Rows that the run was trained on are left out."""

    templates: str | None = None
    """Prompts of zero-shot classification: a set's name (photo, plain, ...) or a sentence with one {};
    photo when not given."""

    ways: int | None = None
    """Classes of a few-shot episode; as many as the data has, at most 20, when not given."""

    shots: int | None = None
    """Examples of each class of a few-shot episode; 1 when not given."""

    episodes: int | None = None
    """Few-shot episodes drawn; 1000 when not given."""

    rerank: int | None = None
    """Retrieval in two stages: so many of each query's best by cosine are judged again, pair by pair (models
    that can match); none when not given."""

    rerank_by: Literal["both", "match"] | None = None
    """Their order: by the match's odds and the cosine together (`both`, when not given), or by the odds
    alone, as the papers have it (`match`)."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    json: bool = False
    """Print the figures as JSON."""


def run(arguments: Sequence[str]) -> None:
    """Measure, print, and write into the run's results.json."""
    options = parse_flags(EvaluateCommand, arguments, prog="likewise evaluate")
    # What can be refused without the model and the data is refused before they are opened.
    given, tasks = _task_options(options), [options.task]
    if options.task != "all":
        check_task(options.task)
        _refuse_ignored(options, tasks)
    model = open_model(options.run, options.device)
    measured = open_measured(model, options.run, options.data, progress=not options.json)
    if options.task == "all":
        tasks = _fitting_tasks(model, measured)
        _refuse_ignored(options, tasks)
    for line in measured.lines(tasks):
        print(line, file=sys.stderr if options.json else sys.stdout, flush=True)
    results, failed = _measure(model, measured, tasks, given, one_by_one=options.task == "all")
    # Printed first: they are not lost where they cannot be written.
    if options.json:
        print(json.dumps(results, indent=2, ensure_ascii=False), flush=True)
    else:
        show_results(results)
    if is_run(options.run):
        folder = RunFolder(options.run)
        for task, figures in results.items():
            folder.add_results(task if measured.own else f"{task} on {options.data.source}", figures)
    if failed:
        raise DataError(f"no figures of {' and '.join(failed)}, for the reasons above; all others are there.")


def _fitting_tasks(model: Model, measured: Measured) -> list[str]:
    """Every task that the model and the data allow."""
    learning, others = (default_tasks(model, splits) for splits in (measured.parts, measured.whole))
    return [task for task in TASKS if task in (learning if task in LEARNING_TASKS else others)]


def _measure(
    model: Model, measured: Measured, tasks: Sequence[str], given: dict[str, Any], *, one_by_one: bool
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Measure.

    Args:
        model: what is measured.
        measured: on what.
        tasks: by name.
        given: options of the tasks.
        one_by_one: a task that cannot be measured does not keep the others from it; what it lacks is said.

    Returns:
        Figures by task, with what they were measured on; and the tasks that have none.
    """
    if len(measured.parts.train) == 0 and (lost := sorted(LEARNING_TASKS.intersection(tasks))):
        raise DataError(
            f"{' and '.join(lost)}: learning from labelled rows needs a training part, and "
            f"{measured.parts.summary['source']} has none; see --data.train-split."
        )
    whole = Embedded(model, measured.whole, **given)
    learning = whole
    if measured.parts is not measured.whole and LEARNING_TASKS.intersection(tasks):
        learning = Embedded(model, measured.parts, **given)
    results, failed = {}, []
    for task in tasks:
        try:
            figures = evaluate(learning if task in LEARNING_TASKS else whole, task)
        except LikewiseError as error:
            if not one_by_one:
                raise
            print(f"likewise evaluate: {error}", file=sys.stderr, flush=True)
            failed.append(task)
            continue
        results[task] = figures | measured.beside(task)
        if figures.get("converged") is False:
            print(f"warning: {task}: {NOT_CONVERGED}.", file=sys.stderr, flush=True)
    return results, failed


def _refuse_ignored(options: EvaluateCommand, tasks: Sequence[str]) -> None:
    """Raise where an option was given that none of the tasks reads."""
    for task, names in (
        ("few-shot", ("ways", "shots", "episodes")),
        ("zero-shot", ("templates",)),
        ("retrieval", ("rerank", "rerank_by")),
    ):
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(options, name) is not None]
        if given and task not in tasks:
            raise ConfigError(
                f"{', '.join(given)}: only {task} reads this; the task is {options.task}"
                f"{' (' + ', '.join(tasks) + ')' if options.task == 'all' else ''}."
            )


def _task_options(options: EvaluateCommand) -> dict[str, Any]:
    """What the tasks are told. Raises where an option has a value that it cannot have."""
    for name, least in (("ways", 2), ("shots", 1), ("episodes", 2), ("rerank", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name} must be at least {least}, got {value}.")
    if options.rerank_by is not None and options.rerank is None:
        raise ConfigError("--rerank-by says how --rerank's candidates are ordered; give --rerank K too.")
    chosen = "photo" if options.templates is None else options.templates
    templates = [chosen] if "{}" in chosen else chosen
    try:
        prompts(["a class"], templates)
    except ValueError as error:
        raise ConfigError(
            f"--templates: expected a set's name or a sentence with one {{}}, but {error}."
        ) from error
    counts = {"num_ways": options.ways, "num_shots": options.shots, "num_episodes": options.episodes}
    return {
        "rerank": options.rerank,
        "rerank_by": options.rerank_by or "both",
        "templates": templates,
        "episodes": Episodes(**{name: value for name, value in counts.items() if value is not None}),
    }


def show_results(results: dict[str, dict[str, Any]]) -> None:
    """Print a table: task, figure, value, chance."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("task")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("chance", justify="right")
    for task, figures in results.items():
        for name, value in figures.items():
            if name.startswith("chance_") or isinstance(value, (str, list)) or value is None:
                continue
            chance = chance_of(figures, name)
            table.add_row(task, name, _text(value), "" if chance is None else _text(chance))
    Console().print(table)


def _text(value: float) -> str:
    """A figure; counts in full, with their thousands separated."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return format_plain(value)
