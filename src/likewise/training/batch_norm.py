"""BatchNorm over the rows of all replicas.

On a GPU PyTorch's own, which does it in one message. That one refuses to run on a CPU; there the replicas'
statistics are gathered with their gradient and put together (Chan, Golub and LeVeque 1983), so that what
many replicas compute is what one would.

Dimensions: B rows, C channels, R replicas.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from likewise.collectives import gather_rows

__all__ = ["ReplicaBatchNorm", "synchronize_batch_norm"]


def synchronize_batch_norm(module: nn.Module, device: torch.device) -> None:
    """Make every BatchNorm inside `module` see the rows of all replicas; names of weights stay the same."""
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        return
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            setattr(module, name, ReplicaBatchNorm.of(child))
        else:
            synchronize_batch_norm(child, device)


class ReplicaBatchNorm(nn.modules.batchnorm._BatchNorm):
    """A BatchNorm over all replicas' rows."""

    @classmethod
    def of(cls, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> ReplicaBatchNorm:
        """The same layer: its weights and statistics are shared with `norm`."""
        made = cls(norm.num_features, eps=norm.eps, momentum=norm.momentum, affine=norm.affine)
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        made.train(norm.training)
        return made

    def forward(self, values: Tensor) -> Tensor:
        """(B, C) or (B, C, H, W), normalised a channel."""
        if not self.training:
            return super().forward(values)
        mean, variance, count = _statistics(values)
        if self.running_mean is not None and self.running_var is not None:
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
    """Mean (C,), biased variance (C,) and count () over all replicas' rows and places."""
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
