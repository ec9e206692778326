"""Positives, masks and targets of a comparison of queries with keys, tile by tile.

Legend: B queries, M keys, D feature width; a tile is a range of query rows by a range of key columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._numerics import Precision, check_choice, sum_dtype, unit_rows

__all__ = ["Rules", "Teacher", "Tile", "group_counts", "group_shares"]

LOG2_E = 1.4426950408889634
LN_2 = 0.6931471805599453


@dataclass(frozen=True)
class Tile:
    """Query rows [top, bottom) against key columns [left, right)."""

    top: int
    bottom: int
    left: int
    right: int

    @staticmethod
    def whole(queries: Tensor, keys: Tensor) -> Tile:
        """All queries against all keys."""
        return Tile(0, queries.shape[0], 0, keys.shape[0])

    def points(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """The entries (i, index[i]): (rows, 1) columns relative to the tile, and whether they lie in it.

        Columns outside are clamped: dropping those rows would wait for the device.
        """
        column = index[self.top : self.bottom, None] - self.left
        inside = (column >= 0) & (column < self.right - self.left)
        return column.clamp(0, self.right - self.left - 1), inside

    @property
    def mirrored(self) -> Tile:
        """The tile mirrored at the diagonal."""
        return Tile(self.left, self.right, self.top, self.bottom)


def _set_points(mask: Tensor, index: Tensor, tile: Tile, value: bool) -> None:
    """Set the entries (i, index[i]) that lie in the tile."""
    column, inside = tile.points(index)
    before = mask.gather(1, column)
    mask.scatter_(1, column, torch.where(inside, torch.full_like(before, value), before))


@dataclass(frozen=True)
class Teacher:
    """Features without gradient whose softmax over the keys is the target, recomputed in every tile.

    Attributes:
        queries: (B, D').
        keys: (M, D').
        scale: 0-d, 1 / the teacher's temperature.
        normalize: bring both to unit length.
        row_lse: (B,) log-sum-exp of each row, in nats; required for streamed tiles.
    """

    queries: Tensor
    keys: Tensor
    scale: Tensor
    normalize: bool = True
    row_lse: Tensor | None = None

    def probabilities(self, tile: Tile, mask: Tensor | None) -> Tensor:
        """(rows, columns) of the softmax over all keys; masked entries are 0."""
        queries = unit_rows(self.queries[tile.top : tile.bottom], self.normalize) * self.scale
        keys = unit_rows(self.keys[tile.left : tile.right], self.normalize)
        logits = queries @ keys.to(queries.dtype).t()
        if self.row_lse is None:
            assert len(keys) == len(self.keys), "tiles need row_lse"
            return (logits if mask is None else logits.masked_fill(mask, -torch.inf)).softmax(1)
        logits.sub_(self.row_lse[tile.top : tile.bottom, None]).exp_()
        return logits if mask is None else logits.masked_fill_(mask, 0.0)


def group_counts(group_queries: Tensor, group_keys: Tensor) -> Tensor:
    """(B,) number of keys in each query's group. By sorting: `torch.unique` would wait for the device."""
    ordered, wanted = group_keys.sort().values, group_queries.contiguous()
    return torch.searchsorted(ordered, wanted, right=True) - torch.searchsorted(ordered, wanted)


def group_shares(group_queries: Tensor, group_keys: Tensor, excluded: Tensor | None) -> Tensor:
    """(B,) 1 / number of keys in the query's group, without the excluded key; 0 for none."""
    counts = group_counts(group_queries, group_keys)
    if excluded is not None:
        counts = counts - (group_keys[excluded] == group_queries).long()
    return torch.where(counts > 0, 1.0 / counts.clamp_min(1).to(sum_dtype(group_queries)), 0.0)


@dataclass(frozen=True)
class Rules:
    """A comparison without its features and scale.

    Attributes:
        positives: (B,) int64, each query's key.
        excluded: (B,) int64, a key that each query never sees (itself).
        group_queries, group_keys: (B,) and (M,) int64. Other keys of the query's group are masked, or
            positives if `shares` is given.
        shares: (B,) weight of each same-group key as a target (1 / their number).
        targets: (B, M) soft targets.
        teacher: soft targets computed tile by tile.
        columns: also sum over the columns (the other direction of a symmetric loss).
        symmetric: keys are the queries; only tiles on and above the diagonal are computed.
        normalize: bring features to unit length.
        precision: of the products.
        tile: (rows, columns); chosen by shape when None.
    """

    positives: Tensor | None = None
    excluded: Tensor | None = None
    group_queries: Tensor | None = None
    group_keys: Tensor | None = None
    shares: Tensor | None = None
    targets: Tensor | None = None
    teacher: Teacher | None = None
    columns: bool = False
    symmetric: bool = False
    normalize: bool = True
    precision: Precision = None
    tile: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        check_choice("precision", self.precision, ("bfloat16", None))

    def same_group(self, tile: Tile) -> Tensor:
        """(rows, columns) bool: equal groups, without the excluded key."""
        assert self.group_queries is not None
        assert self.group_keys is not None
        same = self.group_queries[tile.top : tile.bottom, None] == self.group_keys[tile.left : tile.right]
        if self.excluded is not None:
            _set_points(same, self.excluded, tile, False)
        return same

    def mask(self, tile: Tile) -> Tensor | None:
        """(rows, columns) bool: entries that the sums leave out, or None for none."""
        mask = None
        if self.shares is None and self.group_queries is not None:
            mask = self.same_group(tile)
            if self.positives is not None:
                _set_points(mask, self.positives, tile, False)
        if self.excluded is not None:
            if mask is None:
                size = tile.bottom - tile.top, tile.right - tile.left
                mask = torch.zeros(size, dtype=torch.bool, device=self.excluded.device)
            _set_points(mask, self.excluded, tile, True)
        return mask

    def soft_targets(self, tile: Tile, mask: Tensor | None) -> Tensor | None:
        """(rows, columns) soft targets of the tile."""
        if self.targets is not None:
            return self.targets[tile.top : tile.bottom, tile.left : tile.right]
        return None if self.teacher is None else self.teacher.probabilities(tile, mask)
