"""Objectives of words: image-text matching, masked language modelling, sentences token by token.

Legend: N pairs or positions, R sentences, L tokens, V vocabulary.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ._numerics import check_finite, check_matrix, check_shape, compute_dtype, objective

__all__ = ["classification_loss", "masked_language_loss", "matching_loss", "sequence_losses"]


@objective
def matching_loss(
    logits: Tensor, matches: Tensor, *, ignore: int = -100, count: float | Tensor | None = None
) -> Tensor:
    """Cross-entropy over two classes: whether image and text match.

    Args:
        logits: (N, 2), class 1 is a match; N is 3B for B pairs with a hard negative text and image each.
        matches: (N,) bool or int64; `ignore` leaves a pair out.
        ignore: that label.
        count: divisor of the sum; the number of pairs that count when None. With several processes
            `replica_share((matches != ignore).sum(), rows)` of `likewise.collectives`.

    Returns:
        Scalar, nats, mean over the pairs; 0 for none.

    Reference:
        Li et al. 2021, arXiv 2107.07651, eq. 4.
    """
    check_matrix(logits=logits)
    check_shape(logits.shape[:1], matches=matches)
    check_finite(logits=logits)
    matches = matches.long()
    total = F.cross_entropy(logits.to(compute_dtype(logits)), matches, ignore_index=ignore, reduction="sum")
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
    """Cross-entropy at the masked positions, with the token and optionally with a teacher's softmax.

    Cheapest with the head applied to the masked positions only, as rows (N, V).

    Args:
        logits: (..., V).
        labels: (...) int64, `ignore` where no token is predicted.
        teacher_logits: (..., V) of an EMA encoder; gets no gradient.
        teacher_weight: alpha in (1 - alpha) * token's cross-entropy + alpha * teacher's.
        ignore: label of positions that do not count.
        count: divisor of the sum; the number of masked positions when None. With several processes
            `replica_share((labels != ignore).sum(), rows)` of `likewise.collectives`.

    Returns:
        Scalar, nats, mean over the masked positions; 0 when there are none.

    Reference:
        Devlin et al. 2018, arXiv 1810.04805; the teacher: Li et al. 2021, arXiv 2107.07651, eq. 7.
    """
    check_shape(logits.shape[:-1], labels=labels)
    check_shape(logits.shape, teacher_logits=teacher_logits)
    if logits.dim() > 2:  # most rows of (N, V) count, and selecting some would wait for the GPU
        masked = labels != ignore
        logits, labels = logits[masked], labels[masked]
        teacher_logits = None if teacher_logits is None else teacher_logits[masked]
    return _distilled(logits, labels, teacher_logits, teacher_weight, ignore, count)


@objective
def classification_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    teacher_logits: Tensor | None = None,
    teacher_weight: float | Tensor = 0.0,
    ignore: int = -1,
    count: float | Tensor | None = None,
) -> Tensor:
    """Cross-entropy with the class, and optionally with a teacher's softmax (momentum distillation).

    Args:
        logits: (N, C).
        labels: (N,) int64, `ignore` for rows that do not count.
        teacher_logits: (N, C) of an EMA encoder; gets no gradient.
        teacher_weight: alpha in (1 - alpha) * class's cross-entropy + alpha * teacher's.
        ignore: label of rows that do not count.
        count: divisor of the sum; the number of rows that count when None.

    Returns:
        Scalar, nats, mean over the rows; 0 when none counts.

    Reference:
        Li et al. 2021, arXiv 2107.07651, eq. 7, with classes for words, as in its code for SNLI-VE and NLVR2.
    """
    check_matrix(logits=logits)
    check_shape(logits.shape[:1], labels=labels)
    check_shape(logits.shape, teacher_logits=teacher_logits)
    return _distilled(logits, labels, teacher_logits, teacher_weight, ignore, count)


def _distilled(
    logits: Tensor,
    labels: Tensor,
    teacher_logits: Tensor | None,
    teacher_weight: float | Tensor,
    ignore: int,
    count: float | Tensor | None,
) -> Tensor:
    """(N, C) logits and (N,) labels to their mean cross-entropy, a part of it with a teacher's softmax."""
    check_finite(logits=logits, teacher_logits=teacher_logits)
    log_p = F.log_softmax(logits.to(compute_dtype(logits)), -1)
    total = F.nll_loss(log_p, labels, reduction="sum", ignore_index=ignore)
    if teacher_logits is not None:
        soft = (teacher_logits.detach().to(log_p.dtype).softmax(-1) * log_p).sum(-1)  # (N,)
        soft = soft.masked_fill(labels == ignore, 0.0).sum()
        total = (1 - teacher_weight) * total - teacher_weight * soft
    divisor = (labels != ignore).sum().clamp_min(1) if count is None else count
    return (total / divisor).to(log_p.dtype)


@objective
def sequence_losses(
    logits: Tensor,
    labels: Tensor,
    *,
    teacher_logits: Tensor | None = None,
    teacher_weight: float | Tensor = 0.0,
    ignore: int = -100,
) -> Tensor:
    """Cross-entropy of sentences, each summed over its tokens, with the token and optionally with a teacher.

    Args:
        logits: (R, L, V).
        labels: (R, L) int64, `ignore` at padding.
        teacher_logits: (R, L, V) of an EMA encoder; gets no gradient.
        teacher_weight: alpha in (1 - alpha) * token's cross-entropy + alpha * cross-entropy with the
            teacher's softmax over the vocabulary, at each token alike.
        ignore: label of positions that do not count.

    Returns:
        (R,) in nats, the negative log-likelihood of each sentence where there is no teacher.

    Reference:
        Li et al. 2021, arXiv 2107.07651, sections 3.4 and 4 (visual question answering).
    """
    check_shape(logits.shape[:-1], labels=labels)
    check_shape(logits.shape, teacher_logits=teacher_logits)
    check_finite(logits=logits, teacher_logits=teacher_logits)
    log_p = F.log_softmax(logits.to(compute_dtype(logits)), -1)  # (R, L, V)
    losses = F.nll_loss(log_p.transpose(1, 2), labels, reduction="none", ignore_index=ignore)  # (R, L)
    if teacher_logits is not None:
        soft = -(teacher_logits.detach().to(log_p.dtype).softmax(-1) * log_p).sum(-1)  # (R, L)
        losses = (1 - teacher_weight) * losses + teacher_weight * soft.masked_fill(labels == ignore, 0.0)
    return losses.sum(1)
