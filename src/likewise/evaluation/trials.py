"""Fixed few-shot trials of a table: columns trial, role (support or query), label and image."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.cells import name_in
from likewise.data.files import is_remote
from likewise.data.record import ImageRef
from likewise.data.sources.path_resolver import PathResolver, find_image_root
from likewise.data.tables.open_table import is_table, open_table
from likewise.data.tables.table import Table
from likewise.errors import DataError, RecordError, SourceError
from likewise.metrics.trials import trial_accuracy
from likewise.model.model import Model

__all__ = ["Trials", "measure_trials", "read_trials"]

_COLUMNS = ("trial", "role", "label", "image")
_ROLES = {"support": False, "query": True}


@dataclass(frozen=True, kw_only=True)
class Trials:
    """N images of fixed trials.

    Attributes:
        images: N, encoded.
        labels: (N,) class of each within its trial.
        trials: (N,) trial of each.
        queries: (N,) bool, True for queries.
    """

    images: list[bytes]
    labels: NDArray[np.int64]
    trials: NDArray[np.int64]
    queries: NDArray[np.bool_]

    @property
    def fingerprint(self) -> str:
        """Of the images and their places in the trials."""
        digest = hashlib.blake2b(digest_size=16)
        for values in (self.labels, self.trials, self.queries):
            digest.update(values.tobytes())
        for image in self.images:
            digest.update(hashlib.blake2b(image, digest_size=16).digest())
        return digest.hexdigest()


def measure_trials(model: Model, path: str) -> dict[str, Any]:
    """Figures of a model on the fixed trials of a table, with what they were measured on.

    Raises:
        DataError: the table cannot be read as trials, or one of its images.
    """
    found = read_trials(path)
    try:
        figures = trial_accuracy(model.encode_images(found.images), found.labels, found.trials, found.queries)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    count = len(found.images)
    return figures | {
        "num_rows": count,
        "measured_on": f"the {figures['num_trials']:,} trials of {path}: {count:,} rows",
        "note": "whether images of the trials were trained on is not checked",
        "data_fingerprint": found.fingerprint,
    }


def read_trials(path: str) -> Trials:
    """Read a table of trials; image paths are relative to it.

    Raises:
        SourceError: it is no such table; the message says what is missing.
        DataError: an image cannot be read.
    """
    if not is_table(path) or not (is_remote(path) or os.path.isfile(path)):
        why = "there is no such file" if is_table(path) else "it is no table"
        raise SourceError(f"--trials {path}: {why}; expected CSV, TSV, JSON or Parquet")
    table = open_table(path, encoding="utf-8")
    names = {name.strip().lower(): name for name in table.names}
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise SourceError(
            f"--trials {path} has no column {' and '.join(missing)} among {', '.join(table.names)}; expected "
            "trial, role (support or query), label and image"
        )
    if table.bad_rows:
        raise SourceError(f"--trials {path}: {': '.join(table.bad_rows[0])}")
    trials, roles, labels = (
        [name_in(cell) for cell in table.column(names[column])] for column in ("trial", "role", "label")
    )
    for row, values in enumerate(zip(trials, roles, labels, strict=True)):
        if None in values or str(values[1]).lower() not in _ROLES:
            raise SourceError(
                f"{table.place(row)}: trial {values[0]!r}, role {values[1]!r}, label {values[2]!r}; expected "
                "a name, support or query, and a name"
            )
    return Trials(
        images=_images(table, names["image"]),
        labels=_numbers(labels),
        trials=_numbers(trials),
        queries=np.array([_ROLES[str(role).lower()] for role in roles], dtype=np.bool_),
    )


def _images(table: Table, column: str) -> list[bytes]:
    """The encoded images of a column of paths or bytes."""
    cells = table.column(column)
    paths = [cell for cell in cells if isinstance(cell, str)]
    anywhere = bool(paths) and all(map(os.path.isabs, paths))
    resolver = PathResolver(find_image_root(table.folder, paths), anywhere=anywhere)
    found: dict[Any, bytes] = {}  # an image may be in many trials
    images = []
    for row, cell in enumerate(cells):
        try:
            ref: ImageRef = resolver.resolve(cell) if isinstance(cell, str) else cell
            if ref is None:
                raise RecordError("no image: the cell is empty")
            if ref.key not in found:
                found[ref.key] = ref.read()
            images.append(found[ref.key])
        except RecordError as error:
            raise DataError(f"{table.place(row)}: {error}") from error
    return images


def _numbers(names: list[str | None]) -> NDArray[np.int64]:
    """(N,) a number for each name, in the order of their first rows."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([numbers[name] for name in names], dtype=np.int64)
