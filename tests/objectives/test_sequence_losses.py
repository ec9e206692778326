"""Cross-entropy of whole sentences: against a naive loop, by hand, and at padding."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from likewise.objectives import sequence_losses

LABELS = torch.tensor([[1, 0, 3], [2, -100, -100], [-100, -100, -100]])


def naive(logits: Tensor, teacher: Tensor | None, weight: float) -> Tensor:
    losses = []
    for row, labels in zip(range(len(logits)), LABELS.tolist(), strict=True):
        total = logits.new_zeros(())
        for place, label in enumerate(labels):
            if label == -100:
                continue
            log_p = logits[row, place] - logits[row, place].exp().sum().log()
            loss = -log_p[label]
            if teacher is not None:
                target = teacher[row, place].exp() / teacher[row, place].exp().sum()
                loss = (1 - weight) * loss - weight * (target * log_p).sum()
            total = total + loss
        losses.append(total)
    return torch.stack(losses)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_values_and_gradients_are_the_naive_ones(weight: float, agree) -> None:  # type: ignore[no-untyped-def]
    logits, teacher = torch.randn(2, 3, 3, 5, dtype=torch.float64)
    agree(
        lambda x: sequence_losses(x, LABELS, teacher_logits=teacher, teacher_weight=weight).sum(),
        lambda x: naive(x, teacher, weight).sum(),
        logits,
    )
    found = sequence_losses(logits, LABELS, teacher_logits=teacher, teacher_weight=weight)
    torch.testing.assert_close(found, naive(logits, teacher, weight))


def test_by_hand() -> None:
    """Of four equal tokens each costs log 4; a sentence of padding alone costs nothing."""
    found = sequence_losses(torch.zeros(3, 3, 4), LABELS)
    torch.testing.assert_close(found, torch.tensor([3.0, 1.0, 0.0]) * math.log(4))


def test_the_teacher_gets_no_gradient_and_padding_none() -> None:
    logits = torch.randn(3, 3, 5, requires_grad=True)
    teacher = torch.randn(3, 3, 5, requires_grad=True)
    sequence_losses(logits, LABELS, teacher_logits=teacher, teacher_weight=0.5).sum().backward()
    assert teacher.grad is None
    assert logits.grad is not None
    assert (logits.grad.abs().sum(dim=-1) > 0).tolist() == (LABELS >= 0).tolist()


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="labels must have shape"):
        sequence_losses(torch.zeros(3, 2, 4), LABELS)
    with pytest.raises(ValueError, match="teacher_logits must have shape"):
        sequence_losses(torch.zeros(3, 3, 4), LABELS, teacher_logits=torch.zeros(3, 3, 5))


def test_half_precision_is_summed_in_single() -> None:
    logits = torch.randn(3, 3, 5)
    found = sequence_losses(logits.bfloat16(), LABELS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, sequence_losses(logits.bfloat16().float(), LABELS))
