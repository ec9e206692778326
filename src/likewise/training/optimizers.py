"""Optimizers, weight decay, and the learning rate of each step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from likewise.runs.training_options import TrainingConfig

__all__ = ["LARS", "build_optimizer", "learning_rate", "parameter_groups"]


def parameter_groups(
    module: nn.Module, weight_decay: float, factors: Mapping[int, float] | None = None
) -> list[dict[str, Any]]:
    """Parameter groups by weight decay (and LARS adaptation), by constant learning rate, and by its factor.

    Biases, norms and learned scalars do not decay: papers from SimCLR to CLIP leave out every tensor with
    fewer than two dimensions, and a temperature that decays would drift to 1.

    Args:
        module: its `constant_rate`, if any, names submodules whose learning rate stays constant.
        weight_decay: of the weights that decay.
        factors: of the learning rate, by the id of a weight; 1 for all others.
    """
    of_weights = factors or {}
    names: tuple[str, ...] = getattr(module, "constant_rate", ())
    constant = {id(weight) for name in names for weight in module.get_submodule(name).parameters()}
    trainable = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {
            "params": [
                w
                for w in trainable
                if (w.ndim >= 2) == decays
                and (id(w) in constant) == steady
                and of_weights.get(id(w), 1.0) == factor
            ],
            "weight_decay": weight_decay if decays else 0.0,
            "adapt": decays,
            "constant_rate": steady,
            "factor": factor,
        }
        for factor in sorted({1.0, *of_weights.values()}, reverse=True)
        for steady in (False, True)
        for decays in (True, False)
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(
    module: nn.Module, config: TrainingConfig, factors: Mapping[int, float] | None = None
) -> torch.optim.Optimizer:
    """The configured optimizer for the weights of `module`; factors as of `parameter_groups`."""
    groups = parameter_groups(module, config.weight_decay, factors)
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
    return LARS(groups, lr=config.learning_rate)


def learning_rate(step: int, total_steps: int, config: TrainingConfig) -> float:
    """Linear warm-up, then half a cosine (Loshchilov 2016, arXiv 1608.03983) down to `final_share` of the
    peak.

    Args:
        step: steps done; 0 in the first step.
        total_steps: of the whole run.
        config: the options.
    """
    warmup = round(config.warmup_share * total_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    share = (step - warmup) / max(1, total_steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
    return config.learning_rate * (config.final_share + (1 - config.final_share) * cosine)


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling (You 2017, arXiv 1708.03888, algorithm 1), as SimCLR uses it.

    Each weight's step is scaled by trust * |w| / (|g + decay w|); groups that do not `adapt` (biases, norms)
    take plain momentum steps.
    """

    def __init__(
        self, params: Any, *, lr: float, momentum: float = 0.9, weight_decay: float = 0.0, trust: float = 1e-3
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "trust": trust, "adapt": True},
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Update the weights by their gradients."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                update = weight.grad
                if group["weight_decay"] > 0:
                    update = update.add(weight, alpha=group["weight_decay"])
                if group["adapt"]:
                    update = update * _trust_ratio(weight, update, group["trust"])
                state = self.state[weight]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(weight)
                # The rate is part of the buffer: when it falls, accumulated updates keep their length.
                state["momentum"].mul_(group["momentum"]).add_(update, alpha=group["lr"])
                weight.sub_(state["momentum"])
        return loss


def _trust_ratio(weight: Tensor, update: Tensor, trust: float) -> Tensor:
    weight_norm, update_norm = weight.norm(), update.norm()
    usable = (weight_norm > 0) & (update_norm > 0)
    return torch.where(
        usable, trust * weight_norm / update_norm.clamp_min(1e-12), torch.ones_like(weight_norm)
    )
