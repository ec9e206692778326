"""A queue of an EMA encoder's newest keys.

Dimensions: K queue, B pushed rows, D width of the keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LONGEST_QUEUE", "KeyQueue", "queue_size_for"]

LONGEST_QUEUE = 65_536
_NO_GROUP = -1


def queue_size_for(num_rows: int) -> int:
    """The default size: the papers' 65,536, or a quarter of the training rows where that is less."""
    return max(1, min(LONGEST_QUEUE, num_rows // 4))


class KeyQueue(nn.Module):
    """K keys of unit length and their groups, first in, first out.

    It starts full of random directions without a group (He 2019, arXiv 1911.05722, algorithm 1), so the
    number of negatives is constant. With several processes push the result of `gather_rows`: all processes
    then hold the same queue.

    Args:
        size: K; it need not be a multiple of the batch. 0 for a queue that stays empty.
        dim: D.
    """

    keys: Tensor  # (K, D)
    groups: Tensor  # (K,) int64
    place: Tensor  # () int64, where the next key goes

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 0:
            raise ValueError(f"a queue cannot have room for {size} keys")
        self.register_buffer("keys", nn.functional.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("groups", torch.full((size,), _NO_GROUP, dtype=torch.int64))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))

    def __len__(self) -> int:
        return int(self.keys.shape[0])

    @torch.no_grad()
    def push(self, keys: Tensor, groups: Tensor) -> None:
        """Replace the oldest keys; of more than K the last K stay.

        Args:
            keys: (B, D), normalised here.
            groups: (B,) int64, not negative; rows of equal groups are never negatives.
        """
        if len(self) == 0:
            return
        self._write(self.keys, self.groups, keys, groups)
        self.place.copy_((self.place + min(len(keys), len(self))) % len(self))

    @torch.no_grad()
    def pushed(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The content after a push of keys without a group; the queue itself does not change.

        Args:
            keys: (B, D), normalised here.

        Returns:
            (K, D) keys and (K,) groups.
        """
        held, groups = self.keys.clone(), self.groups.clone()
        if len(self) > 0:
            self._write(held, groups, keys, groups.new_full((len(keys),), _NO_GROUP))
        return held, groups

    def _write(self, held: Tensor, held_groups: Tensor, keys: Tensor, groups: Tensor) -> None:
        keys, groups = keys[-len(self) :], groups[-len(self) :]
        # Places are computed on the device: reading `place` would make the processor wait for it.
        places = (self.place + torch.arange(len(keys), device=keys.device)) % len(self)
        held[places] = nn.functional.normalize(keys.detach().to(held.dtype), dim=1)
        held_groups[places] = groups
