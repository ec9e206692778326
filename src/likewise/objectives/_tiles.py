"""Compare every query with every key without holding all similarities at once.

The logit of query q and key k is scale * s(q, k). `compare` returns what contrastive objectives are made of,
vectors with gradients: the log-sum-exp of a row (or column) minus its target's mean logit. Small problems
take the dense formula, which can be differentiated twice. Large ones stream tiles: forward keeps running
sums, backward recomputes each tile. That is four products of B x M x D, half as many for a symmetric matrix.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ._numerics import unit_rows
from ._rules import Rules, Teacher, Tile
from ._streamed import Streamed

__all__ = ["MASKED", "Comparison", "compare", "fits_dense", "row_sums"]

# Below this many similarities the dense formula is as quick, and takes a few megabytes.
DENSE_ENTRIES = 1024 * 1024
# An accelerator takes that many more: there launches cost more than memory.
DEVICE_FACTOR = 16
# In place of minus infinity: a fully masked row gives a hugely negative sum, never NaN.
MASKED = -1e30


class Comparison(NamedTuple):
    """All in nats, one value a query.

    Attributes:
        hard: (B,) log-sum-exp of the row - logit of its positive (mean logit of those that share the target).
        columns: (B,) log-sum-exp of the positive's column - logit of the positive; None without
            `rules.columns`.
        soft: (B,) sum over the keys of target * (log-sum-exp of the row - logit); None without soft targets.
    """

    hard: Tensor
    columns: Tensor | None
    soft: Tensor | None


def compare(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Comparison:
    """Compare (B, D) queries with (M, D) keys.

    Args:
        queries: (B, D).
        keys: (M, D); the same tensor when `rules.symmetric`.
        scale: 0-d, 1 / temperature, in the compute dtype.
        rules: positives or shares, and what is masked.
    """
    if _is_small(queries, keys, rules):
        return _dense(queries, keys, scale, rules)
    if rules.teacher is not None:
        rules = replace(rules, teacher=_summed(rules.teacher, rules))
    rows, columns, hard, soft = Streamed.apply(queries, keys, scale, rules)  # type: ignore[no-untyped-call]
    soft_gap = None
    if rules.targets is not None:
        soft_gap = rules.targets.sum(1, dtype=rows.dtype) * rows - soft
    elif rules.teacher is not None:
        soft_gap = rows - soft  # a teacher's row sums to 1
    return Comparison(rows - hard, columns[rules.positives] - hard if rules.columns else None, soft_gap)


def _summed(teacher: Teacher, rules: Rules) -> Teacher:
    """The teacher with the log-sum-exp of its rows, over the keys that are not masked."""
    plain = replace(rules, teacher=None, normalize=teacher.normalize, precision=None)
    return replace(teacher, row_lse=row_sums(teacher.queries, teacher.keys, teacher.scale, plain))


def row_sums(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Tensor:
    """(B,) log-sum-exp of each row in nats; hugely negative for fully masked rows."""
    if _is_small(queries, keys, rules):
        return _logits(queries, keys, scale, rules)[0].logsumexp(1)
    sums: Tensor = Streamed.apply(queries, keys, scale, rules)[0]  # type: ignore[no-untyped-call]
    return sums.clamp_min(MASKED)


def fits_dense(entries: int, device: torch.device) -> bool:
    """Whether that many similarities may be held at once."""
    return entries <= DENSE_ENTRIES * (1 if device.type == "cpu" else DEVICE_FACTOR)


def _is_small(queries: Tensor, keys: Tensor, rules: Rules) -> bool:
    streamed = rules.tile is not None or rules.precision is not None
    return not streamed and fits_dense(queries.shape[0] * keys.shape[0], queries.device)


def _logits(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> tuple[Tensor, Tensor | None]:
    """(B, M) masked logits, and the mask."""
    unit_queries = unit_rows(queries, rules.normalize)
    unit_keys = unit_queries if keys is queries else unit_rows(keys, rules.normalize)
    logits = (unit_queries * scale) @ unit_keys.to(unit_queries.dtype).t()
    mask = rules.mask(Tile.whole(queries, keys))
    return logits if mask is None else logits.masked_fill(mask, MASKED), mask


def _dense(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Comparison:
    """The formula of the papers; log_softmax keeps the digits that lse - logit would lose."""
    whole = Tile.whole(queries, keys)
    logits, mask = _logits(queries, keys, scale, rules)
    log_p = F.log_softmax(logits, 1)  # (B, M)
    if rules.shares is not None:
        hard = -torch.where(rules.same_group(whole), log_p, 0.0).sum(1) * rules.shares.to(log_p.dtype)
    else:
        hard = -_at_positives(log_p, rules)
    columns = -_at_positives(F.log_softmax(logits, 0), rules) if rules.columns else None
    targets = rules.soft_targets(whole, mask)
    return Comparison(hard, columns, None if targets is None else -(targets * log_p).sum(1))


def _at_positives(values: Tensor, rules: Rules) -> Tensor:
    assert rules.positives is not None
    return values.gather(1, rules.positives[:, None]).squeeze(1)
