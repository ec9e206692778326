"""How much of a batch BatchNorm sees together: one view, or parts of one as if each were on its own device.

A BatchNorm leaves a trace of the whole batch in each of its rows. Where a row must find another that was
computed in the same batch among keys of earlier ones, that trace alone gives it away; parts apart, and
another order for the keys, take it from them ("shuffling BN": He 2019, arXiv 1911.05722, section 3.3).

Dimensions: B rows, V views, P parts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["has_batch_norm", "in_parts", "running_statistics", "view_by_view"]


def has_batch_norm(module: nn.Module) -> bool:
    """Whether anything inside normalises over a batch."""
    return len(_norms(module)) > 0


def view_by_view(network: nn.Module, values: Tensor, *, views: int = 2) -> Tensor:
    """What a network makes of the views of a batch, its BatchNorms seeing one view at a time.

    A network without any sees all of them in one pass.

    Args:
        network: of one input and one output, row by row but for its BatchNorms.
        values: (V B, ...), the first view of every row, then the second.
        views: V.

    Returns:
        (V B, ...).
    """
    if not has_batch_norm(network):
        whole: Tensor = network(values)
        return whole
    return torch.cat([network(view) for view in values.chunk(views)])


def in_parts(network: nn.Module, values: Tensor, *, rows: int) -> Tensor:
    """What a network makes of a batch whose parts do not see one another.

    Running statistics become the mean of those that each part alone would leave.

    Args:
        network: of one input and one output, row by row but for its BatchNorms.
        values: (B, ...).
        rows: of a part, at least: a batch that they do not divide is cut into fewer, as evenly as can be.

    Returns:
        (B, ...).
    """
    own = dict(network.named_buffers())
    made, left = [], []
    for part in values.tensor_split(max(1, len(values) // rows)):
        # Each part starts from copies of the statistics: the graph holds on to those it saw.
        state = {name: buffer.clone() for name, buffer in own.items()}
        made.append(functional_call(network, state, part))
        left.append(state)
    with torch.no_grad():
        for name, buffer in own.items():
            ends = torch.stack([state[name] for state in left])  # (P, ...)
            buffer.copy_(ends.mean(0) if ends.is_floating_point() else ends[-1])
    return torch.cat(made)


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Running means and variances of all BatchNorms inside, (C,) each: the tensors themselves."""
    buffers = [buffer for norm in _norms(module) for buffer in norm.buffers()]
    return [buffer for buffer in buffers if buffer.is_floating_point()]


def _norms(module: nn.Module) -> list[nn.Module]:
    return [one for one in module.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
