"""Which of several processes this one is, as torchrun and SLURM tell it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from likewise.errors import ConfigError

__all__ = ["Process", "this_process"]


@dataclass(frozen=True)
class Process:
    """One of several processes, perhaps on several machines.

    Attributes:
        number: from 0.
        count: of all of them.
        local: its number on its machine, which chooses its GPU.
    """

    number: int
    count: int
    local: int


def this_process(environment: Mapping[str, str] = os.environ) -> Process:
    """This process: of torchrun, of a SLURM array or job step, or the only one.

    A SLURM array whose tasks are jobs of several processes numbers all of them.

    Raises:
        ConfigError: the variables contradict one another.
    """
    if "RANK" in environment and "WORLD_SIZE" in environment:  # torchrun
        own = _numbers(environment, "RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif "SLURM_PROCID" in environment and "SLURM_NTASKS" in environment:
        own = _numbers(environment, "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
    else:
        own = Process(0, 1, 0)
    if "SLURM_ARRAY_TASK_ID" not in environment:
        return own
    task, first, last, step = (
        _number(environment, f"SLURM_ARRAY_TASK_{name}", default)
        for name, default in (("ID", None), ("MIN", "0"), ("MAX", None), ("STEP", "1"))
    )
    place, count = (task - first) // max(step, 1), (last - first) // max(step, 1) + 1
    return Process(place * own.count + own.number, count * own.count, own.local)


def _numbers(environment: Mapping[str, str], number: str, count: str, local: str) -> Process:
    found = Process(
        _number(environment, number), _number(environment, count), _number(environment, local, "0")
    )
    if not 0 <= found.number < found.count:
        raise ConfigError(f"{number} is {found.number}, and {count} is {found.count}; expected less.")
    return found


def _number(environment: Mapping[str, str], name: str, default: str | None = None) -> int:
    value = environment.get(name, default)
    try:
        return int(str(value))
    except ValueError:
        raise ConfigError(f"{name} is {value!r} in the environment; expected a number.") from None
