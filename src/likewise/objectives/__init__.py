"""Objectives: pure functions of tensors, exact, with memory linear in the batch."""

from ._numerics import checked_inputs
from .contrastive import clip_loss, info_nce, nt_xent

__all__ = ["checked_inputs", "info_nce", "clip_loss", "nt_xent"]
