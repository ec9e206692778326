"""Cached gradients in float64 against one backward over the whole batch, with dropout and a temperature."""

from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from small_methods import STEP
from torch import nn

from likewise.batches.batch import Batch
from likewise.mechanisms.batch_norm import frozen_batch_norm
from likewise.methods.base import LossOutput, Step
from likewise.objectives import clip_loss
from likewise.training.grad_cache import cached_backward, part_bounds


class Towers(nn.Module):
    """Two small networks with dropout and a learned temperature."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Dropout(0.5), nn.Linear(16, 8))
        self.text = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.3))
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def embed(self, batch: Batch, step: Step) -> dict[str, torch.Tensor]:
        flat = batch.image.double().flatten(1)[:, :6] / 255
        return {"images": self.image(flat), "texts": self.text(flat.flip(1)), "index": batch.index}

    def objective(self, embeddings: dict[str, torch.Tensor], step: Step) -> LossOutput:
        total = clip_loss(embeddings["images"], embeddings["texts"], temperature=torch.exp(-self.logit_scale))
        return LossOutput(total, {})


@pytest.mark.parametrize("micro", [1, 3, 4, 10])
def test_gradients_equal_the_whole_batch(micro: int) -> None:
    torch.manual_seed(0)
    towers = Towers().double()
    batch = Batch(index=torch.arange(10), image=torch.randint(0, 256, (10, 3, 2, 2), dtype=torch.uint8))

    # The whole batch at once, its rows under the masks that the pieces draw.
    pieces = [batch.rows(start, stop) for start, stop in part_bounds(10, micro)]
    embedded = []
    for number, piece in enumerate(pieces):
        torch.manual_seed(number)
        embedded.append(towers.embed(piece, STEP))
    whole = {name: torch.cat([one[name] for one in embedded]) for name in embedded[0]}
    towers.objective(whole, STEP).total.backward()
    expected = {name: parameter.grad.clone() for name, parameter in towers.named_parameters()}  # type: ignore[union-attr]
    towers.zero_grad()

    calls = []
    cached_backward(
        towers.embed,
        towers.objective,
        batch,
        STEP,
        micro_batch_size=micro,
        seed_part=lambda number: calls.append(number) or torch.manual_seed(number),  # type: ignore[func-returns-value]
        frozen_buffers=nullcontext,
        backward=lambda loss: loss.backward(),
    )
    assert calls == 2 * list(range(len(pieces)))
    for name, parameter in towers.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-10, atol=1e-14, msg=name)


def test_pieces_are_alike_in_size() -> None:
    assert part_bounds(129, 64) == [(0, 43), (43, 86), (86, 129)]
    assert part_bounds(16, 5) == [(0, 4), (4, 8), (8, 12), (12, 16)]
    assert part_bounds(6, 6) == part_bounds(6, 9) == [(0, 6)]


class Normed(Towers):
    """With running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.text = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))


def test_running_statistics_count_every_row_once() -> None:
    torch.manual_seed(0)
    towers = Normed().double()
    expected = copy.deepcopy(towers)
    batch = Batch(index=torch.arange(10), image=torch.randint(0, 256, (10, 3, 2, 2), dtype=torch.uint8))
    for start in (0, 5):
        expected.embed(batch.rows(start, start + 5), Step(STEP))
    cached_backward(
        towers.embed,
        towers.objective,
        batch,
        STEP,
        micro_batch_size=5,
        seed_part=lambda number: None,
        frozen_buffers=lambda: frozen_batch_norm(towers),
        backward=lambda loss: loss.backward(),
    )
    for name, buffer in towers.named_buffers():
        torch.testing.assert_close(buffer, expected.get_buffer(name), msg=name)
    assert int(towers.get_buffer("text.1.num_batches_tracked")) == 2
