"""Text assignment: the triples that are drawn, the loss by hand, and what nlvr takes over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_methods import build
from small_runs import small_settings

from likewise.methods.base import Progress, Step
from likewise.methods.image_text.text_assignment import draw_triples
from likewise.model.model import load
from likewise.step_random import StepRandom
from likewise.training.engine import train


def test_triples_hold_the_own_image_where_the_class_says_so() -> None:
    group = torch.tensor([0, 1, 1, 2, 3, 4]).repeat(50) + 10 * torch.arange(50).repeat_interleave(6)
    rows = torch.arange(len(group))
    first, second, label, judged = draw_triples(group, rows, rows, StepRandom(0, 0))
    assert judged.all()
    own = torch.stack([group[first] == group, group[second] == group], 1)
    assert torch.equal(own, torch.nn.functional.one_hot(label, 3)[:, :2].bool())
    assert torch.equal(
        first[label == 0], rows[label == 0]
    )  # the row itself, not another caption of its image
    assert torch.equal(second[label == 1], rows[label == 1])
    assert (group[first] != group[second]).all()
    assert torch.bincount(label, minlength=3).min() > 70  # of 300, 100 expected
    again = draw_triples(
        group, rows[3:9], rows[3:9], StepRandom(0, 0)
    )  # as a process would that has these rows
    for whole, part in zip((first, second, label, judged), again, strict=True):
        assert torch.equal(whole[3:9], part)


def test_rows_without_another_image_are_not_judged() -> None:
    rows = torch.arange(3)
    assert not draw_triples(torch.zeros(3, dtype=torch.int64), rows, rows, StepRandom(0, 0))[3].any()
    one = torch.zeros(1, dtype=torch.int64)
    assert not draw_triples(one, one, one, StepRandom(0, 0))[3].any()
    pair = draw_triples(torch.tensor([0, 1]), rows[:2], rows[:2], StepRandom(0, 0))
    assert pair[3].all()
    method, loader = build("text-assignment")
    batch = loader.batch(0)
    step = Step(StepRandom(0, 0), Progress(0, 10))
    alike = batch.with_columns(group=torch.zeros_like(batch.group))
    found = method.objective(method.embed(alike, step), step)
    assert float(found.total.detach()) == 0
    found.total.backward()  # still a graph, for replicas that wait for gradients


def test_loss_is_the_mean_of_the_judged_rows() -> None:
    method: Any
    method, _ = build("text-assignment")
    logits = torch.randn(4, 3)
    given = {
        "logits": logits,
        "label": torch.tensor([0, 1, 2, 0]),
        "judged": torch.tensor([True, True, False, True]),
    }
    rows = -logits.double().log_softmax(1)
    expected = (rows[0, 0] + rows[1, 1] + rows[3, 0]) / 3
    found = method.objective(given, Step(StepRandom(0, 0), Progress(0, 10)))
    assert float(found.total) == pytest.approx(float(expected), abs=1e-6)


def test_two_image_reasoning_starts_from_it(tmp_path: Path) -> None:
    assigned = train(small_settings("text-assignment", steps=2), tmp_path / "assigned", show=False)
    settings = small_settings("nlvr", steps=1, start_from=str(assigned.path), learning_rate=1e-12)
    reasoner = train(settings, tmp_path / "reasoner", show=False)
    former, found = (load(run.path).network.state_dict() for run in (assigned, reasoner))
    for name, weight in found.items():
        if name.startswith("head."):
            continue  # other classes
        torch.testing.assert_close(weight, former[name], rtol=0, atol=1e-6)
    assert load(reasoner.path).network.classes == ["false", "true"]
