"""Compare every query with every key without ever holding all similarities.

`compare` gives what the contrastive objectives are made of, each a vector with its gradient:

- `rows`    (B,) log-sum-exp of each query's logits over the keys it may see,
- `columns` (M,) the same down the columns, from the same products,
- `hard`    (B,) the positive's logit, or the mean logit of the positives that share the target,
- `soft`    (B,) the soft targets' mean logit,

with logits scale * q.k. Small problems take the dense formula (and can be differentiated twice); large ones stream
tiles: forward keeps running sums, backward makes each tile again: four products of B x M x D in all, two of which
when the matrix is symmetric.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._numerics import unit_rows
from ._rules import Rules, Tile
from ._streamed import Streamed

__all__ = ["Comparison", "compare", "row_sums"]

# Below this many similarities the dense formula is as quick and holds a few megabytes.
DENSE_ENTRIES = 1024 * 1024
# In place of minus infinity: a row of which nothing is left gives a hugely negative sum, never NaN.
LEFT_OUT = -1e30


class Comparison(NamedTuple):
    """See the module's text; absent parts are None."""

    rows: Tensor
    columns: Tensor | None
    hard: Tensor | None
    soft: Tensor | None


def compare(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Comparison:
    """Compare (B, D) queries with (M, D) keys; see the module's text.

    Args:
        queries: (B, D).
        keys: (M, D); the queries themselves when `rules.symmetric`.
        scale: 0-d, 1 / temperature, in the working dtype.
        rules: who is compared with whom.
    """
    if rules.tile is None and rules.precision is None and queries.shape[0] * keys.shape[0] <= DENSE_ENTRIES:
        return _dense(queries, keys, scale, rules)
    rows, columns, hard, soft = Streamed.apply(queries, keys, scale, rules)  # type: ignore[no-untyped-call]
    has_hard = rules.positives is not None or rules.shares is not None
    has_soft = rules.targets is not None or rules.teacher is not None
    return Comparison(
        rows, columns if rules.columns else None, hard if has_hard else None, soft if has_soft else None
    )


@torch.no_grad()
def row_sums(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Tensor:
    """(B,) log-sum-exp of each row, without a graph."""
    return compare(queries, keys, scale, rules).rows


def _dense(queries: Tensor, keys: Tensor, scale: Tensor, rules: Rules) -> Comparison:
    """The formula as it stands in the papers."""
    whole = Tile(0, queries.shape[0], 0, keys.shape[0])
    unit_queries = unit_rows(queries, rules.normalize)
    unit_keys = unit_queries if keys is queries else unit_rows(keys, rules.normalize)
    logits = (unit_queries * scale) @ unit_keys.to(unit_queries.dtype).t()  # (B, M)
    mask = rules.mask(whole)
    seen = logits if mask is None else logits.masked_fill(mask, LEFT_OUT)
    hard = soft = None
    if rules.shares is not None:
        same = rules.same_group(whole)
        assert same is not None
        hard = torch.where(same, logits, 0.0).sum(1) * rules.shares.to(logits.dtype)
    elif rules.positives is not None:
        hard = logits.gather(1, rules.positives[:, None]).squeeze(1)
    targets = rules.soft_targets(whole, mask)
    if targets is not None:
        soft = (targets * logits).sum(1)
    columns = seen.logsumexp(0) if rules.columns else None
    return Comparison(seen.logsumexp(1), columns, hard, soft)
