"""Evaluation data: rows that the model was not trained on, and a description of them for the reader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from likewise.data import DataConfig, Dataset, Splits
from likewise.data.columns import Needs
from likewise.data.files import is_remote
from likewise.data.leakage import said_of_overlap, trained_on
from likewise.errors import DataError
from likewise.evaluation.registry import find_task
from likewise.model.model import Model
from likewise.runs.open import CHANGED, RunData, is_run, open_other

__all__ = ["Measured", "open_measured", "own_measured", "resolved_source"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The data of an evaluation.

    Attributes:
        parts: the source's parts as named or drawn, for tasks that learn from one and measure on the other.
        whole: the same, but of another source that names no parts, every row is a validation row.
        own: whether it is the run's own data, read as training read it.
        num_left_out: rows left out because they were trained on; None if unknown.
        overlap: a warning about overlap of the two parts, or None. In the run's own data it affects every
            task, in another source the tasks that learn.
        warnings: what the reader of the figures must know.
        changed: the run's own data is not as it was in training, so these figures are of other data.
    """

    parts: Splits
    whole: Splits
    own: bool
    num_left_out: int | None
    overlap: str | None = None
    warnings: tuple[str, ...] = ()
    changed: bool = False

    def described(self, *, learning: bool = False) -> str:
        """The part and source measured on, with row counts; of tasks that learn, also the training rows."""
        summary, source = self.whole.summary, _source(self.whole)
        names = summary["parts_named"]["validation"]
        if names:
            where = f"the part {' and '.join(names)} of {source}"
        elif not _is_drawn(self.whole) or (self.parts is not self.whole and not learning):
            where = f"all of {source}, which names no parts"
        elif self.parts is self.whole:
            where = f"the validation part of {source}, {summary['splits_from']}"
        else:
            where = f"a part of {source}, {summary['splits_from']}"
        splits = self.parts if learning else self.whole
        learnt = f", learning from {_rows(len(splits.train))}" if learning else ""
        if learnt and summary["validation_source"] is not None:
            learnt += f" of {summary['source']}"
        return f"{where}: {_rows(len(splits.validation or ()))}{learnt}"

    def lines(self, tasks: Sequence[str]) -> Iterator[str]:
        """Lines for the terminal: what the tasks are measured on, then the warnings."""
        learning = [task for task in tasks if find_task(task).learns]
        if len(learning) < len(tasks) or not tasks:
            yield f"measured on {self.described()}"
        if learning:
            hint = ""
            if self.parts is not self.whole:
                hint = (
                    f"; to learn from other rows and measure all of these, give --data TRAINING "
                    f"--data.validation {_source(self.whole)}"
                )
            yield f"{' and '.join(learning)}: measured on {self.described(learning=True)}{hint}"
        yield from (f"warning: {line}" for line in self.warnings)
        if self.overlap is not None and (self.own or learning):
            yield f"warning: {self.overlap}."

    def beside(self, task: str) -> dict[str, Any]:
        """Facts about the data that are stored with a task's figures."""
        learns = find_task(task).learns
        kept: dict[str, Any] = {"measured_on": self.described(learning=learns)}
        if not self.own:
            kept["num_left_out"] = self.num_left_out
        if self.overlap is not None and (self.own or learns):
            kept["overlap"] = self.overlap
        return kept

    def entry(self, task: str, figures: dict[str, Any]) -> dict[str, Any]:
        """A task's entry in `others` of results.json: its figures, and the rows they are of."""
        learns = find_task(task).learns
        splits = self.parts if learns else self.whole
        names = splits.summary["parts_named"]["validation"]
        drawn = _is_drawn(splits) and (learns or self.parts is self.whole)
        entry = {
            "task": task,
            "source": resolved_source(_source(splits)),
            "part": " and ".join(names) or (splits.summary["splits_from"] if drawn else "all"),
            "rows": len(splits.validation or ()),
            "fingerprint": figures.get("data_fingerprint"),
        }
        if learns:
            entry["learned_from"] = {
                "source": resolved_source(splits.summary["source"]),
                "rows": len(splits.train),
                "fingerprint": splits.train.fingerprint,
            }
        return entry | {"figures": figures}


