"""Devices and precision, by Lightning Fabric."""

from __future__ import annotations

import logging
import os
import sys
from inspect import signature
from typing import Any

import torch
from torch import nn

from likewise.errors import ConfigError
from likewise.hardware import native_bfloat16
from likewise.runs.training_options import TrainingConfig

__all__ = ["launch", "precision_of"]


def precision_of(config: TrainingConfig) -> str:
    """Fabric's name of the precision that the options ask for."""
    wanted = config.precision
    if wanted == "auto":
        kind = config.accelerator
        if kind == "auto":
            kind = "cuda" if torch.cuda.is_available() else "cpu"
        wanted = "bfloat16" if native_bfloat16(kind) else "float32"
    return "bf16-mixed" if wanted == "bfloat16" else "32-true"


def launch(config: TrainingConfig) -> Any:
    """A started Fabric: this process's place among the replicas, its device and precision."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    # Fabric announces the precision on standard error at every start; the run's config.toml says it better.
    # (Importing it sets the level, so this comes after.)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

    on_cpu = config.accelerator == "cpu" or (config.accelerator == "auto" and not torch.cuda.is_available())
    devices: int | str = config.devices
    if started := os.environ.get("LOCAL_WORLD_SIZE"):  # torchrun has started the processes already
        devices = int(started)
    elif devices == "auto" and (on_cpu or hasattr(sys, "ps1")):  # a notebook cannot start others
        devices = 1
    strategy: Any = "auto"
    several = config.num_nodes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1
    several = several or (torch.cuda.device_count() if devices == "auto" else int(devices)) > 1
    if several:
        # Queues and running statistics are buffers: broadcasting them at every forward would cost more
        # than the step.
        # Newer versions of PyTorch call the option forward_sync_buffers.
        known = signature(nn.parallel.DistributedDataParallel.__init__).parameters
        option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
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
        asked = f"training.accelerator {config.accelerator}, training.devices {config.devices}"
        raise ConfigError(f"{asked}: {error}") from error
    return fabric
