"""The streaming comparison: an autograd function over tiles. See `_tiles.compare` for its results.

Logits are in base 2 inside (exp2 is the cheaper kernel): the unit queries carry scale * log2(e), so scaling
costs no pass over a tile. Nothing of the size of the features is allocated but the gradients: a tile's rows
are brought to unit length in a small buffer, and the derivative of that is applied in place at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ._numerics import compute_dtype, forbid_double_backward, inverse_lengths, sum_dtype
from ._rules import LN_2, LOG2_E, Rules, Tile

__all__ = ["Streamed", "normalize_backward"]

# With |logit| below this, exp(logit) needs no shift: sums over 1e9 keys and their inverses stay normal
# floats, and one exponential serves rows and columns. Above it (temperature below 1/40) running maxima are
# kept.
UNSHIFTED = 40.0
# CPU: a tile of logits and its rows fit the last cache, large products nearly reach their full rate, and the
# matrix library's own buffers (tens of MB for larger tiles) stay small.
TILE_ROWS, TILE_COLUMNS = 1024, 512
# Accelerator: few launches matter more.
LARGE_TILE = (4096, 4096)


def _tile_size(queries: Tensor, keys: Tensor) -> tuple[int, int]:
    """(rows, columns); few rows against a long queue get wider tiles."""
    rows, columns = (TILE_ROWS, TILE_COLUMNS) if queries.device.type == "cpu" else LARGE_TILE
    height = min(rows, max(queries.shape[0], 1))
    widest = min(4 * columns, rows * columns // height)
    return height, min(widest, max(keys.shape[0], 1))


class _Walk:
    """The tiles of a comparison, with the buffers and base-2 logits of the current one."""

    def __init__(self, queries: Tensor, keys: Tensor, scale: float, rules: Rules) -> None:
        self.queries, self.keys, self.rules = queries, keys, rules
        self.dtype = compute_dtype(queries, keys)
        self.product = torch.bfloat16 if rules.precision == "bfloat16" else self.dtype
        self.scale = scale
        self.height, self.width = rules.tile or _tile_size(queries, keys)
        if rules.symmetric:
            self.width = self.height  # row range i is paired with column range i
        self.inverse_queries = inverse_lengths(queries) if rules.normalize else None
        self.inverse_keys = self.inverse_queries
        if not rules.symmetric:
            self.inverse_keys = inverse_lengths(keys) if rules.normalize else None
        self.unshifted = self._bound() <= UNSHIFTED
        width = queries.shape[1]
        new = queries.new_empty
        self._queries = new((self.height, width), dtype=self.product)
        self._keys = new((self.width, width), dtype=self.product)
        self._logits = new(self.height * self.width, dtype=self.dtype)
        self.reduced = self.product != self.dtype  # products in another dtype than the sums
        self._product = new(self.height * self.width, dtype=self.product) if self.reduced else self._logits

    def _bound(self) -> float:
        """The largest possible |logit|, by Cauchy-Schwarz."""
        if self.rules.normalize:
            return abs(self.scale)
        if not (self.queries.shape[0] and self.keys.shape[0]):
            return 0.0
        longest = [
            torch.linalg.vector_norm(x, dim=1, dtype=self.dtype).max() for x in (self.queries, self.keys)
        ]
        bound = abs(self.scale) * float(longest[0] * longest[1])
        return bound if math.isfinite(bound) else math.inf

    def __iter__(self) -> Iterator[tuple[Tile, Tensor, Tensor, Tensor]]:
        """Yield (tile, logits (r, c), queries (r, D) times scale * log2(e), keys (c, D))."""
        for top in range(0, self.queries.shape[0], self.height):
            bottom = min(top + self.height, self.queries.shape[0])
            queries = self._unit(
                self._queries, self.queries, self.inverse_queries, top, bottom, self.scale * LOG2_E
            )
            for left in range(top if self.rules.symmetric else 0, self.keys.shape[0], self.width):
                right = min(left + self.width, self.keys.shape[0])
                keys = self._unit(self._keys, self.keys, self.inverse_keys, left, right, 1.0)
                yield Tile(top, bottom, left, right), self._multiply(queries, keys), queries, keys

    def _unit(
        self, out: Tensor, features: Tensor, inverse: Tensor | None, start: int, stop: int, factor: float
    ) -> Tensor:
        rows = out[: stop - start]
        if inverse is None:
            # A half-precision tensor times a number rounds, and may overflow, before it reaches `out`.
            return torch.mul(features[start:stop].to(self.dtype), factor, out=rows)
        return torch.mul(features[start:stop], (inverse[start:stop] * factor)[:, None], out=rows)

    def _multiply(self, queries: Tensor, keys: Tensor) -> Tensor:
        count = queries.shape[0] * keys.shape[0]
        logits = self._logits[:count].view(queries.shape[0], keys.shape[0])
        product = self._product[:count].view(queries.shape[0], keys.shape[0])
        torch.mm(queries, keys.t(), out=product)
        return logits.copy_(product) if self.reduced else logits

    def low(self, tile_values: Tensor) -> Tensor:
        """A tile in the dtype of the products, for the products of the backward pass."""
        return self._product[: tile_values.numel()].view_as(tile_values).copy_(tile_values)


class _Sums:
    """Running log-sum-exp, in base 2, of n rows (or columns)."""

    def __init__(self, count: int, like: Tensor, shifted: bool) -> None:
        # float64: a few values a row, and sums over many tiles lose no digits.
        self.sum = torch.zeros(count, dtype=sum_dtype(like), device=like.device)
        self.peak = self.sum - math.inf
        self.shifted = shifted

    def add(self, start: int, stop: int, tile: Tensor, dim: int) -> None:
        """Add a tile: of exponentials if unshifted, of logits otherwise."""
        if not self.shifted:
            self.sum[start:stop] += tile.sum(dim)
            return
        old = self.peak[start:stop]
        new = torch.maximum(old, tile.amax(dim).to(old.dtype))
        shift = torch.where(new == -math.inf, 0.0, new).to(tile.dtype)
        self.sum[start:stop] *= torch.exp2(torch.where(old == -math.inf, 0.0, old - shift))
        self.sum[start:stop] += torch.exp2(tile - shift.unsqueeze(dim)).sum(dim)
        self.peak[start:stop] = torch.where(new == -math.inf, new, shift.to(new.dtype))

    def lse(self) -> Tensor:
        """The log-sum-exp in nats; minus infinity for fully masked rows."""
        lse = self.sum.log2()
        return (torch.where(self.sum > 0, lse + self.peak, -math.inf) if self.shifted else lse) * LN_2


def _forward(walk: _Walk) -> tuple[_Sums, _Sums, Tensor, Tensor]:
    """Running sums of rows and columns; hard and soft mean logits in nats."""
    rules, (count_rows, count_columns) = walk.rules, (walk.queries.shape[0], walk.keys.shape[0])
    rows = _Sums(count_rows, walk.queries, not walk.unshifted)
    columns = rows if rules.symmetric else _Sums(count_columns, walk.queries, not walk.unshifted)
    hard = torch.zeros_like(rows.sum)
    soft = torch.zeros_like(rows.sum)
    for tile, logits, _, _ in walk:
        mask = rules.mask(tile)
        mirrored = rules.symmetric and tile.left != tile.top
        _read_hard(hard, tile, logits, rules, mirrored)
        targets = rules.soft_targets(tile, mask)
        if targets is not None:
            soft[tile.top : tile.bottom] += (targets * logits).sum(1)
        if mask is not None:
            logits.masked_fill_(mask, -math.inf)
        if walk.unshifted:
            logits.exp2_()
        rows.add(tile.top, tile.bottom, logits, 1)
        if rules.columns or mirrored:
            columns.add(tile.left, tile.right, logits, 0)
    return rows, columns, hard * LN_2, soft * LN_2


def _read_hard(hard: Tensor, tile: Tile, logits: Tensor, rules: Rules, mirrored: bool) -> None:
    if rules.shares is not None:
        kept = torch.where(rules.same_group(tile), logits, 0.0)
        hard[tile.top : tile.bottom] += kept.sum(1) * rules.shares[tile.top : tile.bottom]
        if mirrored:
            hard[tile.left : tile.right] += kept.sum(0) * rules.shares[tile.left : tile.right]
    elif rules.positives is not None:
        _read_points(hard, tile, logits, rules.positives)
        if mirrored:
            _read_points(hard, tile.mirrored, logits.t(), rules.positives)


def _read_points(hard: Tensor, tile: Tile, logits: Tensor, positives: Tensor) -> None:
    column, inside = tile.points(positives)
    own = hard[tile.top : tile.bottom, None]
    own.copy_(torch.where(inside, logits.gather(1, column).to(hard.dtype), own))


class _Weights:
    """Turns a tile of base-2 logits into the gradient by those logits (in nats)."""

    def __init__(self, walk: _Walk, sums: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> None:
        self.walk, self.rules = walk, walk.rules
        row_sum, column_sum, row_peak, column_peak = sums
        g_rows, g_columns, self.g_hard, self.g_soft = gradients
        self.rows, self.row_peaks = self._prepare(g_rows, row_sum, row_peak)
        self.columns, self.column_peaks = self._prepare(g_columns, column_sum, column_peak)
        if self.rules.symmetric:
            self.columns, self.column_peaks = self.rows, self.row_peaks

    def _prepare(self, gradient: Tensor, total: Tensor, peak: Tensor) -> tuple[Tensor, Tensor]:
        # exp(logit - peak) / sum rather than exp(logit - lse): the first difference is exact, so that a clear
        # winner has probability 1 to rounding at any temperature. A fully masked row has sum 0 and peak minus
        # infinity; with plus infinity its probabilities are 0 rather than NaN.
        weight = torch.where(total > 0, gradient / total, 0.0)
        return weight.to(self.walk.dtype), torch.where(peak == -math.inf, math.inf, peak).to(self.walk.dtype)

    def __call__(self, tile: Tile, logits: Tensor) -> Tensor:
        """(r, c) gradient; overwrites the logits."""
        top, bottom, left, right = tile.top, tile.bottom, tile.left, tile.right
        mirrored = self.rules.symmetric and left != top
        both = self.rules.columns or mirrored
        mask = self.rules.mask(tile)
        if mask is not None:
            logits.masked_fill_(mask, -math.inf)
        if self.walk.unshifted:
            values = logits.exp2_()
            rows = self.rows[top:bottom, None]
            values.mul_(rows + self.columns[left:right] if both else rows)
        else:
            down = (logits - self.column_peaks[left:right]).exp2_() if both else None
            values = logits.sub_(self.row_peaks[top:bottom, None]).exp2_().mul_(self.rows[top:bottom, None])
            if down is not None:
                values.addcmul_(down, self.columns[left:right].expand_as(down))
        self._add_targets(values, tile, mask, mirrored)
        return values

    def _add_targets(self, values: Tensor, tile: Tile, mask: Tensor | None, mirrored: bool) -> None:
        rules, dtype = self.rules, values.dtype
        if rules.shares is not None:
            weight = (self.g_hard * rules.shares).to(dtype)
            each = weight[tile.top : tile.bottom, None]
            each = each + weight[tile.left : tile.right] if mirrored else each
            values.add_(torch.where(rules.same_group(tile), each, 0.0))
        elif rules.positives is not None:
            self._add_points(values, tile, rules.positives)
            if mirrored:
                self._add_points(values.t(), tile.mirrored, rules.positives)
        targets = rules.soft_targets(tile, mask)
        if targets is not None:
            soft = self.g_soft[tile.top : tile.bottom, None].to(dtype)
            values.addcmul_(targets.to(dtype), soft.expand_as(values))

    def _add_points(self, values: Tensor, tile: Tile, positives: Tensor) -> None:
        column, inside = tile.points(positives)
        own = self.g_hard[tile.top : tile.bottom, None].to(values.dtype)
        values.scatter_add_(1, column, torch.where(inside, own, 0.0))


def _backward(
    walk: _Walk, weights: _Weights, needed: tuple[bool, bool]
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients by the unit queries and unit keys; for a symmetric walk their sum, as the first."""
    by_queries = torch.zeros_like(walk.queries, dtype=walk.dtype) if needed[0] else None
    by_keys = torch.zeros_like(walk.keys, dtype=walk.dtype) if needed[1] else None
    if walk.rules.symmetric:
        by_keys = by_queries
    for tile, logits, queries, keys in walk:
        values = weights(tile, logits)
        values = walk.low(values) if walk.reduced else values
        if by_queries is not None:
            _add_product(by_queries[tile.top : tile.bottom], values, keys, walk.scale)
        if by_keys is not None:
            # The queries carry scale * log2(e); ln 2 removes the base-2 part.
            _add_product(by_keys[tile.left : tile.right], values.t(), queries, LN_2)
    return by_queries, None if walk.rules.symmetric else by_keys


