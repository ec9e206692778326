"""What `likewise evaluate` measures on: rows that were not trained on, and how that is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from likewise.data import DataConfig, Dataset, Splits
from likewise.data.leakage import said_of_overlap, trained_on
from likewise.errors import DataError
from likewise.evaluation.registry import find_task
from likewise.model.model import Model
from likewise.runs.folder import RunFolder
from likewise.runs.open import (
    CHANGED,
    fingerprint_of_run,
    is_run,
    open_moved,
    open_own_splits,
    open_splits,
    own_data,
    run_data_config,
)
from likewise.runs.settings import read_settings

__all__ = ["Measured", "open_measured"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The data of an evaluation.

    Attributes:
        parts: the source's parts as named or drawn, for tasks that learn from one and measure on the other.
        whole: the same, but all of another source that names no parts is held out.
        own: whether it is the run's own data, read as training read it.
        num_left_out: rows left out because they were trained on; None where that is not known.
        overlap: what to know of held-out rows that are learnt from too; None where there are none. Of the
            run's own data the model has learnt from them, of another source only the tasks that learn.
        warnings: what the reader of the figures must know.
    """

    parts: Splits
    whole: Splits
    own: bool
    num_left_out: int | None
    overlap: str | None = None
    warnings: tuple[str, ...] = ()

    def described(self, *, learning: bool = False) -> str:
        """Which part of which source is measured, and how many rows; of tasks that learn, from what."""
        summary = self.whole.summary
        source = summary["validation_source"] or summary["source"]
        names = summary["parts_named"]["validation"]
        if names:
            where = f"the part {' and '.join(names)} of {source}"
        elif self.parts is self.whole and _is_drawn(self.whole):
            where = f"the held-out part of {source}, {summary['splits_from']}"
        elif learning:
            where = f"a part of {source}, {summary['splits_from']}"
        else:
            where = f"all of {source}, which names no parts"
        splits = self.parts if learning else self.whole
        learnt = f", learning from {_rows(len(splits.train))}" if learning else ""
        return f"{where}: {_rows(len(splits.validation or ()))}{learnt}"

    def lines(self, tasks: Sequence[str]) -> Iterator[str]:
        """The same for some tasks in sentences, then the warnings."""
        learning = [task for task in tasks if find_task(task).learns]
        if len(learning) < len(tasks) or not tasks:
            yield f"measured on {self.described()}"
        if learning:
            yield f"{' and '.join(learning)}: measured on {self.described(learning=True)}"
        yield from (f"warning: {line}" for line in self.warnings)
        if self.overlap is not None and (self.own or learning):
            yield f"warning: {self.overlap}."

    def beside(self, task: str) -> dict[str, Any]:
        """What is kept with a task's figures."""
        learns = find_task(task).learns
        kept: dict[str, Any] = {"measured_on": self.described(learning=learns)}
        if not self.own:
            kept["num_left_out"] = self.num_left_out
        if self.overlap is not None and (self.own or learns):
            kept["overlap"] = self.overlap
        return kept


