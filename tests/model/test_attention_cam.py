"""Grad-CAM on cross-attention: by loops, for each ability, without a graph of the encoders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_methods import build

from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import AbilityError
from likewise.model.explanations.answer_maps import answer_maps
from likewise.model.explanations.attention_cam import attention_cam
from likewise.model.explanations.explain import kind_of_explanation
from likewise.model.runtime import Runtime

METHODS = {"ground": "tcl", "entail": "entailment", "compare": "nlvr", "answer": "vqa"}
TEXTS = ["a red star", "is there a blue circle left of it?"]
ANSWERS = ["yes", "two"]


def small_model(ability: str) -> Any:
    method, _ = build(METHODS[ability])
    tokenizer = train_tokenizer([*TEXTS, *ANSWERS], vocabulary_size=300, max_tokens=32)
    return Runtime(method.network.eval(), {"method": METHODS[ability]}, tokenizer)


def by_loops(attention: torch.Tensor, gradient: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """(B, N), in float64."""
    B, H, L, N = attention.shape
    total = np.zeros((B, N - 1))
    for b in range(B):
        real = [place for place in range(L) if mask[b, place]]
        for place in real:
            for head in range(H):
                for patch in range(1, N):
                    slope = max(0.0, float(gradient[b, head, place, patch]))
                    total[b, patch - 1] += float(attention[b, head, place, patch]) * slope / H / len(real)
    return total


@pytest.mark.parametrize("ability", METHODS)
def test_maps_are_attention_times_positive_gradient(ability: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model(ability)
    images = torch.randint(0, 256, (2, 2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    stored = list(images.to(torch.uint8))[: 2 if ability == "compare" else 1]
    grad, encoders = torch.autograd.grad, []
    kept: list[Any] = []

    def watched(score: Any, attention: Any) -> Any:
        gradients = grad(score, attention)
        kept.append((attention if isinstance(attention, tuple) else (attention,), gradients))
        return gradients

    monkeypatch.setattr(torch.autograd, "grad", watched)
    for encoder in (model.network.image, model.network.text):
        encoder.register_forward_hook(lambda *_: encoders.append(torch.is_grad_enabled()))
    assert any(weight.requires_grad for weight in model.network.image.parameters())
    if ability == "answer":
        found = [answer_maps(model, stored[0], TEXTS, ANSWERS)]
    else:
        found = [one.numpy() for one in attention_cam(model, ability, stored, TEXTS)[1]]
    assert encoders
    assert not any(encoders)
    mask = model.tokens(TEXTS)[1]
    assert not mask.all()
    ((attention, gradients),) = kept
    attention = [one.detach() for one in attention]
    for maps, one, gradient in zip(found, attention, gradients, strict=True):
        expected = by_loops(one, gradient, mask)
        assert expected.max() > 0
        np.testing.assert_allclose(maps.reshape(2, -1), expected, rtol=1e-4, atol=1e-9)


def test_models_that_answer_say_that_there_is_nothing_to_explain() -> None:
    with pytest.raises(AbilityError, match=r"\(vqa\) has nothing to explain of an image alone"):
        kind_of_explanation(small_model("answer"), of_texts=False, of_images=False)
