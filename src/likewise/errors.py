"""The errors that Likewise raises on purpose.

    LikewiseError
    ├── ConfigError          an option, a key or a combination that cannot work      exit code 2
    ├── DataError            the user's data                                         exit code 3
    │   ├── SourceError      the source cannot be opened or understood
    │   ├── RecordError      one record cannot be read (set aside, not fatal)
    │   │   └── OutOfReach   at present: gone, not readable by us, or too large for the memory
    │   └── TooManyBadRecords
    ├── ModelError           a model folder that cannot be read or lacks a part      exit code 4
    │   └── AbilityError     this model cannot do that (it has no text encoder, ...)
    ├── TrainingError        training cannot go on                                   exit code 5
    │   ├── NonFiniteLoss    a loss became NaN or infinite
    │   └── Interrupted      stopped by SIGTERM or SIGINT; the state was saved     exit code 75
    └── WriteError           a file cannot be written (a full disk)                  exit code 1

Wrong arguments of pure functions (objectives, metrics) raise `ValueError`: their callers are programmers.
A message says what was expected, what came and where, and what to try.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = [
    "LikewiseError",
    "ConfigError",
    "DataError",
    "SourceError",
    "RecordError",
    "OutOfReach",
    "TooManyBadRecords",
    "ModelError",
    "AbilityError",
    "TrainingError",
    "NonFiniteLoss",
    "Interrupted",
    "WriteError",
]


class LikewiseError(Exception):
    """The root of the tree; the command line prints its message as one line."""

    exit_code = 1


class ConfigError(LikewiseError):
    """An option, a configuration key or a combination of them that cannot work."""

    exit_code = 2


class DataError(LikewiseError):
    """Something about the user's data."""

    exit_code = 3


class SourceError(DataError):
    """The source cannot be opened or understood."""


class RecordError(DataError):
    """One record cannot be read. It is set aside with the reason; the run goes on."""


class OutOfReach(RecordError):
    """One record cannot be read at present; it may be readable later."""


class TooManyBadRecords(DataError):
    """More records are bad than `data.max_bad_share` allows.

    Args:
        message: gives their number and the first ones.
        bad_records: all of them (`likewise.data.BadRecord`).
    """

    def __init__(self, message: str, bad_records: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.bad_records = tuple(bad_records)


class ModelError(LikewiseError):
    """A model folder that cannot be read, or that does not match its configuration."""

    exit_code = 4


class AbilityError(ModelError):
    """The model lacks an ability that is needed."""


class TrainingError(LikewiseError):
    """Training cannot go on."""

    exit_code = 5


class NonFiniteLoss(TrainingError):
    """A loss became NaN or infinite; nothing was overwritten."""


class Interrupted(TrainingError):
    """Training was stopped and saved its state. 75 is EX_TEMPFAIL: try again, with --resume."""

    exit_code = 75


class WriteError(LikewiseError, OSError):
    """A file cannot be written (a full disk, a folder that is gone); what it held before is unchanged."""
