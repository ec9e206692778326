"""Checkpoints that a kill at any instant cannot harm, and that are checked when read.

Each is written beside its final name, synced to the disk and renamed; only then is the oldest removed. The
file holds tensors and plain numbers, and is read without unpickling code.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from likewise.atomic_files import failure_to_read, sync_folder, written_whole
from likewise.errors import TrainingError
from likewise.messages import first_line

__all__ = [
    "DamagedCheckpoint",
    "latest_checkpoint",
    "load_checkpoint",
    "load_latest",
    "renamed_weights",
    "save_checkpoint",
    "set_aside",
    "write_checkpoint",
]

_NAME = re.compile(r"step-(\d+)\.ckpt")
_KEPT = 2


class DamagedCheckpoint(TrainingError):
    """A checkpoint whose content is damaged."""


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `step-NNNNNNNN.ckpt`, then remove all but the newest two.

    Args:
        folder: where the checkpoints lie; made if absent, in a folder that exists.
        step: steps done.
        state: nested dictionaries of tensors and numbers.

    Returns:
        The file's path.

    Raises:
        TrainingError: it cannot be written (a full disk); the earlier ones are as they were.
    """
    path = folder / f"step-{step:08d}.ckpt"
    write_checkpoint(path, state)
    sync_folder(folder)
    for old in _checkpoints(folder)[:-_KEPT]:
        old.unlink()
    for rest in folder.glob(".step-*"):  # left by a process killed while writing
        rest.unlink()
    return path


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write one file, whole or not at all; its folder is made, in one that exists.

    Raises:
        TrainingError: it cannot be written (a full disk).
    """
    folder = path.parent
    try:
        folder.mkdir(exist_ok=True)
        with written_whole(path) as beside, beside.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # what torch.save raises of a full disk is a RuntimeError
        raise TrainingError(
            f"{path} cannot be written ({first_line(error.__cause__ or error)}); the state after step "
            f"{state['step']} is not saved. Make room there and go on with --resume from "
            f"{latest_checkpoint(folder) or 'the start'}."
        ) from error


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint, or None."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def load_latest(folder: Path) -> tuple[Path, dict[str, Any], str | None] | None:
    """The newest checkpoint that is not damaged.

    Returns:
        Its path, its state, and a warning if newer ones are damaged; None if there are no checkpoints.

    Raises:
        TrainingError: all are damaged, or one may not be read.
    """
    found, damaged = _checkpoints(folder), []
    for path in reversed(found):
        try:
            state = load_checkpoint(path)
        except DamagedCheckpoint as error:
            damaged.append(str(error))
            continue
        lost = f"steps {_step_of(path) + 1} to {_step_of(found[-1])} are lost and are done again"
        return path, state, f"{' '.join(damaged)} Going on from {path}: {lost}." if damaged else None
    if damaged:
        raise TrainingError(
            f"{' '.join(damaged)} No checkpoint is left to resume from; train anew with another --out, or "
            f"remove {folder} to start this run again."
        )
    return None


def set_aside(folder: Path, step: int) -> None:
    """Rename the checkpoints after `step`, which are damaged, so that they do not count as the newest."""
    for path in _checkpoints(folder):
        if _step_of(path) > step:
            path.replace(path.with_name(f"{path.name}.damaged"))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        DamagedCheckpoint: its content is not what was written.
        TrainingError: it may not be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not compare the checksums
            part = archive.testzip()
        if part is not None:
            raise DamagedCheckpoint(f"{path} is damaged: the checksum of {part} is wrong.")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        kind = DamagedCheckpoint if error.errno in (None, errno.EIO, errno.EINVAL) else TrainingError
        raise kind(f"{failure_to_read(path, error)}.") from error
    except zipfile.BadZipFile as error:
        raise DamagedCheckpoint(f"{path} is damaged ({first_line(error)}).") from error
    except (
        *(RuntimeError, ValueError, EOFError, pickle.UnpicklingError, zlib.error, struct.error),
        *(LookupError, TypeError, AttributeError),  # what reading any other bytes may end in
    ) as error:
        # Not what torch says, which is advice to read the file unsafely.
        raise DamagedCheckpoint(f"{path} is damaged: it does not hold tensors and numbers alone.") from error
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise DamagedCheckpoint(f"{path} is damaged: it holds no state of a training.")
    return state


def renamed_weights(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights by their names of today: in earlier versions EMA encoders were called twin, and the scale of
    cosines belonged to the method."""
    former = {"logit_scale": "network.logit_scale", "logit_bias": "network.logit_bias"}
    return {
        f"ema_encoder.{name.removeprefix('twin.')}"
        if name.startswith("twin.")
        else former.get(name, name): value
        for name, value in weights.items()
    }


def _checkpoints(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=_step_of)


def _step_of(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found is not None, path
    return int(found[1])
