"""Heads: what stands between an encoder's features and an objective.

Dimensions: B batch, D features, H hidden, P projection.
"""

from __future__ import annotations

from torch import nn

__all__ = ["linear_projection", "mlp_projector"]


def linear_projection(dim: int, out_dim: int) -> nn.Linear:
    """CLIP's projection: one matrix without bias, started at deviation D^-1/2 (Radford 2021, 2103.00020)."""
    layer = nn.Linear(dim, out_dim, bias=False)
    nn.init.normal_(layer.weight, std=dim**-0.5)
    return layer


def mlp_projector(dim: int, hidden_dim: int, out_dim: int, *, num_layers: int = 2) -> nn.Sequential:
    """SimCLR's projector (Chen 2020, 2002.05709, section 4.2): linear, BatchNorm, ReLU, ..., linear,
    BatchNorm.

    Biases before a BatchNorm would be removed by it, so there are none; the last BatchNorm has no weights,
    as in SimCLR's released code.

    Args:
        dim: D, width of the features.
        hidden_dim: H.
        out_dim: P.
        num_layers: linear layers, at least 2.

    Returns:
        A module from (B, D) to (B, P).
    """
    layers: list[nn.Module] = []
    for _ in range(num_layers - 1):
        layers += [nn.Linear(dim, hidden_dim, bias=False), nn.BatchNorm1d(hidden_dim), nn.ReLU(inplace=True)]
        dim = hidden_dim
    layers += [nn.Linear(dim, out_dim, bias=False), nn.BatchNorm1d(out_dim, affine=False)]
    return nn.Sequential(*layers)
