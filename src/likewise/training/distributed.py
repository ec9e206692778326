"""Devices, precision and processes, by Lightning Fabric."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from inspect import signature
from typing import Any, TypeVar, cast

import torch
from torch import nn

from likewise.collectives import average_over_replicas
from likewise.errors import ConfigError, TrainingError
from likewise.hardware import native_bfloat16
from likewise.messages import first_line
from likewise.methods.base import LossOutput
from likewise.runs.training_options import TrainingConfig
from likewise.training.watch import exchange

__all__ = ["launch", "mean_loss", "precision_of", "run_on_rank_zero", "run_rank_zero_first"]

T = TypeVar("T")


def precision_of(config: TrainingConfig) -> str:
    """Fabric's name of the configured precision."""
    precision = config.precision
    if precision == "auto":
        device = "cpu" if _is_cpu(config) else "cuda" if config.accelerator == "auto" else config.accelerator
        precision = "bfloat16" if native_bfloat16(device) else "float32"
    return "bf16-mixed" if precision == "bfloat16" else "32-true"


def _is_cpu(config: TrainingConfig) -> bool:
    return config.accelerator == "cpu" or (config.accelerator == "auto" and not torch.cuda.is_available())


def launch(config: TrainingConfig) -> Any:
    """A launched Fabric: this process's rank, device and precision."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    # Fabric prints the precision at every start; config.toml has it. (Importing Fabric sets the level, so
    # this comes after.)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

    devices: int | str = config.devices
    if local_world_size := os.environ.get("LOCAL_WORLD_SIZE"):  # torchrun has started the processes
        devices = int(local_world_size)
    elif devices == "auto" and (_is_cpu(config) or hasattr(sys, "ps1")):  # a notebook cannot start processes
        devices = 1
    num_devices = torch.cuda.device_count() if devices == "auto" else int(devices)
    strategy: Any = "auto"
    if config.num_nodes > 1 or num_devices > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Queues and running statistics are buffers: broadcasting them at every forward would cost more than
        # the step. Newer versions of PyTorch call the option forward_sync_buffers.
        options = signature(nn.parallel.DistributedDataParallel.__init__).parameters
        option = "forward_sync_buffers" if "forward_sync_buffers" in options else "broadcast_buffers"
        strategy = DDPStrategy(**{option: False})
    try:
        fabric = Fabric(
            accelerator=config.accelerator,
            devices=devices,
            num_nodes=config.num_nodes,
            strategy=strategy,
            precision=precision_of(config),
        )
        fabric.launch()
    except (ValueError, RuntimeError, ImportError) as error:
        raise ConfigError(
            f"training.accelerator {config.accelerator}, training.devices {config.devices}: {error}"
        ) from error
    return fabric


def run_rank_zero_first(fabric: Any, work: Callable[[], T]) -> T:
    """Call `work` on rank 0, then on the other ranks, however long it takes.

    A failure is raised only after all ranks are done: if one left earlier, the others would wait for it and
    end in a trace about a lost connection.

    Args:
        fabric: knows this process's rank.
        work: what to call; the other ranks find what rank 0 has written.

    Returns:
        What `work` returned on this rank.

    Raises:
        Exception: what `work` raised on this rank.
        TrainingError: `work` failed on another rank, or that rank is gone.
    """
    failure: Exception | None = None

    def attempt() -> T | None:
        nonlocal failure
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - raised below
            failure = error
            return None

    result = attempt() if fabric.is_global_zero else None
    exchange("")
    result = result if fabric.is_global_zero else attempt()
    reasons = exchange("" if failure is None else first_line(failure))
    if failure is not None:
        raise failure
    for number, reason in enumerate(reasons):
        if reason:
            raise TrainingError(f"rank {number} failed: {reason}")
    return cast(T, result)


def run_on_rank_zero(fabric: Any, work: Callable[[], object]) -> None:
    """Call `work` on rank 0 while the others wait; a failure ends all, as in `run_rank_zero_first`."""
    run_rank_zero_first(fabric, work if fabric.is_global_zero else lambda: None)


def mean_loss(loss: LossOutput) -> LossOutput:
    """The mean over the processes, each of which has the loss of its own rows."""
    numbers = torch.stack([loss.total.detach().float(), *(part.float() for part in loss.parts.values())])
    average_over_replicas([numbers])
    total, *parts = numbers.unbind()
    return LossOutput(total, dict(zip(loss.parts, parts, strict=True)))
