"""Entailment and two-image reasoning: losses by hand, momentum distillation, and what is kept of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small_methods import build, context_of
from small_runs import small_settings

from likewise.batches.batch import Batch
from likewise.errors import DataError
from likewise.methods.base import Progress, Step, TokenizerInfo, make_views
from likewise.step_random import StepRandom
from likewise.training.checkpoints import latest_checkpoint, load_checkpoint
from likewise.training.engine import train

STEP = Step(StepRandom(0, 0), Progress(0, 10))
BOTH = pytest.mark.parametrize("name", ["entailment", "nlvr"])


def small_method(name: str) -> tuple[Any, Batch]:
    """In evaluation mode, with an EMA encoder that is another network than the online one."""
    method, loader = build(name)
    assert isinstance(method.ema_encoder, torch.nn.Module)
    with torch.no_grad():
        for weight in method.ema_encoder.parameters():
            weight.mul_(1.1)
    return method.eval(), loader.batch(0)


def logits_by_hand(name: str, method: Any, network: Any, batch: Batch) -> torch.Tensor:
    """(B, C) in float64, a statement at a time and without padding."""
    config, encoder = method.view_configs["views"], method.network.image
    views = [make_views(batch, STEP, encoder, config, range(1))]
    if name == "nlvr":
        second = batch.with_columns(image=batch.image_2)
        views.append(make_views(second, STEP, encoder, config, range(1, 2)))
    rows = []
    for row in range(len(batch)):
        length = int(batch.text.mask[row].sum())
        words = [part[row : row + 1, :length] for part in (batch.text.tokens, batch.text.mask)]
        pixels = [one[row : row + 1] for one in views]
        rows.append((network.entail if name == "entailment" else network.compare)(*pixels, *words))
    return torch.cat(rows).double()


@BOTH
@pytest.mark.parametrize("alpha", [0.0, 0.4])
@torch.no_grad()
def test_loss_is_a_mixture_of_the_label_and_the_teacher(name: str, alpha: float) -> None:
    method, batch = small_method(name)
    method.alpha.fill_(alpha)
    online = logits_by_hand(name, method, method.network, batch).log_softmax(1)
    teacher = logits_by_hand(name, method, method.ema_encoder.module, batch).softmax(1)
    expected = sum(
        (1 - alpha) * -float(online[row, label]) - alpha * float((teacher[row] * online[row]).sum())
        for row, label in enumerate(batch.label.tolist())
    ) / len(batch)
    found = method.objective(method.embed(batch, STEP), STEP)
    assert float(found.total) == pytest.approx(expected, abs=1e-4)
    right = (online.argmax(1) == batch.label).double().mean()
    assert float(found.parts["accuracy"]) == pytest.approx(float(right))


@BOTH
def test_the_teacher_gets_no_gradient_and_follows_slowly(name: str) -> None:
    method, batch = small_method(name)
    method.alpha.fill_(0.4)
    method.objective(method.embed(batch, STEP), STEP).total.backward()
    assert all(weight.grad is None for weight in method.ema_encoder.parameters())
    assert method.network.head[0].weight.grad.abs().sum() > 0
    own, online = method.ema_encoder.module.head[0].weight.clone(), method.network.head[0].weight
    method.after_step(Progress(1, 100, 10))
    found = method.ema_encoder.module.head[0].weight
    torch.testing.assert_close(found, 0.9 * own + 0.1 * online)


@BOTH
def test_the_teachers_weight_rises_in_the_first_epoch_and_zero_keeps_no_teacher(name: str) -> None:
    method, _ = small_method(name)
    for step, alpha in ((5, 0.2), (10, 0.4), (30, 0.4)):
        method.after_step(Progress(step, 100, 10))
        assert float(method.alpha) == pytest.approx(alpha)
    options = dataclasses.replace(small_settings(name).method, distillation=None)
    context = context_of(name, TokenizerInfo(300, None, ()))
    context = dataclasses.replace(context, classes=("false", "true"))
    make: Any = type(method)
    assert make(options, context).ema_encoder is None  # from random weights
    with pytest.raises(DataError, match="1 classes \\('true'\\); expected at least 2"):
        make(options, dataclasses.replace(context, classes=("true",)))


@BOTH
def test_checkpoints_keep_the_teacher_and_its_weight_and_the_model_has_neither(
    name: str, tmp_path: Path
) -> None:
    run = train(small_settings(name, steps=2), tmp_path / "run", show=False)
    checkpoint = latest_checkpoint(run.checkpoints)
    assert checkpoint is not None
    kept = load_checkpoint(checkpoint)["method"]
    assert 0 < float(kept["alpha"]) <= 0.4
    assert any(name.startswith("ema_encoder.") for name in kept)
    (weights,) = (run.path / "model").glob("*.safetensors")
    network = {name.removeprefix("network.") for name in kept if name.startswith("network.")}
    assert set(load_file(weights)) == network


def test_the_attention_to_the_second_image_starts_from_the_fusion_layers_that_were_loaded() -> None:
    method: Any
    method, _ = small_method("nlvr")
    fusion, second = method.network.fusion, method.network.second
    with torch.no_grad():
        for weight in fusion.parameters():
            weight.add_(1.0)
    method.network.start_rest(["image", "text"])
    attentions = [layer.crossattention for layer in fusion.layers]
    assert not torch.equal(second.query[0].weight, attentions[0].self.query.weight)
    method.network.start_rest(["image", "text", "fusion"])
    for query, output, attention in zip(second.query, second.output, attentions, strict=True):
        assert torch.equal(query.weight, attention.self.query.weight)
        assert torch.equal(output.weight, attention.output.dense.weight)
