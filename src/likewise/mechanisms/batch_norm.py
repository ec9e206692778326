"""Which rows BatchNorm normalises together: one view, parts of a batch, or the rows of all processes.

A BatchNorm leaves a trace of the whole batch in each of its rows. If a row must find another row of the same
batch among keys of earlier ones, that trace alone gives it away. Separate parts and shuffled keys remove it
("shuffling BN": He 2019, arXiv 1911.05722, section 3.3).

Dimensions: B rows, C channels, P parts, R processes, V views.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from likewise.collectives import gather_rows
from likewise.errors import ConfigError

__all__ = [
    "ReplicaBatchNorm",
    "frozen_batch_norm",
    "has_batch_norm",
    "in_parts",
    "running_statistics",
    "synchronize_batch_norm",
    "view_by_view",
]

_BatchNorm = nn.modules.batchnorm._BatchNorm


def _norms(module: nn.Module) -> list[nn.Module]:
    return [each for each in module.modules() if isinstance(each, _BatchNorm)]


def has_batch_norm(module: nn.Module) -> bool:
    """Whether any submodule normalises over a batch."""
    return len(_norms(module)) > 0


def running_statistics(module: nn.Module) -> list[Tensor]:
    """Running means and variances of all BatchNorms, (C,) each: the buffers themselves."""
    buffers = [buffer for norm in _norms(module) for buffer in norm.buffers()]
    return [buffer for buffer in buffers if buffer.is_floating_point()]


def view_by_view(network: nn.Module, values: Tensor, *, views: int = 2) -> Tensor:
    """Apply a network to the views of a batch; its BatchNorms see one view at a time.

    A network without BatchNorm sees all of them in one pass.

    Args:
        network: of one input and one output, row by row except for its BatchNorms.
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
    """Apply a network to the parts of a batch; its BatchNorms see one part at a time.

    Running statistics become the mean of what each part alone would leave.

    Args:
        network: of one input and one output, row by row except for its BatchNorms.
        values: (B, ...).
        rows: least rows of a part; if they do not divide B, there are fewer parts, as equal as possible.

    Returns:
        (B, ...).
    """
    buffers = dict(network.named_buffers())
    outputs, states = [], []
    for part in values.tensor_split(max(1, len(values) // rows)):
        # Each part starts from copies of the statistics: the graph keeps those it used.
        state = {name: buffer.clone() for name, buffer in buffers.items()}
        outputs.append(functional_call(network, state, part))
        states.append(state)
    with torch.no_grad():
        for name, buffer in buffers.items():
            ends = torch.stack([state[name] for state in states])  # (P, ...)
            buffer.copy_(ends.mean(0) if ends.is_floating_point() else ends[-1])
    return torch.cat(outputs)


@contextmanager
def unrecorded_batch_norm(module: nn.Module) -> Iterator[None]:
    """Inside, the running statistics are neither read nor written in training mode; a graph may outlive it.

    For a pass over rows that the statistics should not describe, such as those of another domain.
    """
    norms: list[Any] = [norm for norm in _norms(module) if norm.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


@contextmanager
def frozen_batch_norm(module: nn.Module) -> Iterator[None]:
    """Restore the running statistics afterwards."""
    kept = [(buffer, buffer.clone()) for norm in _norms(module) for buffer in norm.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def synchronize_batch_norm(module: nn.Module, device: torch.device) -> None:
    """Replace every BatchNorm inside `module` by one over the rows of all processes.

    Weights keep their names. On a GPU it is PyTorch's own, which needs one message but does not run on a CPU.

    Raises:
        ConfigError: a BatchNorm does more than normalize (timm's may hold the activation), which would be
            lost.
    """
    for norm in _norms(module):
        if type(norm).forward not in (_BatchNorm.forward, nn.SyncBatchNorm.forward, ReplicaBatchNorm.forward):
            raise ConfigError(
                f"--training.sync-batch-norm: {type(norm).__name__} does more than normalize, so it cannot "
                "be replaced by one over all processes; use --training.no-sync-batch-norm."
            )
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(module, name, ReplicaBatchNorm.of(child))
        else:
            synchronize_batch_norm(child, device)


class ReplicaBatchNorm(_BatchNorm):
    """A BatchNorm over the rows of all processes, which equals that of one process with all rows.

    Statistics are gathered with their gradient and combined (Chan, Golub and LeVeque 1983).
    """

    @classmethod
    def of(cls, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> ReplicaBatchNorm:
        """The same layer, sharing weights and statistics with `norm`."""
        made = cls(norm.num_features, eps=norm.eps, momentum=norm.momentum, affine=norm.affine)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        made.train(norm.training)
        return made

    def forward(self, values: Tensor) -> Tensor:
        """(B, C) or (B, C, H, W), normalised by channel."""
        if not self.training:
            return super().forward(values)
        mean, variance, count = _statistics(values)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            assert self.momentum is not None
            assert self.num_batches_tracked is not None
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                unbiased = variance * (count / (count - 1).clamp_min(1))
                self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
                self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        scale = torch.rsqrt(variance + self.eps)
        scale = scale if self.weight is None else scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        shape = (1, -1) + (1,) * (values.dim() - 2)
        return torch.addcmul(shift.view(shape), values, scale.view(shape)).to(values.dtype)

    def _check_input_dim(self, given: Any) -> None:
        if given.dim() not in (2, 4):
            raise ValueError(f"expected (B, C) or (B, C, H, W), got {tuple(given.shape)}")


def _statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (C,), biased variance (C,) and count () over the rows and positions of all processes."""
    over = [dim for dim in range(values.dim()) if dim != 1]
    values = values.float() if values.dtype != torch.float64 else values
    variance, mean = torch.var_mean(values, dim=over, correction=0)  # (C,) each
    count = torch.full_like(mean[:1], values.numel() / values.shape[1])
    everyone = gather_rows(torch.cat([mean, variance, count])[None])  # (R, 2C + 1)
    means, variances = everyone[:, :-1].chunk(2, dim=1)
    shares = everyone[:, -1:].detach()
    total = shares.sum()
    mean = (shares * means).sum(0) / total
    variance = (shares * (variances + (means - mean).square())).sum(0) / total
    return mean, variance, total
