"""Random numbers as a pure function of (seed, step, purpose, row index, slot).

So the views of an image do not depend on the number of workers, processes or micro-batches, and a resumed run
draws what the interrupted one would have drawn, without saved generator state. The function is the finalizer
of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014), applied to a
chained hash of the five keys. int64 arithmetic wraps the same way on every device, so CPU and GPU draw the
same bits.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["StepRandom"]

Bits = TypeVar("Bits", int, Tensor)


def _signed(value: int) -> int:
    """The int64 with the same 64 bits as the unsigned `value`."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_1 = _signed(0xBF58476D1CE4E5B9)
_MIX_2 = _signed(0x94D049BB133111EB)


def _shift(bits: Bits, by: int) -> Bits:
    """Logical right shift (torch's `>>` on int64 copies the sign bit)."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _finalize(bits: Bits) -> Bits:
    """SplitMix64's finalizer: every input bit changes every output bit with probability one half.

    Python's integers do not wrap, but higher bits never affect the lower 64.
    """
    bits = bits + _GOLDEN
    bits = (bits ^ _shift(bits, 30)) * _MIX_1
    bits = (bits ^ _shift(bits, 27)) * _MIX_2
    return bits ^ _shift(bits, 31)


@dataclass(frozen=True)
class StepRandom:
    """The random numbers of one training step.

    Attributes:
        seed: the run's seed.
        step: the training step, or an epoch for numbers drawn once an epoch.
    """

    seed: int
    step: int

    def uniform(self, index: Tensor, count: int, *, purpose: str) -> Tensor:
        """Uniform numbers in [0, 1) for each row.

        Args:
            index: (B,) int64, the rows' keys; equal keys get equal numbers.
            count: numbers a row.
            purpose: such as "view 0"; different purposes are independent.

        Returns:
            (B, count) float32 on the device of `index`.
        """
        bits = self.bits(index, count, purpose=purpose)
        # The top 24 bits of the hash, as many as float32's mantissa has: 1.0 is never reached by rounding.
        return _shift(bits, 40).to(torch.float32) * 2.0**-24

    def bits(self, index: Tensor, count: int, *, purpose: str) -> Tensor:
        """(B, count) int64 with 64 random bits each; see `uniform`."""
        state = 0  # a Python int: a tensor of these keys would wait for a GPU
        for key in (self.seed, self.step, zlib.crc32(purpose.encode())):
            state = _finalize(state ^ key)
        rows = _finalize(index.to(torch.int64) ^ _signed(state))  # (B,)
        slots = torch.arange(count, dtype=torch.int64, device=index.device)  # (count,)
        return _finalize(rows[:, None] + slots[None, :] * _GOLDEN)  # (B, count)
