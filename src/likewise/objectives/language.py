"""Objectives with words in them: image-text matching, masked words.

Legend: N pairs or positions, V vocabulary.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ._numerics import check_finite, check_matrix, check_rows, objective, working

__all__ = ["masked_language_loss", "matching_loss"]


@objective
def matching_loss(
    logits: Tensor, matches: Tensor, *, ignore: int = -100, count: float | Tensor | None = None
) -> Tensor:
    """Does the text belong to the image? Cross-entropy over two classes.

    Args:
        logits: (N, 2), class 1 is "they belong together"; N is 3B with a hard negative of either kind a pair.
        matches: (N,) bool or int64; `ignore` for pairs that do not count.
        ignore: that label.
        count: what to divide the sum by; the number of pairs that count when None. Across replicas
            `replica_share((matches != ignore).sum(), rows)` of `likewise.collectives`.

    Returns:
        Scalar, nats, mean over the pairs; 0 for none.

    Reference:
        Li et al. 2021, arXiv 2107.07651, eq. 4.
    """
    check_matrix(logits=logits)
    check_rows(logits.shape[0], matches=matches)
    check_finite(logits=logits)
    matches = matches.long()
    total = F.cross_entropy(logits.to(working(logits)), matches, ignore_index=ignore, reduction="sum")
    divisor = (matches != ignore).sum().clamp_min(1) if count is None else count
    return (total / divisor).to(total.dtype)


@objective
def masked_language_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    teacher_logits: Tensor | None = None,
    teacher_weight: float | Tensor = 0.0,
    ignore: int = -100,
    count: float | Tensor | None = None,
) -> Tensor:
    """Cross-entropy at the masked positions, to the word and in part to a teacher's softmax.

    Cheapest with the head applied to masked positions alone, as rows (N, V).

    Args:
        logits: (..., V).
        labels: (...) int64, `ignore` where nothing is predicted.
        teacher_logits: (..., V) of a twin; gets no gradient.
        teacher_weight: alpha: (1 - alpha) of the word's cross-entropy + alpha of the teacher's.
        ignore: label of positions that do not count.
        count: what to divide the sum by; the number of masked positions when None. Across replicas
            `replica_share((labels != -100).sum(), rows)` of `likewise.collectives`.

    Returns:
        Scalar, nats, mean over the masked positions; 0 when there are none.

    Reference:
        Devlin et al. 2018, arXiv 1810.04805; the teacher: Li et al. 2021, arXiv 2107.07651, eq. 7.
    """
    if logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"labels must be {tuple(logits.shape[:-1])} for these logits, got {tuple(labels.shape)}"
        )
    if teacher_logits is not None and teacher_logits.shape != logits.shape:
        raise ValueError(f"teacher_logits must be {tuple(logits.shape)}, got {tuple(teacher_logits.shape)}")
    if logits.dim() > 2:  # of rows (N, V) most are taken to count: to choose among them is to wait for a GPU
        masked = labels != ignore
        logits, labels = logits[masked], labels[masked]
        teacher_logits = None if teacher_logits is None else teacher_logits[masked]
    check_finite(logits=logits, teacher_logits=teacher_logits)
    log_p = F.log_softmax(logits.to(working(logits)), -1)  # (N, V)
    total = F.nll_loss(log_p, labels, reduction="sum", ignore_index=ignore)
    if teacher_logits is not None:
        taught = (teacher_logits.detach().to(log_p.dtype).softmax(-1) * log_p).sum(-1)  # (N,)
        total = (1 - teacher_weight) * total - teacher_weight * taught.masked_fill(
            labels == ignore, 0.0
        ).sum()
    divisor = (labels != ignore).sum().clamp_min(1) if count is None else count
    return (total / divisor).to(log_p.dtype)
