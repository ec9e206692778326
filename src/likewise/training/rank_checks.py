"""Checks that all ranks train the same: with other settings or data they would hang, or train wrongly."""

from __future__ import annotations

import json
from typing import Any

import torch

from likewise.collectives import world_size
from likewise.data import Splits
from likewise.errors import ConfigError, DataError, TrainingError
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, differences
from likewise.training.watch import exchange

__all__ = ["check_same_data", "check_same_settings", "check_same_step"]


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


def check_same_step(fabric: Any, step: int, run: RunFolder) -> None:
    """Compare the steps that all ranks resume from.

    Raises:
        TrainingError: they differ; on every rank.
    """
    steps = fabric.all_gather(torch.tensor(step)).flatten().tolist()
    if len(set(steps)) > 1:
        raise TrainingError(
            f"the processes would resume from different steps ({', '.join(map(str, steps))}): every "
            f"machine must see the same checkpoints in {run.checkpoints}."
        )
