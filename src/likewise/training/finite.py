"""The check that losses and gradients are finite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from likewise.errors import NonFiniteLoss
from likewise.methods.base import LossOutput
from likewise.training.checkpoints import latest_checkpoint

__all__ = ["check_finite"]


def check_finite(unchecked: Sequence[tuple[int, LossOutput, Tensor]], checkpoints: Path) -> None:
    """Check losses and gradient norms; on a GPU this waits for the device, once.

    Args:
        unchecked: steps with their loss and gradient norm (0-d).
        checkpoints: their folder, for the message.

    Raises:
        NonFiniteLoss: one is NaN or infinite.
    """
    sums = [loss.total + norm for _, loss, norm in unchecked]
    if not sums or bool(torch.stack(sums).isfinite().all()):
        return
    for step, loss, norm in unchecked:
        total, length = float(loss.total), float(norm)
        if not torch.isfinite(loss.total):
            bad = [name for name, value in loss.parts.items() if not bool(torch.isfinite(value))]
            what = f"the loss ({', '.join(bad) or 'total'}) became {total:g} (gradient norm {length:g})"
        elif not torch.isfinite(norm):
            what = f"the gradient norm became {length:g} (loss {total:g})"
        else:
            continue
        last = latest_checkpoint(checkpoints)
        raise NonFiniteLoss(
            f"{what} at step {step}; nothing was overwritten, the last good checkpoint is "
            f"{last or 'none yet'}. Try a lower --training.learning-rate, or --training.precision float32, "
            "with another --out."
        )