def open_measured(model: Model, path: str, data: DataConfig, *, progress: bool = True) -> Measured:
    """Open what `--data` names, or the run's own; leave out what was trained on.

    Args:
        model: the run's model.
        path: the run's folder, or a model's.
        data: what `--data` and its options say.
        progress: show how far decoding is.

    Raises:
        DataError: the source cannot be measured on, or all of it was trained on.
    """
    if not is_run(path):
        splits = open_splits(model, path, data, parts="measured", progress=progress)
        unknown = f"{path} is a model without a run, so whether it was trained on rows of this is not known."
        return _without_trained(splits, None, joined=True, warnings=(unknown,))
    own = read_settings(RunFolder(path).config).data
    asked = own_data(model, path, data)
    if asked == own:
        splits = open_splits(model, path, progress=progress)
        changed = fingerprint_of_run(path) not in (None, splits.summary["fingerprint"])
        return Measured(
            parts=splits,
            whole=splits,
            own=True,
            num_left_out=0,
            overlap=splits.summary["overlap"],
            warnings=(_CHANGED.format(source=own.source),) if changed else (),
        )
    try:
        trained = open_splits(model, path, progress=progress)
    except DataError as error:
        moved = open_moved(model, path, data.source, progress=progress)
        if moved is not None and run_data_config(model, own, data, source=own.source) == own:
            overlap = moved.summary["overlap"]
            return Measured(parts=moved, whole=moved, own=True, num_left_out=0, overlap=overlap)
        if moved is not None:  # read by other options
            splits = open_own_splits(model, path, data)
            return _without_trained(splits, moved.train, joined=False, warnings=())
        splits = open_splits(model, path, data, parts="measured", progress=progress)
        unknown = "the run's own data cannot be read, so whether rows of this were trained on is not known"
        return _without_trained(splits, None, joined=True, warnings=(f"{unknown}: {error}",))
    splits = open_splits(model, path, data, parts="measured", progress=progress)
    changed = fingerprint_of_run(path) not in (None, trained.summary["fingerprint"])
    return _without_trained(
        splits,
        trained.train,
        joined=asked is None,
        warnings=(_CHANGED.format(source=own.source),) if changed else (),
    )


_CHANGED = f"{CHANGED}, so whether rows of this were trained on is not certain."


def _without_trained(
    splits: Splits, trained: Dataset | None, *, joined: bool, warnings: tuple[str, ...]
) -> Measured:
    """Leave out what was trained on.

    Args:
        splits: as opened.
        trained: the run's training part; None where it is not known.
        joined: hold out all of a source that names no parts.
        warnings: what was found before.
    """
    joined = joined and _is_drawn(splits)
    num_rows = len(splits.validation or ()) + (len(splits.train) if joined else 0)
    train = _unseen(splits.train, trained) if joined else splits.train
    held_out = None if splits.validation is None else _unseen(splits.validation, trained)
    parts = replace(
        splits, train=train, validation=held_out if held_out is not None and len(held_out) else None
    )
    whole = _whole(parts) if joined else parts
    num_left = len(whole.validation or ())
    source = splits.summary["validation_source"] or splits.summary["source"]
    if num_rows > 0 and num_left == 0:
        raise DataError(
            f"all {num_rows:,} rows of {source} that would be measured were trained on, so nothing of it is "
            "held out; without --data, the run's own held-out part is measured."
        )
    if num_left < num_rows:
        warnings += (
            f"{num_rows - num_left:,} of the {num_rows:,} rows were trained on (their pictures, or without "
            "pictures their texts, are in the training part) and are left out.",
        )
    return Measured(
        parts=parts,
        whole=whole,
        own=False,
        num_left_out=None if trained is None else num_rows - num_left,
        overlap=_overlap(parts),
        warnings=warnings,
    )


def _overlap(parts: Splits) -> str | None:
    """What to know of another source's held-out rows, of those that are left, that it has in both parts."""
    held_out = parts.validation
    if held_out is None or len(parts.train) == 0:
        return None
    one_source = parts.summary["validation_source"] is None
    return said_of_overlap(
        held_out,
        parts.train,
        groups_tell=one_source and parts.summary["splits_from"] != "generated",
        row="row that is learnt from",
        figures="these figures",
    )


def _unseen(part: Dataset, trained: Dataset | None) -> Dataset:
    return part if trained is None else part.subset(np.flatnonzero(~trained_on(part, trained)))


def _whole(splits: Splits) -> Splits:
    """All rows of a source as its held-out part."""
    if splits.validation is None:
        return replace(splits, validation=splits.train if len(splits.train) else None)
    return replace(splits, validation=splits.validation.joined(splits.train))


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _is_drawn(splits: Splits) -> bool:
    return str(splits.summary["splits_from"]).startswith("drawn")
