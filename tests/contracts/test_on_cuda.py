"""Every method on a CUDA device, as on the processor and without waiting. Skipped where there is none."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_methods import ALL, METHODS, THEY_COUNT, build
from small_runs import small_settings

import likewise
from likewise.catalog import methods
from likewise.draw import Draw
from likewise.errors import Interrupted
from likewise.methods.method import Method, Progress
from likewise.training.engine import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

DEVICE = "cuda"


@pytest.fixture(autouse=True)
def exact_products() -> Iterator[None]:
    """No TF32; and torch's watch over waiting ends with the test that asked for it."""
    libraries = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [library.allow_tf32 for library in libraries]
    for library in libraries:
        library.allow_tf32 = False
    yield
    for library, allowed in zip(libraries, before, strict=True):
        library.allow_tf32 = allowed
    watch("default")


def watch(mode: str) -> None:
    """From now on torch lets synchronizing calls pass ("default") or refuses them ("error")."""
    if DEVICE == "cuda":
        torch.cuda.set_sync_debug_mode(mode)


def losses(name: str, device: str, *, watched: bool = False) -> list[float]:
    """Of three steps of plain gradient descent; with `watched` torch refuses to wait in the last."""
    method, loader = build(name)
    method.to(device)
    found = []
    for number in range(3):
        batch = loader.batch(number).to(device)
        watch("error" if watched and number == 2 else "default")
        total = method.objective(method.embed(batch, Draw(0, number))).total
        total.backward()
        with torch.no_grad():
            for weight in method.parameters():
                if weight.grad is not None:
                    weight -= 0.01 * weight.grad
                    weight.grad = None
        method.after_step(Progress(number + 1, 3))
        watch("default")
        found.append(float(total.detach()))
    return found


@pytest.mark.parametrize("name", ALL)
def test_learns_as_on_the_processor(name: str) -> None:
    assert losses(name, DEVICE) == pytest.approx(losses(name, "cpu"), rel=1e-2)


@pytest.mark.parametrize("name", [name for name in ALL if name not in THEY_COUNT])
def test_a_step_does_not_wait(name: str) -> None:
    losses(name, DEVICE, watched=True)


@pytest.mark.parametrize("name", METHODS)
def test_trains_resumes_and_is_used_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small_settings(name, precision="auto", accelerator=DEVICE)
    train(settings, tmp_path / "whole", show=False)

    after_step = methods()[name].after_step

    def stop_after_three(self: Method, progress: Progress) -> None:
        after_step(self, progress)
        if progress.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(methods()[name], "after_step", stop_after_three)
        with pytest.raises(Interrupted):
            train(settings, tmp_path / "cut", show=False)
    train(settings, tmp_path / "cut", resume=True, show=False)

    picture = torch.randint(0, 256, (3, 40, 32), dtype=torch.uint8)
    whole, cut = (likewise.load(tmp_path / run, device=DEVICE) for run in ("whole", "cut"))
    elsewhere = likewise.load(tmp_path / "whole", device="cpu")
    expected = torch.as_tensor(whole.encode_images([picture]))
    for model in (cut, elsewhere):
        # Sums on a GPU come in any order, and rounding grows over six steps.
        torch.testing.assert_close(
            torch.as_tensor(model.encode_images([picture])), expected, rtol=0.05, atol=0.05
        )