def open_measured(
    model: Model,
    path: str,
    data: DataConfig,
    *,
    needs: Needs,
    progress: bool = True,
) -> Measured:
    """Open the source that `data` names, or the run's own, without the rows that were trained on.

    Args:
        model: the run's model.
        path: the run's folder, or a model's.
        data: the source and its options; OWN_DATA as the source for the run's own.
        needs: what the tasks read (`needs_of_tasks`); of the run's own data beside what training read.
        progress: show a progress bar while images are decoded.

    Raises:
        DataError: the source cannot be measured on, or all of it was trained on.
    """
    if not is_run(path):
        splits = open_other(model, path, data, needs=needs, parts="measured", progress=progress)
        unknown = f"{path} is a model without a run, so whether it was trained on rows of this is not known."
        return _without_trained(splits, None, joined=True, warnings=(unknown,))
    run = RunData(model, path)
    config = run.config_for(data)
    try:
        trained = run.open(progress=progress)
    except DataError as error:
        if config == run.config:
            raise
        moved = run.open_moved(data.source, progress=progress)
        if moved is not None and run.with_options(data, run.config.source) == run.config:
            return own_measured(moved)
        if moved is not None:  # read with other options
            splits = run.open(run.with_options(data, data.source), progress=progress, also=needs)
            return _without_trained(splits, moved.train, joined=False)
        train = None
        warnings: tuple[str, ...] = (f"{_UNREADABLE}: {error}",)
    else:
        train, changed = trained.train, run.has_changed(trained)
        warnings = (f"{CHANGED.format(source=run.config.source)}, {_UNCERTAIN}",) if changed else ()
        if config == run.config:
            if run.lacks(needs):
                trained = run.open(progress=progress, also=needs)
            return replace(own_measured(trained), warnings=warnings, changed=changed)
    if config is None:
        splits = open_other(model, path, data, needs=needs, parts="measured", progress=progress)
    else:
        splits = run.open(config, progress=progress, also=needs)
    return _without_trained(splits, train, joined=config is None, warnings=warnings)


_UNCERTAIN = "so whether rows of this were trained on is not certain."
_UNREADABLE = "the run's own data cannot be read, so whether rows of this were trained on is not known"


def own_measured(splits: Splits) -> Measured:
    """The run's own data, as training read it."""
    overlap = splits.summary["overlap"]
    return Measured(parts=splits, whole=splits, own=True, num_left_out=0, overlap=overlap)


def _without_trained(
    splits: Splits, trained: Dataset | None, *, joined: bool, warnings: tuple[str, ...] = ()
) -> Measured:
    """Leave out the rows that were trained on.

    Args:
        splits: as opened.
        trained: the run's training part; None if unknown.
        joined: measure on all rows of a source that names no parts.
        warnings: those there are already.
    """
    joined = joined and _is_drawn(splits)
    num_rows = len(splits.validation or ()) + (len(splits.train) if joined else 0)
    train = _unseen(splits.train, trained) if joined else splits.train
    validation = None if splits.validation is None else _unseen(splits.validation, trained)
    if validation is not None and len(validation) == 0:
        validation = None
    parts = replace(splits, train=train, validation=validation)
    whole = _whole(parts) if joined else parts
    num_left = len(whole.validation or ())
    source = _source(splits)
    if num_rows > 0 and num_left == 0:
        raise DataError(
            f"all {num_rows:,} rows of {source} that would be measured were trained on, so none of them can "
            "be; without --data, the run's own validation part is measured."
        )
    if num_left < num_rows:
        warnings += (
            f"{num_rows - num_left:,} of the {num_rows:,} rows were trained on (their images, or without "
            "images their texts, are in the training part) and are left out.",
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
    """A warning if validation rows of another source overlap its own training part."""
    if parts.validation is None or len(parts.train) == 0:
        return None
    one_source = parts.summary["validation_source"] is None
    return said_of_overlap(
        parts.validation,
        parts.train,
        groups_tell=one_source and parts.summary["splits_from"] != "generated",
        row="row that is learnt from",
        figures="these figures",
    )


def _unseen(part: Dataset, trained: Dataset | None) -> Dataset:
    return part if trained is None else part.subset(np.flatnonzero(~trained_on(part, trained)))


def _whole(splits: Splits) -> Splits:
    """The splits with all rows in the validation part."""
    if splits.validation is None:
        return replace(splits, validation=splits.train if len(splits.train) else None)
    return replace(splits, validation=splits.validation.joined(splits.train))


def _source(splits: Splits) -> str:
    """The source of the validation part."""
    source: str = splits.summary["validation_source"] or splits.summary["source"]
    return source


def resolved_source(source: str) -> str:
    """A source by its full path, which is the same from every folder; an address stays as it is."""
    if is_remote(source) or source.partition(":")[0] in ("scenes", "sounds"):
        return source
    return os.path.realpath(source.removeprefix("file://"))


def _rows(count: int) -> str:
    return f"{count:,} row{'' if count == 1 else 's'}"


def _is_drawn(splits: Splits) -> bool:
    return str(splits.summary["splits_from"]).startswith("drawn")
