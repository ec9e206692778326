"""TCL against the organisation of the published code: the same losses, gradients, twins and queues."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from likewise.methods.base import Progress
from likewise.step_random import StepRandom

STEPS_PER_EPOCH = 4  # so that the twins' share of the targets rises within the test


@pytest.fixture
def tcl_sides(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's two sides, which are no part of the package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import tcl_sides

    return tcl_sides


@pytest.fixture
def tcl_same(tcl_sides: ModuleType) -> ModuleType:
    """What makes them equal."""
    import tcl_same

    return tcl_same


@pytest.fixture
def sides(tcl_sides: ModuleType, tcl_same: ModuleType) -> tuple[Any, Any]:
    """Both in the same state, in float64, without dropout; plain steps for the networks alone."""
    sides = tcl_same.equal_sides(tcl_sides.Options(size="least", dropout=0.0, device="cpu"))
    for side in sides:
        with torch.no_grad():  # BERT's small start would make all texts alike
            torch.manual_seed(1)
            for name, weight in side.network.named_parameters():
                if name != "log_temperature":
                    weight += 0.05 * torch.randn_like(weight)
        # The temperature stays: ours learns its logarithm, which takes other steps.
        weights = [w for name, w in side.network.named_parameters() if name != "log_temperature"]
        side.optimizer = torch.optim.SGD(weights, lr=0.05)
    ours, theirs = sides
    ours.module.reset_ema()
    theirs.module.twin.load_state_dict(theirs.network.state_dict())
    return sides


def assert_same_gradients(ours: Any, theirs: Any) -> None:
    wanted = dict(theirs.network.named_parameters())
    for name, weight in ours.network.named_parameters():
        if name == "log_temperature":  # theirs is the temperature itself
            continue
        torch.testing.assert_close(weight.grad, wanted[name].grad, rtol=1e-6, atol=1e-7, msg=name)
    temperature = theirs.module.temperature
    torch.testing.assert_close(ours.network.log_temperature.grad, temperature.grad * temperature.detach())


def test_three_steps_agree_part_by_part(
    tcl_sides: ModuleType, tcl_same: ModuleType, sides: tuple[Any, Any]
) -> None:
    ours, theirs = sides
    options = tcl_sides.Options(size="least", device="cpu")
    for number in range(3):
        alpha = 0.4 * number / STEPS_PER_EPOCH
        batch = tcl_sides.make_batch(options, number)
        (total, parts), (their_total, their_parts) = tcl_same.losses_of_both(
            ours, theirs, batch, StepRandom(0, number), alpha
        )
        for name, part in their_parts.items():
            torch.testing.assert_close(parts[name], part.detach(), msg=f"{name}, step {number}")
        torch.testing.assert_close(total, their_total)
        for side, loss in ((ours, total), (theirs, their_total)):
            side.module.zero_grad(set_to_none=True)
            loss.backward()
        assert_same_gradients(ours, theirs)
        for side in sides:
            side.optimizer.step()
        ours.module.after_step(Progress(number + 1, 100, STEPS_PER_EPOCH))

    state = ours.module.state_dict()
    for kind in ("image", "text"):
        torch.testing.assert_close(state[f"{kind}_queue.keys"].t(), getattr(theirs.module, f"{kind}_queue"))
    theirs.module._follow()  # it does so at the begin of a step, ours at the end
    for name, weight in theirs.module.twin.state_dict().items():
        torch.testing.assert_close(state[f"ema_encoder.module.{name}"], weight, msg=name)


def test_its_own_draws_hide_no_padding_and_pair_no_row_with_itself(
    tcl_sides: ModuleType, sides: tuple[Any, Any]
) -> None:
    _, theirs = sides
    batch = tcl_sides.make_batch(tcl_sides.Options(size="least", device="cpu", batch_size=200))
    torch.manual_seed(0)
    hidden, labels = theirs.module._hide(batch.text.tokens)
    asked = labels != -100
    assert not asked[~batch.text.mask].any()
    assert not asked[:, 0].any()
    assert torch.equal(hidden[~asked], batch.text.tokens[~asked])
    assert 0.12 < float(asked[:, 1:][batch.text.mask[:, 1:]].float().mean()) < 0.18
    pictures, texts = theirs.module._negatives(torch.eye(6) * 1e4, torch.zeros(6, 6), None)
    for drawn in (pictures, texts):  # with the first table every row of weights is zero
        assert all(row != other for row, other in enumerate(drawn))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("attention", ["ours", "published"])
def test_a_step_of_either_side_runs(tcl_sides: ModuleType, precision: str, attention: str) -> None:
    options = tcl_sides.Options(size="least", device="cpu", precision=precision, attention=attention)
    for make in tcl_sides.SIDES.values():
        side = make(options)
        before = [weight.detach().clone() for weight in side.network.parameters()]
        tcl_sides.step(side, tcl_sides.make_batch(options), 0)
        assert any(
            not torch.equal(old, new) for old, new in zip(before, side.network.parameters(), strict=True)
        )
        assert all(bool(weight.isfinite().all()) for weight in side.network.parameters())


def test_captions_are_as_long_as_captions_are(tcl_sides: ModuleType) -> None:
    batch = tcl_sides.make_batch(tcl_sides.Options(size="least", device="cpu", batch_size=2000))
    lengths = batch.text.mask.sum(1)
    assert int(lengths.min()) == 4
    assert int(lengths.max()) == batch.text.tokens.shape[1] == 25
    assert abs(float(lengths.float().mean()) - 14) < 0.5
    assert abs(float(lengths.float().std()) - 4) < 0.3
