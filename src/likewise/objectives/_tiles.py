"""Compare every query with every key without ever holding all similarities.

The logit of query q and key k is scale * s(q, k). `compare` gives what contrastive objectives are made of,
each a vector with its gradient: how far the log-sum-exp of a row (or column) lies above its target's mean
logit. Small problems take the dense formula, which can be differentiated twice; large ones stream tiles:
forward keeps running sums, backward makes each tile again: four products of B x M x D in all, half as many
when the matrix is symmetric.
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

__all__ = ["LEFT_OUT", "Comparison", "compare", "fits_dense", "row_sums"]

# Below this many similarities the dense formula is as quick, and holds a few megabytes.
DENSE_ENTRIES = 1024 * 1024
# An accelerator takes that many more: there launches cost more than memory.
MORE_ON_DEVICE = 16
# In place of minus infinity: a row of which nothing is left gives a hugely negative sum, never NaN.
LEFT_OUT = -1e30


class Comparison(NamedTuple):
    """All in nats, one value a query; what the rules don't ask for is None.

    Attributes:
        hard: (B,) log-sum-exp of the row - logit of its positive (mean logit of those that share the target).
        columns: (B,) log-sum-exp of the positive's column - logit of the positive.
        soft: (B,) sum over the keys of target * (log-sum-exp of the row - logit).
    """

    hard: Tensor | None
    columns: Tensor | None
    soft: Tensor | None


def compare(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Comparison:
    """Compare (B, D) queries with (M, D) keys.

    Args:
        queries: (B, D).
        keys: (M, D); the very same tensor when `rules.symmetric`.
        scale: 0-d, 1 / temperature, in the working dtype.
        rules: who is compared with whom.
    """
    if _is_small(queries, keys, rules):
        return _dense(queries, keys, scale, rules)
    if rules.teacher is not None:
        rules = replace(rules, teacher=_summed(rules.teacher, rules))
    rows, columns, hard, soft = Streamed.apply(queries, keys, scale, rules)  # type: ignore[no-untyped-call]
    column_gap = soft_gap = None
    if rules.columns:
        assert rules.positives is not None
        column_gap = columns[rules.positives] - hard
    if rules.targets is not None:
        soft_gap = rules.targets.sum(1, dtype=rows.dtype) * rows - soft
    elif rules.teacher is not None:
        soft_gap = rows - soft  # a teacher's row sums to 1
    asks_hard = rules.positives is not None or rules.shares is not None
    return Comparison(rows - hard if asks_hard else None, column_gap, soft_gap)


def _summed(teacher: Teacher, rules: Rules) -> Teacher:
    """The teacher with its rows summed over the keys that the student sees."""
    plain = replace(rules, teacher=None, normalize=teacher.normalize, precision=None)
    return replace(teacher, row_lse=row_sums(teacher.queries, teacher.keys, teacher.scale, plain))


def row_sums(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Tensor:
    """(B,) log-sum-exp of each row in nats; hugely negative where nothing is left."""
    if _is_small(queries, keys, rules):
        return _seen(_logits(queries, keys, scale, rules), rules.mask(_whole(queries, keys))).logsumexp(1)
    sums: Tensor = Streamed.apply(queries, keys, scale, rules)[0]  # type: ignore[no-untyped-call]
    return sums.clamp_min(LEFT_OUT)


def fits_dense(entries: int, device: torch.device) -> bool:
    """Whether so many similarities may be held at once."""
    return entries <= DENSE_ENTRIES * (1 if device.type == "cpu" else MORE_ON_DEVICE)


def _is_small(queries: Tensor, keys: Tensor, rules: Rules) -> bool:
    asked = rules.tile is not None or rules.precision is not None
    return not asked and fits_dense(queries.shape[0] * keys.shape[0], queries.device)


def _whole(queries: Tensor, keys: Tensor) -> Tile:
    return Tile(0, queries.shape[0], 0, keys.shape[0])


def _logits(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Tensor:
    unit_queries = unit_rows(queries, rules.normalize)
    unit_keys = unit_queries if keys is queries else unit_rows(keys, rules.normalize)
    return (unit_queries * scale) @ unit_keys.to(unit_queries.dtype).t()  # (B, M)


def _seen(logits: Tensor, mask: Tensor | None) -> Tensor:
    return logits if mask is None else logits.masked_fill(mask, LEFT_OUT)


def _dense(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Comparison:
    """The formula as it stands in the papers; log_softmax keeps the digits that lse - logit would lose."""
    whole = _whole(queries, keys)
    mask = rules.mask(whole)
    seen = _seen(_logits(queries, keys, scale, rules), mask)  # (B, M)
    log_p = F.log_softmax(seen, 1)
    hard = columns = soft = None
    if rules.shares is not None:
        same = rules.same_group(whole)
        assert same is not None
        hard = -torch.where(same, log_p, 0.0).sum(1) * rules.shares.to(log_p.dtype)
    elif rules.positives is not None:
        hard = -log_p.gather(1, rules.positives[:, None]).squeeze(1)
    if rules.columns:
        assert rules.positives is not None
        columns = -F.log_softmax(seen, 0).gather(1, rules.positives[:, None]).squeeze(1)
    targets = rules.soft_targets(whole, mask)
    if targets is not None:
        soft = -(targets * log_p).sum(1)
    return Comparison(hard, columns, soft)
