"""A training step asks an accelerator nothing, so that the processor can queue the next step meanwhile.

Reading a number of the device, finding which entries hold (their count decides a shape) and copying numbers
of Python there make the processor wait for all that was queued before. The meta device shows each of the
three without an accelerator: its tensors have no numbers to be asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from small_methods import ALL, THEY_COUNT, build
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from likewise.data.batch import Batch
from likewise.draw import Draw
from likewise.methods.method import Method, Progress


class NoCopies(TorchDispatchMode):
    """Refuses to bring a tensor with more than one number from the processor to the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        there = [value for value in tree_leaves(made) if isinstance(value, torch.Tensor) and value.is_meta]
        # Single numbers of the processor travel with the call.
        copied = [value for value in given if value.device.type == "cpu" and value.dim() > 0]
        assert not (there and copied), f"{func} copies {tuple(copied[0].shape)} to the device"
        return made


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """Inside, copies to the meta device are refused; what is asked of it torch itself refuses."""
    tensor = torch.tensor

    def on_the_processor(*args: Any, **options: Any) -> torch.Tensor:
        device = options.get("device")
        assert device is None or torch.device(device).type != "meta", "copies Python's numbers to the device"
        return tensor(*args, **options)

    with pytest.MonkeyPatch.context() as patch, NoCopies():
        patch.setattr(torch, "tensor", on_the_processor)
        yield


@pytest.fixture
def meta_has_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """As accelerators have; it is off."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)


def step(method: Method, batch: Batch, number: int) -> None:
    """A whole training step, but for the optimizer's."""
    method.objective(method.embed(batch, Draw(0, number))).total.backward()
    method.after_step(Progress(number + 1, 3))


@pytest.mark.usefixtures("meta_has_autocast")
@pytest.mark.parametrize("name", [name for name in ALL if name not in THEY_COUNT])
def test_a_step_does_not_wait_for_the_device(name: str) -> None:
    method, loader = build(name)
    step(method, loader.batch(0), 0)  # the first step may ask
    method.zero_grad()
    method, batch = method.to("meta"), loader.batch(1).to("meta")
    step(method, batch, 1)  # makes this device's constants
    with without_waiting():
        step(method, batch, 2)


def test_waiting_is_noticed() -> None:
    there = torch.ones(3, device="meta")
    with without_waiting():
        with pytest.raises(AssertionError, match="Python's numbers"):
            torch.tensor([1.0, 2.0], device="meta")
        with pytest.raises(AssertionError, match="copies"):
            torch.ones(3).to("meta")
        with pytest.raises(RuntimeError):
            bool((there > 0).all())
        with pytest.raises(RuntimeError):
            there.nonzero()
