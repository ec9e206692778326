"""The kinds of columns. Each parses a cell, stores N values, takes rows of its store and collates a batch.

N rows of a dataset, B rows of a batch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.data.cells import clean_texts, is_blank, listed_texts, name_in, number_in
from likewise.data.config import DataConfig
from likewise.data.record import ImageRef

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Classes", "Kind", "Listed", "Names", "Numbers", "Parsing", "Texts", "ordered_names"]

Rows = NDArray[np.int64]
_LONGEST_NUMBER = 100  # digits; Python makes no number of more than 4,300


@dataclass(frozen=True, kw_only=True)
class Parsing:
    """How the cells of a column are parsed.

    Attributes:
        config: the user's options.
        resolve: finds the file of a path.
        drop: gets the reason for each text that is dropped; the record stays.
        class_names: names of whole numbers, where the file declares them.
    """

    config: DataConfig
    resolve: Callable[[str], ImageRef]
    drop: Callable[[str], None]
    class_names: Sequence[str] | None = None


class Kind(ABC):
    """N values of one column."""

    @staticmethod
    @abstractmethod
    def parse(cells: Sequence[Any], how: Parsing) -> Any:
        """One record's value.

        Args:
            cells: the record's cells, one for each table column that plays the role.
            how: the options of parsing.

        Returns:
            The value; None where the record has none.

        Raises:
            RecordError: a cell cannot be used.
        """

    @classmethod
    @abstractmethod
    def store(cls, values: Sequence[Any], names: list[str] | None = None) -> Self:
        """Store N values.

        Args:
            values: of N records, None where a record has none.
            names: the classes of all parts and sources in order, for columns of classes.
        """

    @abstractmethod
    def take(self, rows: Rows) -> Self:
        """The values of these rows, in this order."""

    @abstractmethod
    def join(self, other: Self) -> Self:
        """These values, then those of another store."""

    @abstractmethod
    def without(self, masked: NDArray[np.bool_]) -> Self:
        """The same rows; those that are masked (N,) have no value."""

    @abstractmethod
    def collate(self, rows: Rows) -> Any:
        """The values of B rows: a tensor (B, ...) or a list of B."""

    @abstractmethod
    def describe(self) -> list[Any] | None:
        """N values as JSON can hold them, for fingerprints."""


@dataclass(frozen=True)
class Listed(Kind):
    """N values in a list."""

    values: list[Any]
    blank: ClassVar[Any] = ()
    """The value of a row that has none."""

    @classmethod
    def store(cls, values: Sequence[Any], names: list[str] | None = None) -> Self:
        """See Kind."""
        return cls([cls.blank if value is None else value for value in values])

    def take(self, rows: Rows) -> Self:
        """See Kind."""
        return replace(self, values=[self.values[row] for row in rows.tolist()])

    def join(self, other: Self) -> Self:
        """See Kind."""
        return replace(self, values=self.values + other.values)

    def without(self, masked: NDArray[np.bool_]) -> Self:
        """See Kind."""
        return replace(
            self, values=[self.blank if m else v for v, m in zip(self.values, masked, strict=True)]
        )

    def collate(self, rows: Rows) -> Any:
        """See Kind."""
        return self.take(rows).values

    def describe(self) -> list[Any]:
        """See Kind."""
        return self.values


@dataclass(frozen=True)
class _Array(Kind):
    """N values in an array."""

    values: NDArray[Any]
    blank: ClassVar[float]

    def without(self, masked: NDArray[np.bool_]) -> Self:
        return replace(self, values=np.where(masked, self.blank, self.values).astype(self.values.dtype))

    def take(self, rows: Rows) -> Self:
        return replace(self, values=self.values[rows])

    def join(self, other: Self) -> Self:
        return replace(self, values=np.concatenate([self.values, other.values]))


class Texts(Listed):
    """Captions or sentences, several a row: N tuples of strings. Batches get them as tokens."""

    @staticmethod
    def parse(cells: Sequence[Any], how: Parsing) -> tuple[str, ...] | None:
        """See Kind. Texts that cannot be used are dropped one by one."""
        listed = [text for cell in cells for text in listed_texts(cell, how.config.text_separator)]
        usable, faults = clean_texts(listed, how.config)
        for _, reason in faults:
            how.drop(reason)
        return tuple(usable) or None


class Names(Listed):
    """Names, one a row: N strings."""

    blank = ""

    @staticmethod
    def parse(cells: Sequence[Any], how: Parsing) -> str | None:
        """See Kind."""
        return name_in(cells[0])


@dataclass(frozen=True)
class Numbers(_Array):
    """Numbers: (N,) float64, NaN where a row has none."""

    blank = math.nan

    @staticmethod
    def parse(cells: Sequence[Any], how: Parsing) -> float | None:
        """See Kind."""
        return None if is_blank(cells[0]) else number_in(cells[0])

    @classmethod
    def store(cls, values: Sequence[Any], names: list[str] | None = None) -> Self:
        """See Kind."""
        return cls(np.array([math.nan if value is None else value for value in values], dtype=np.float64))

    def collate(self, rows: Rows) -> Tensor:
        """(B,) float32."""
        return torch.from_numpy(self.values[rows].astype(np.float32))

    def describe(self) -> list[Any]:
        """See Kind."""
        return [None if math.isnan(value) else value for value in self.values.tolist()]


@dataclass(frozen=True)
class Classes(_Array):
    """Classes: (N,) int64 into `names`, -1 where a row has none.

    Groups have numbers alone, and no names.
    """

    blank = -1

    names: list[str]

    @staticmethod
    def parse(cells: Sequence[Any], how: Parsing) -> str | None:
        """See Kind. A whole number becomes the name that the file declares for it."""
        cell, declared = cells[0], how.class_names
        if declared is None:
            return name_in(cell)
        return declared[cell] if isinstance(cell, int) and 0 <= cell < len(declared) else None

    @classmethod
    def store(cls, values: Sequence[Any], names: list[str] | None = None) -> Self:
        """See Kind."""
        names = ordered_names({value for value in values if value is not None}) if names is None else names
        numbers = {name: number for number, name in enumerate(names)} | {None: -1}
        return cls(np.array([numbers[value] for value in values], dtype=np.int64), names)

    def collate(self, rows: Rows) -> Tensor:
        """(B,) int64."""
        return torch.from_numpy(self.values[rows])

    def describe(self) -> list[Any]:
        """See Kind."""
        return [self.names[number] if number >= 0 else None for number in self.values.tolist()]


def ordered_names(names: set[str]) -> list[str]:
    """By the alphabet; whole numbers by value."""
    in_order = sorted(names)  # "1" and "01" are one number, and a set has them in any order
    if all(name.removeprefix("-").isdecimal() and len(name) < _LONGEST_NUMBER for name in names):
        return sorted(in_order, key=int)
    return in_order
