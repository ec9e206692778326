"""Checks that all ranks train the same: with other settings or data they would hang, or train wrongly."""

from __future__ import annotations

import json
from typing import Any

from likewise.collectives import world_size
from likewise.data import Splits
from likewise.errors import ConfigError, DataError
from likewise.runs.settings import Settings, differences
from likewise.training.watch import exchange

__all__ = ["check_same_data", "check_same_settings"]


def check_same_settings(settings: Settings[Any], resume: bool, fabric: Any) -> None:
    """Compare the settings of all ranks with those of rank 0.

    Raises:
        ConfigError: they differ; on every rank.
    """
    if world_size() == 1:
        return
    first, first_resumes = fabric.broadcast((settings, resume))
    if first.method_name != settings.method_name:
        others = [f"the method is {settings.method_name}, not {first.method_name}"]
    else:
        others = differences(settings, first) or differences(first, settings)  # one counts None as no wish
    if first_resumes != resume:
        others.append(f"resume is {resume}, not {first_resumes}")
    for number, found in enumerate(exchange("; ".join(others))):
        if found:
            raise ConfigError(
                f"rank {number} has other settings than rank 0: {found}. Start all ranks by the same command."
            )


def check_same_data(splits: Splits) -> None:
    """Compare the data that all ranks have read.

    Raises:
        DataError: it differs; on every rank.
    """
    first, *others = map(json.loads, exchange(json.dumps(splits.summary["fingerprint"])))
    for number, found in enumerate(others, 1):
        parts = [part for part in first | found if first.get(part) != found.get(part)]
        if parts:
            raise DataError(
                f"rank {number} has read other data than rank 0: their {' and '.join(parts)} rows have other "
                "fingerprints. Copy the data again, and give every rank the same files."
            )
