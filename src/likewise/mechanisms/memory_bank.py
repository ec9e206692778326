"""A memory bank: one slowly changing vector for each training row.

Dimensions: N rows of the training part, B rows of a batch, D width of the vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MemoryBank"]


class MemoryBank(nn.Module):
    """N unit vectors, initially random directions (Wu 2018, arXiv 1805.01978, section 3.1).

    With several processes update with the results of `gather_rows`: all processes then hold the same bank.

    Args:
        size: N.
        dim: D.
    """

    vectors: Tensor  # (N, D)
    seen: Tensor  # (N,) bool
    groups: Tensor  # (N,) int64; rows not seen yet have distinct negative ones

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"a memory bank needs one row at least, got {size}")
        self.register_buffer("vectors", nn.functional.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("seen", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("groups", -1 - torch.arange(size))

    def __len__(self) -> int:
        return int(self.vectors.shape[0])

    @torch.no_grad()
    def update(self, index: Tensor, vectors: Tensor, groups: Tensor, momentum: float) -> None:
        """Set the rows' vectors to momentum * old + (1 - momentum) * new, normalised.

        A row seen for the first time takes the new vector. In the paper it keeps half of its random start,
        which identifies it for some epochs instead of what the image shows.

        Args:
            index: (B,) int64 rows; if a row occurs twice its first vector counts.
            vectors: (B, D), normalised here.
            groups: (B,) int64, not negative; rows of equal groups are never negatives.
            momentum: in [0, 1]; 0 keeps only the new vectors.
        """
        new = nn.functional.normalize(vectors.detach().to(self.vectors.dtype), dim=1)
        # Written twice, a row would get either vector on a GPU, and processes would differ.
        places = torch.arange(len(index), device=index.device)
        first = index.new_full((len(self),), len(index)).scatter_reduce_(0, index, places, "amin")  # (N,)
        new = new[first[index]]
        share = torch.where(self.seen[index], momentum, 0.0)[:, None].to(new.dtype)  # (B, 1)
        self.vectors[index] = nn.functional.normalize(share * self.vectors[index] + (1 - share) * new, dim=1)
        self.groups[index] = groups
        self.seen.index_fill_(0, index, True)  # an assignment would copy the value to a GPU, and wait
