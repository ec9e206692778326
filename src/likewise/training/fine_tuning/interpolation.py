"""Interpolation between the starting and the trained weights (WiSE-FT, Wortsman 2021, arXiv 2109.01903)."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import nn

from likewise.errors import ConfigError, TrainingError
from likewise.model.model import Model
from likewise.networks.base import Network
from likewise.networks.registry import network_from_spec
from likewise.runs.folder import RunFolder
from likewise.training.checkpoints import DamagedCheckpoint, load_checkpoint, write_checkpoint

__all__ = ["check_start", "interpolated", "keep_start"]

M = TypeVar("M", bound=nn.Module)


def check_start(share: float, trained: Model | None, network: Network) -> None:
    """Reject an interpolation with random weights.

    Args:
        share: `training.interpolate`.
        trained: the model that training starts from.
        network: the one that is trained.
    """
    if share < 1 and (trained is None or trained.network.kind != network.kind):
        raise ConfigError(
            f"--training.interpolate {share:g} needs a start whose every weight is trained already: a whole "
            "model of the same kind as --pretrained or --training.start-from."
        )


def keep_start(run: RunFolder, network: Network) -> None:
    """Keep the starting weights in the run, for its end."""
    weights = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    run.start.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(run.start, {"step": 0, "network": weights})


def interpolated(run: RunFolder, network: Network, share: float) -> Network:
    """A network whose every weight is `share` of the trained and the rest of the starting one (equation 1).

    Args:
        run: has the starting weights.
        network: trained, without low-rank updates; returned as it is where the share is 1.
        share: alpha, in [0, 1].

    Raises:
        TrainingError: the starting weights are missing or damaged.
    """
    if share == 1:
        return network
    try:
        start: dict[str, Any] = load_checkpoint(run.start)["network"]
    except (DamagedCheckpoint, OSError) as error:
        raise TrainingError(f"{run.start} cannot be read; without it nothing can be interpolated.") from error
    made = network_from_spec(network.spec())
    state = network.state_dict()
    made.load_state_dict(
        {
            name: torch.lerp(start[name].to(value), value, share) if value.is_floating_point() else value
            for name, value in state.items()
        }
    )
    return made.to(next(network.parameters()).device)