def _add_product(total: Tensor, left: Tensor, right: Tensor, factor: float) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right, alpha=factor)
    else:
        total.add_(left @ right, alpha=factor)


def normalize_backward(gradient: Tensor, features: Tensor, inverse: Tensor | None, step: int) -> Tensor:
    """The gradient by unit rows becomes that by rows, in place; returns the sum of <unit row, gradient>."""
    total = torch.zeros((), dtype=sum_dtype(gradient), device=gradient.device)
    for start in range(0, features.shape[0], step):
        piece = gradient[start : start + step]
        unit = features[start : start + step].to(piece.dtype)
        unit = unit if inverse is None else unit * inverse[start : start + step, None]
        along = torch.linalg.vecdot(unit, piece)  # (rows,)
        total += along.sum(dtype=total.dtype)
        if inverse is not None:
            piece.addcmul_(unit, along[:, None], value=-1.0).mul_(inverse[start : start + step, None])
    return total


class Streamed(torch.autograd.Function):
    """(queries, keys, scale, rules) to (rows, columns, hard, soft), in nats: log-sum-exps and mean logits.

    Results that the rules do not ask for are meaningless.
    """

    @staticmethod
    @torch.no_grad()
    def forward(ctx: Any, queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> tuple[Tensor, ...]:
        walk = _Walk(queries, keys, float(scale), rules)
        rows, columns, hard, soft = _forward(walk)
        ctx.rules, ctx.scale = rules, walk.scale
        ctx.save_for_backward(queries, keys, scale, rows.sum, columns.sum, rows.peak, columns.peak)
        return rows.lse(), columns.lse(), hard, soft

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        forbid_double_backward()
        queries, keys, scale, *sums = ctx.saved_tensors
        with torch.autocast(queries.device.type, enabled=False):
            walk = _Walk(queries, keys, ctx.scale, ctx.rules)  # the scale was read from the device once
            by_queries, by_keys = _backward(walk, _Weights(walk, tuple(sums), gradients), _needed(ctx))
            along = torch.zeros_like(scale)
            if by_keys is not None:
                along = normalize_backward(by_keys, keys, walk.inverse_keys, walk.width)
                by_keys = by_keys.to(keys.dtype)
            if by_queries is not None:
                along = normalize_backward(by_queries, queries, walk.inverse_queries, walk.height)
                along = along / 2 if ctx.rules.symmetric else along
                by_queries = by_queries.to(queries.dtype)
            by_scale = (along / walk.scale).to(scale.dtype)
        return by_queries, by_keys, by_scale, None


def _needed(ctx: Any) -> tuple[bool, bool]:
    """Which products to compute; the scale's gradient needs one of them."""
    queries, keys, scale, _ = ctx.needs_input_grad
    if ctx.rules.symmetric:
        return (queries or scale), False
    return queries or (scale and not keys), keys
