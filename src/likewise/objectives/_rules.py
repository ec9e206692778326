"""What a comparison of queries with keys takes in and leaves out, tile by tile.

Legend: B queries, M keys, D feature width; a tile is a range of query rows by a range of key columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._numerics import Precision, check_choice, exact, unit_rows

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

    def points(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Where the entries (i, index[i]) stand, for each row of the tile: (rows, 1) columns, counted from
        its corner, and whether they lie in it at all. Some column is named for those that don't: to ask the
        device which do would be to wait for it."""
        column = index[self.top : self.bottom, None] - self.left
        inside = (column >= 0) & (column < self.right - self.left)
        return column.clamp(0, self.right - self.left - 1), inside

    @property
    def turned(self) -> Tile:
        """The tile on the other side of the diagonal."""
        return Tile(self.left, self.right, self.top, self.bottom)


def _set_points(mask: Tensor, index: Tensor, tile: Tile, value: bool) -> None:
    """Set the entries (i, index[i]) that lie in the tile."""
    column, inside = tile.points(index)
    before = mask.gather(1, column)
    mask.scatter_(1, column, torch.where(inside, torch.full_like(before, value), before))


@dataclass(frozen=True)
class Teacher:
    """A frozen pair of features whose softmax over the keys is the target, made again in every tile.

    Attributes:
        queries: (B, D') of unit length or not, with no gradient.
        keys: (M, D').
        scale: 0-d, 1 / the teacher's temperature.
        normalize: bring both to unit length.
        row_lse: (B,) log-sum-exp of each row, in nats; needed where tiles are less than the whole.
    """

    queries: Tensor
    keys: Tensor
    scale: Tensor
    normalize: bool = True
    row_lse: Tensor | None = None

    def probabilities(self, tile: Tile, mask: Tensor | None) -> Tensor:
        """(rows, columns) of softmax over all keys; masked entries get none."""
        queries = unit_rows(self.queries[tile.top : tile.bottom], self.normalize) * self.scale
        keys = unit_rows(self.keys[tile.left : tile.right], self.normalize)
        logits = queries @ keys.to(queries.dtype).t()
        row_lse = self.row_lse
        if row_lse is None:
            if len(keys) != len(self.keys):
                raise ValueError("the teacher's rows were not summed yet")
            seen = logits if mask is None else logits.masked_fill(mask, -torch.inf)
            return seen.softmax(1)
        logits.sub_(row_lse[tile.top : tile.bottom, None]).exp_()
        return logits if mask is None else logits.masked_fill_(mask, 0.0)


def group_counts(group_queries: Tensor, group_keys: Tensor) -> Tensor:
    """(B,) how many keys are of each query's group. By sorting: `torch.unique` would wait for the device."""
    ordered, asked = group_keys.sort().values, group_queries.contiguous()
    return torch.searchsorted(ordered, asked, right=True) - torch.searchsorted(ordered, asked)


def group_shares(group_queries: Tensor, group_keys: Tensor, excluded: Tensor | None) -> Tensor:
    """(B,) 1 / how many keys share the query's group (itself left out where excluded); 0 for none.

    Linear in B + M: groups may be any integers, so a table as long as the largest would not do.
    """
    counts = group_counts(group_queries, group_keys)
    if excluded is not None:
        counts = counts - (group_keys[excluded] == group_queries).long()
    return torch.where(counts > 0, 1.0 / counts.clamp_min(1).to(exact(group_queries)), 0.0)


@dataclass(frozen=True)
class Rules:
    """Everything about a comparison but its features and scale.

    Attributes:
        positives: (B,) int64, each query's key; with `group_*` its group mates are then no negatives.
        excluded: (B,) int64, a key that each query never sees (itself).
        group_queries, group_keys: (B,) and (M,) int64.
        shares: (B,) weight of each same-group key as a target (1 / their number). When given, group mates are
            positives that share the target; when None they are left out of the sum.
        targets: (B, M) soft targets held by the caller.
        teacher: soft targets made tile by tile.
        columns: also sum down the columns (the other direction of a symmetric loss).
        symmetric: keys are the queries; only tiles on and above the diagonal are computed.
        normalize: bring features to unit length.
        precision: of the products.
        tile: (rows, columns) to use instead of the ones found from the shapes.
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
        """Refuse a precision that there is not: products would be taken in float32 and say nothing."""
        check_choice("precision", self.precision, ("bfloat16", None))

    def same_group(self, tile: Tile) -> Tensor | None:
        """(rows, columns) bool: equal groups, the excluded key not counted."""
        if self.group_queries is None or self.group_keys is None:
            return None
        same = self.group_queries[tile.top : tile.bottom, None] == self.group_keys[tile.left : tile.right]
        if self.excluded is not None:
            _set_points(same, self.excluded, tile, False)
        return same

    def mask(self, tile: Tile) -> Tensor | None:
        """(rows, columns) bool: entries that take no part in the sums, or None when all do."""
        mask = self.same_group(tile) if self.shares is None else None
        if mask is not None and self.positives is not None:
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
