"""The method as Fabric wraps it: devices, precision, gradient averaging."""

from __future__ import annotations

from torch import nn

from likewise.batches.batch import Batch
from likewise.methods.base import Embeddings, Method, Step

__all__ = ["EmbedModule", "Input"]


class Input:
    """A batch and its step in a plain object: Fabric would take a dataclass or tuple apart at every step."""

    def __init__(self, batch: Batch, step: Step) -> None:
        self.batch = batch
        self.step = step


class EmbedModule(nn.Module):
    """The method with `embed` as its forward."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, given: Input) -> Embeddings:
        """Embed a batch."""
        return self.method.embed(given.batch, given.step)
