"""Finds the evaluation tasks, and runs one.

Adding a task is adding a file to `likewise/evaluation/tasks/`; no other code lists them.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from typing import Any

from likewise.data import Splits
from likewise.data.columns import COMPLETE, REQUIRED, Need, Needs
from likewise.data.remedies import remedy
from likewise.errors import ConfigError, DataError
from likewise.evaluation import tasks as package
from likewise.evaluation.base import REGISTERED, Figure, Task, class_counts, has_column, share_classes
from likewise.evaluation.context import Context
from likewise.messages import closest
from likewise.model.model import Model

__all__ = [
    "RETAINED_TASKS",
    "default_tasks",
    "evaluate",
    "figure_of",
    "find_task",
    "monitored_tasks",
    "needs_of_tasks",
    "tasks",
]

RETAINED_TASKS = ("retrieval", "image-audio-retrieval", "zero-shot", "sts")
"""What is measured of what a fine-tuned model keeps: the first that its model and its data allow."""

_COLUMN_WORDS = {"image": "images", "text": "captions", "label": "labels", "audio": "sounds"}


def tasks() -> dict[str, Task]:
    """All tasks by name, in the order in which they are listed."""
    _import_tasks(tuple(package.__path__))
    return dict(sorted(REGISTERED.items(), key=lambda item: (item[1].order, item[0])))


@cache
def _import_tasks(path: tuple[str, ...]) -> None:
    for module in pkgutil.walk_packages(path, f"{package.__name__}."):
        importlib.import_module(module.name)


def find_task(name: str) -> Task:
    """The task of that name.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    known = tasks()
    if name not in known:
        hint = closest(name, known) or f"there are {', '.join(known)}."
        raise ConfigError(f"no task is called {name!r}; {hint}")
    return known[name]


def figure_of(task: str, key: str) -> Figure:
    """How to show a figure of results.json.

    Args:
        task: its name.
        key: the figure's key.

    Returns:
        The declared figure; for an unknown task or key a plain number whose title is made from the key.
    """
    known = tasks().get(task)
    found = None if known is None else known.figure(key)
    return found or Figure(key, key.replace("_", " ").capitalize(), chance=f"chance_{key}")


def needs_of_tasks(model: Model, name: str = "all") -> Needs:
    """The columns to read of a source that is measured on.

    Args:
        model: the model.
        name: of the task; "all" for every task of the model, except those that are slow.

    Returns:
        Of a task on texts alone its own needs. Otherwise images, or texts for a model that reads no images,
        and as optional whatever else the tasks read.
    """
    chosen = [find_task(name)] if name != "all" else _tasks_of(model)
    if name != "all" and "image" not in chosen[0].needs:
        return chosen[0].needs
    main = model.column or "text"
    read: dict[str, Need] = {}
    for column, need in (pair for task in chosen for pair in task.needs.columns.items()):
        if column not in read or not read[column].headers:
            read[column] = Need(False, headers=need.headers)
    if main == "audio":
        read.pop("image", None)
    elif "audio" in read:  # an image without its sound has nothing to find
        read["audio"] = COMPLETE
    return Needs(**read | {main: REQUIRED})


def _tasks_of(model: Model) -> list[Task]:
    """What the model is able to do, without the slow tasks."""
    return [task for task in tasks().values() if task.fits(model) and not task.slow]


def default_tasks(model: Model, splits: Splits) -> list[str]:
    """Names of the tasks that this model and this data allow; none without a validation part."""
    if splits.validation is None:
        return []
    return [name for name, task in tasks().items() if task.fits(model) and task.supports(splits)]


def monitored_tasks(model: Model, splits: Splits) -> list[str]:
    """Names of the tasks to measure during training, of those that this model and this data allow."""
    fitting = {name: find_task(name) for name in default_tasks(model, splits)}
    known = any(task.learns for task in fitting.values())
    times = ("always",) if known else ("always", "new classes")
    return [name for name, task in fitting.items() if task.monitored in times]


def evaluate(context: Context, name: str, options: Any = None) -> dict[str, Any]:
    """Measure one task.

    Args:
        context: model and data.
        name: of the task.
        options: an instance of the task's options class; its defaults when None.

    Returns:
        Figures by key, with `data_fingerprint`, the fingerprint of the validation part.

    Raises:
        ConfigError: there is no such task.
        AbilityError: the model lacks what the task needs.
        DataError: the data lacks it.
    """
    task = find_task(name)
    options = task.options() if options is None else options
    task.check(context.model, options)
    for column in task.needs.required():
        if not has_column(context.validation, column):
            words = _COLUMN_WORDS.get(column, f"a column {column!r}")
            summary = context.splits.summary
            lacking = remedy(column, summary.get("kind", ""), summary.get("columns_named", ()))
            raise DataError(f"{name} needs {words}, and the data has none; {lacking}.")
    if task.learns and not share_classes(context.splits):
        raise DataError(
            f"{name} learns classes from the training part, and no class of the validation part is among "
            f"its {len(class_counts(context.train))} (validation has "
            f"{len(class_counts(context.validation))}); "
            "few-shot, verification, ranking and clustering need no shared class."
        )
    try:
        figures = task.run(context, options)
    except ValueError as error:  # the metrics' error for data that they cannot measure
        raise DataError(f"{name} cannot be measured on this data: {error}") from error
    return {"data_fingerprint": context.validation.fingerprint} | figures
