"""A training step asks an accelerator nothing, so that the processor can queue the next step meanwhile.

Reading a number of the device, finding which entries hold (their count decides a shape) and copying numbers
of Python there make the processor wait for all that was queued before. The meta device shows each of the
three without an accelerator: its tensors have no numbers to be asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from small_methods import ALL, THEY_COUNT, build, steps_of
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from likewise.batches.batch import Batch
from likewise.methods.base import Method, Progress


class NoCopies(TorchDispatchMode):
    """Refuses operations that bring a tensor from the processor to the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        there = any(isinstance(value, torch.Tensor) and value.is_meta for value in tree_leaves(made))
        for value in tree_leaves((args, kwargs)):
            here = isinstance(value, torch.Tensor) and not value.is_meta
            assert not (here and there), f"{func} copies {tuple(value.shape)} to the device"
        return made


class NoHiddenCopies(TorchFunctionMode):
    """Refuses what torch makes such a tensor of before it dispatches: numbers and lists of Python."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        on_device = bool(args) and isinstance(args[0], torch.Tensor) and args[0].is_meta
        if func in (torch.tensor, torch.as_tensor):
            device = kwargs.get("device")
            copied = device is not None and torch.device(device).type == "meta"
            copied = copied and not (isinstance(args[0], torch.Tensor) and args[0].is_meta)
            assert not copied, f"{func.__name__} copies Python's numbers to the device"
        elif func is torch.Tensor.new_tensor:
            assert not on_device, "new_tensor copies Python's numbers to the device"
        elif on_device and func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            assert not any(isinstance(part, list) for part in index), (
                "a list as index is copied to the device"
            )
            if func is torch.Tensor.__setitem__ and not isinstance(args[2], torch.Tensor):
                # A slice is filled; of a number for single places a tensor is made, here, and copied there.
                places = "a number that is assigned is copied to the device"
                assert not all(isinstance(part, int) for part in index), places
                assert not any(isinstance(part, torch.Tensor) for part in index), places
        return func(*args, **kwargs)


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """Inside, copies to the meta device are refused; what is asked of it torch itself refuses."""
    with NoHiddenCopies(), NoCopies():
        yield


@pytest.fixture
def meta_has_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """As accelerators have; it is off."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda _: False)


def step(method: Method, batch: Batch, number: int) -> None:
    """A whole training step, but for the optimizer's."""
    for now in steps_of(method, number):
        method.objective(method.embed(batch, now), now).total.backward()
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


def put(there: torch.Tensor, place: Any) -> None:
    there[place] = 1.0


WAITS: dict[str, Callable[[torch.Tensor], Any]] = {
    "tensor": lambda x: torch.tensor([1.0, 2.0], device=x.device),
    "as_tensor": lambda x: torch.as_tensor(1.0, device=x.device),
    "new_tensor": lambda x: x.new_tensor([1.0]),
    "to": lambda x: torch.ones(3).to(x.device),
    "one number": lambda x: torch.ones(()).to(x.device),
    "where": lambda x: torch.where(x > 0, x, torch.ones(())),
    "list index": lambda x: x[[0, 1]],
    "list index of columns": lambda x: x[:, [0, 1]],
    "assigned by index": lambda x: put(x, torch.arange(2, device=x.device)),
    "assigned to one": lambda x: put(x, (0, 1)),
    "asked": lambda x: bool((x > 0).all()),
    "read": lambda x: x.sum().item(),
    "found": lambda x: x.nonzero(),
    "chosen": lambda x: x[x > 0],
}


@pytest.mark.parametrize("what", WAITS)
def test_waiting_is_noticed(what: str) -> None:
    there = torch.ones(3, 3, device="meta")
    with without_waiting(), pytest.raises((AssertionError, RuntimeError)):
        WAITS[what](there)


def test_what_needs_no_waiting_passes() -> None:
    there = torch.ones(3, 3, device="meta")
    with without_waiting():
        there[1:] = 0.0
        made = torch.where(there > 0, there[torch.arange(2, device="meta").repeat(2)[:3]], 1.0)
        assert (made + torch.full((), 2.0, device="meta")).shape == (3, 3)
