"""`likewise evaluate RUN TASK [--data SOURCE]`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import tyro

from likewise.cli.opened import OWN_DATA, is_run, open_model, open_splits, whole_source
from likewise.data import DataConfig
from likewise.errors import ConfigError
from likewise.evaluation.tasks import LEARNING_TASKS, TASKS, Embedded, Episodes, default_tasks, evaluate
from likewise.training.run import RunFolder

__all__ = ["EvaluateCommand", "run"]

_TASK_LINES = "; ".join(f"{name}: {line}" for name, (_, _, line) in TASKS.items())


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Measure a trained model on held-out data."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's folder, a model folder or a hub name."""

    task: Annotated[
        str, tyro.conf.Positional, tyro.conf.arg(help=f"{_TASK_LINES}; all: every one that fits.")
    ] = "all"

    data: DataConfig = field(default_factory=lambda: DataConfig(source=OWN_DATA))
    """Measured on: the validation part; or all of another source that names no parts (tasks that learn from
    labelled rows keep a drawn part of it for that)."""

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
    """Measure; print; write into the run's results.json when on its own data."""
    options = tyro.cli(EvaluateCommand, args=list(arguments), prog="likewise evaluate")
    model = open_model(options.run, options.device)
    own = options.data.source == OWN_DATA
    splits = open_splits(model, options.run, options.data, progress=not options.json)
    tasks = default_tasks(model, splits) if options.task == "all" else [options.task]
    _refuse_ignored(options, tasks)
    given = _task_options(options)
    learning = Embedded(model, splits, **given)
    whole = learning if own else Embedded(model, whole_source(splits), **given)
    results = {task: evaluate(learning if task in LEARNING_TASKS else whole, task) for task in tasks}
    if is_run(options.run):
        folder = RunFolder(options.run)
        for task, figures in results.items():
            folder.add_results(task if own else f"{task} on {options.data.source}", figures)
    if options.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
    else:
        show_results(results)


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
    """What the tasks are told."""
    for name, least in (("ways", 2), ("shots", 1), ("episodes", 2), ("rerank", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise ConfigError(f"--{name} must be at least {least}, got {value}.")
    if options.rerank_by is not None and options.rerank is None:
        raise ConfigError("--rerank-by says how --rerank's candidates are ordered; give --rerank K too.")
    templates = "photo" if options.templates is None else options.templates
    counts = {"num_ways": options.ways, "num_shots": options.shots, "num_episodes": options.episodes}
    return {
        "rerank": options.rerank,
        "rerank_by": options.rerank_by or "both",
        "templates": [templates] if "{}" in templates else templates,
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
            chance = figures.get(f"chance_{name.removeprefix('reranked_')}")
            table.add_row(task, name, f"{value:.4g}", "" if chance is None else f"{chance:.4g}")
    Console().print(table)
