"""Devices and precision, by Lightning Fabric."""

from __future__ import annotations

import logging
import os
from inspect import signature
from typing import Any

import torch
from torch import nn

from likewise.errors import ConfigError
from likewise.training.options import TrainingConfig

__all__ = ["launch", "native_bfloat16", "precision_of"]


def native_bfloat16(accelerator: str) -> bool:
    """Whether the hardware multiplies bfloat16 itself, rather than by way of float32."""
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if accelerator in ("auto", "cpu"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def precision_of(config: TrainingConfig) -> str:
    """Fabric's name of the precision that the options ask for."""
    wanted = config.precision
    if wanted == "auto":
        wanted = "bfloat16" if native_bfloat16(config.accelerator) else "float32"
    return "bf16-mixed" if wanted == "bfloat16" else "32-true"


def launch(config: TrainingConfig) -> Any:
    """A started Fabric: this process's place among the replicas, its device and precision."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    # Fabric announces the precision on standard error at every start; the run's config.toml says it better.
    # (Importing it sets the level, so this comes after.)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)

    on_cpu = config.accelerator == "cpu" or (config.accelerator == "auto" and not torch.cuda.is_available())
    devices: int | str = 1 if on_cpu and config.devices == "auto" else config.devices
    # torchrun has started the processes already and says how many; else Fabric starts them.
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", devices)) if devices != "auto" else devices
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
    except (ValueError, RuntimeError) as error:
        asked = f"training.accelerator {config.accelerator}, training.devices {config.devices}"
        raise ConfigError(f"{asked}: {error}") from error
    fabric.launch()
    return fabric
