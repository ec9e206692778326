"""An evaluation task and the figures it returns.

A task is one file in `likewise/evaluation/tasks/`: a subclass of `Task` under `@task(name)`. Command line,
results.json, terminal and report read everything else from it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset, Splits
from likewise.data.columns import MAIN, Needs
from likewise.errors import AbilityError
from likewise.evaluation.context import Context, labels_of
from likewise.model.model import Model

__all__ = [
    "COMMON_FIGURES",
    "REGISTERED",
    "Figure",
    "NoOptions",
    "Task",
    "class_counts",
    "has_column",
    "task",
]


@dataclass(frozen=True)
class Figure:
    """A number that a task returns, and how to show it."""

    key: str
    """Name in results.json."""
    title: str
    """Name for people."""
    unit: Literal["share", "number", "count"] = "number"
    """A share lies in [0, 1] and is shown as a percentage; a count says how much was measured."""
    better: Literal["higher", "lower"] | None = None
    """Direction of improvement; None where there is none."""
    chance: str | float | None = None
    """Chance level: the key under which the task returns it, or the level itself; None where it has none."""
    baseline: bool = False
    """A figure of a simple reference, not of the model."""
    headline: str | None = None
    """Title among the main figures of a report, None for others; may hold counts: "{num_ways:.0f}-way"."""
    curve: bool = False
    """Logged when the task is measured during training, and drawn as a curve."""
    oracle: bool = False
    """Needs labels that training must not see: a model chosen by it is a bound."""

    def chance_in(self, figures: Mapping[str, Any]) -> Any:
        """The chance level that stands beside this figure in a task's figures; None where there is none."""
        return figures.get(self.chance) if isinstance(self.chance, str) else self.chance


COMMON_FIGURES = (
    Figure("num_left_out", "Left out, as trained on", "count"),
    Figure("num_rows", "Rows", "count"),
    Figure("num_trials", "Trials", "count"),
)
"""Figures that any task's entry in results.json may hold beside its own."""


@dataclass(frozen=True)
class NoOptions:
    """Options of a task that has none."""


class Task(ABC):
    """One way of measuring a model on data."""

    name: ClassVar[str]
    """Name on the command line and in results.json; set by `@task(name)`."""
    title: ClassVar[str]
    """Name for people."""
    summary: ClassVar[str]
    """One line for --help."""
    needs: ClassVar[Needs]
    """Columns of the validation part that the task reads; of a model of sounds, sounds in place of images."""
    abilities: ClassVar[tuple[str, ...]]
    """Abilities of the model that the task uses."""
    figures: ClassVar[tuple[Figure, ...]]
    """All numbers that `run` may return, except chance levels."""
    extras: ClassVar[tuple[str, ...]] = ()
    """Keys of what `run` returns that is not a figure: curves, matrices, settings, flags."""
    learns: ClassVar[bool] = False
    """The task learns from the labels of the training part."""
    slow: ClassVar[bool] = False
    """Left out at the end of training; `likewise evaluate` measures it."""
    options: ClassVar[type[Any]] = NoOptions
    """Frozen dataclass of the task's options, each with a default; its fields become flags.

    Tasks may share an options class; field names of different classes must differ."""
    least_classes: ClassVar[tuple[int, int]] = (0, 0)
    """Classes that the validation part must have, and how many of them with two rows or more."""
    monitored: ClassVar[Literal["always", "new classes", "never"]] = "never"
    """When to measure during training; "new classes": where no task can learn the validation part's classes
    from the training part."""
    order: ClassVar[int] = 50
    """Tasks are listed by this number, then by name."""

    def figure(self, key: str) -> Figure | None:
        """The figure with that key; None where the task declares none."""
        return next((figure for figure in (*self.figures, *COMMON_FIGURES) if figure.key == key), None)

    def abilities_of(self, model: Model) -> list[str]:
        """The abilities that it needs of a model; in one of sounds alone those of images are of sounds."""
        lacking = {"encode_images", "encode_audio"} - {*model.abilities}
        of_sounds = lacking == {"encode_images"} and "encode_audio" not in self.abilities
        return ["encode_audio" if of_sounds and name == "encode_images" else name for name in self.abilities]

    def fits(self, model: Model) -> bool:
        """Whether the model has the abilities that the task always needs."""
        return set(self.abilities_of(model)) <= set(model.abilities)

    def check(self, model: Model, options: Any) -> None:
        """Raise AbilityError where the model lacks an ability that the task needs with these options."""
        del options
        lacking = [ability for ability in self.abilities_of(model) if ability not in model.abilities]
        if lacking:
            raise AbilityError(
                f"{self.name} needs a model that can {' and '.join(lacking)}; "
                f"this one can {', '.join(model.abilities)}."
            )

    def supports(self, splits: Splits) -> bool:
        """Whether this data has what the task needs."""
        data = splits.validation
        if data is None or not all(has_column(data, column) for column in self.needs.required()):
            return False
        if self.learns and not share_classes(splits):
            return False
        counts = class_counts(data)
        return len(counts) >= self.least_classes[0] and int((counts >= 2).sum()) >= self.least_classes[1]

    @abstractmethod
    def run(self, context: Context, options: Any) -> dict[str, Any]:
        """Measure.

        Args:
            context: model and data; it has the abilities and columns that the task needs.
            options: an instance of `self.options`.

        Returns:
            Figures by key, their chance levels, and extras.

        Raises:
            ValueError: the data cannot be measured.
        """


REGISTERED: dict[str, Task] = {}
"""Tasks by name, in the order of their registration."""

TaskType = TypeVar("TaskType", bound=type[Task])


def task(name: str) -> Callable[[TaskType], TaskType]:
    """Class decorator that registers a task.

    Raises:
        ValueError: another task has that name, or its options share a field name with another options class.
    """

    def register(kind: TaskType) -> TaskType:
        known = REGISTERED.get(name)
        if known is not None and type(known).__module__ != kind.__module__:
            raise ValueError(
                f"two tasks are called {name!r}: in {type(known).__module__} and {kind.__module__}"
            )
        for other in REGISTERED.values():
            shared = {field.name for field in fields(other.options)} & {
                field.name for field in fields(kind.options)
            }
            if other is not known and other.options is not kind.options and shared:
                raise ValueError(f"options of {name} and {other.name} have the same names: {sorted(shared)}")
        kind.name = name
        REGISTERED[name] = kind()
        return kind

    return register


def class_counts(data: Dataset) -> NDArray[np.int64]:
    """(C,) rows of each class that occurs."""
    labels = labels_of(data)
    return np.unique(labels[labels >= 0], return_counts=True)[1]


def share_classes(splits: Splits) -> bool:
    """Whether a class of the validation part occurs in the training part."""
    if splits.validation is None:
        return False
    return bool((np.intersect1d(labels_of(splits.validation), labels_of(splits.train)) >= 0).any())


def has_column(data: Dataset, column: str) -> bool:
    """Whether the data has the column; of texts and labels, whether any row has one. Sounds stand for
    images: a task that reads images reads them of a model of sounds."""
    if column == "image":
        return any(data.has(main) for main in MAIN)
    if column == "text":
        return any(data.texts or ())
    if column == "label":
        return bool((labels_of(data) >= 0).any())
    return data.has(column)
