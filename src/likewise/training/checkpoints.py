"""Checkpoints that a kill at any instant cannot harm.

Each is written beside its final name, synced to the disk and renamed; only then is the oldest removed. The
file holds tensors and plain numbers, and is read without unpickling code.
"""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from likewise.atomic_files import sync_folder
from likewise.errors import TrainingError
from likewise.messages import first_line

__all__ = ["latest_checkpoint", "load_checkpoint", "save_checkpoint"]

_NAME = re.compile(r"step-(\d+)\.ckpt")
_KEPT = 2


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `step-NNNNNNNN.ckpt`, then remove all but the newest two.

    Args:
        folder: where the checkpoints lie; made if absent.
        step: steps done.
        state: nested dictionaries of tensors and numbers.

    Returns:
        The file's path.

    Raises:
        TrainingError: it cannot be written (a full disk); the earlier ones are as they were.
    """
    path = folder / f"step-{step:08d}.ckpt"
    beside = path.with_suffix(f".writing-{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # what torch.save raises of a full disk is a RuntimeError
        beside.unlink(missing_ok=True)
        raise TrainingError(
            f"{path} cannot be written ({first_line(error)}); make room there and go on with --resume from "
            f"{latest_checkpoint(folder) or 'the start'}."
        ) from error
    sync_folder(folder)
    for old in _checkpoints(folder)[:-_KEPT]:
        old.unlink()
    for rest in folder.glob("*.writing-*"):  # left by a process killed while writing
        rest.unlink()
    return path


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (
        *(OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError),
        *(LookupError, TypeError, AttributeError),  # what unpickling any other bytes may end in
    ) as error:
        others = [other for other in _checkpoints(path.parent) if other != path]
        raise TrainingError(
            f"{path} cannot be read ({type(error).__name__}: {first_line(error)}); remove it to resume from "
            f"{others[-1].name if others else 'the start'}."
        ) from error
    return state


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))
