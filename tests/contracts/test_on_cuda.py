"""Every method on a CUDA device, as on the processor and without waiting. Skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small_methods import ALL, METHODS, STEP, THEY_COUNT, build, float64_views
from small_runs import logged, small_settings, stopped_after

import likewise
from likewise.methods.base import Progress, Step
from likewise.step_random import StepRandom
from likewise.training.engine import train

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # Each is said once a process, and warnings are errors here.
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),
    pytest.mark.filterwarnings("ignore:Please use the new API settings"),
]


@pytest.fixture(autouse=True)
def watch_ends() -> Iterator[None]:
    """torch's watch over waiting ends with the test that asked for it."""
    yield
    torch.cuda.set_sync_debug_mode("default")


def losses(name: str, device: str, *, watched: bool = False) -> list[float]:
    """Of three steps of plain gradient descent in float64; with `watched` torch refuses to wait in the
    last."""
    method, loader = build(name)
    method.double().to(device)
    found = []
    for number in range(3):
        batch = loader.batch(number).to(device)
        torch.cuda.set_sync_debug_mode("error" if watched and number == 2 else "default")
        total = method.objective(method.embed(batch, Step(StepRandom(0, number))), STEP).total
        total.backward()
        with torch.no_grad():
            for weight in method.parameters():
                if weight.grad is not None:
                    weight -= 0.01 * weight.grad
                    weight.grad = None
        method.after_step(Progress(number + 1, 3))
        torch.cuda.set_sync_debug_mode("default")
        found.append(float(total.detach()))
    return found


@pytest.mark.parametrize("name", ALL)
def test_learns_as_on_the_processor(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    float64_views(monkeypatch)
    # Views are made in float32 and differ by its rounding; TCL's twins multiply in bfloat16 where that is
    # native.
    tolerance = 1e-2 if name.startswith("tcl") else 1e-4
    assert losses(name, "cuda") == pytest.approx(losses(name, "cpu"), rel=tolerance)


@pytest.mark.parametrize("name", [name for name in ALL if name not in THEY_COUNT])
def test_a_step_does_not_wait(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    float64_views(monkeypatch)
    losses(name, "cuda", watched=True)


@pytest.mark.parametrize("name", METHODS)
def test_trains_resumes_and_is_used_elsewhere(name: str, tmp_path: Path) -> None:
    settings = small_settings(name, precision="auto", accelerator="cuda", devices=1)
    train(settings, tmp_path / "whole", show=False)

    with stopped_after(3, name):
        train(settings, tmp_path / "cut", show=False)
    written = len(logged(tmp_path / "cut", "loss"))
    train(settings, tmp_path / "cut", resume=True, show=False)

    whole, cut = (logged(tmp_path / run, "loss") for run in ("whole", "cut"))
    assert written == 3  # so the resumed part began with step 4
    # Sums on a GPU come in any order, and rounding grows from step to step.
    assert cut == pytest.approx(whole, rel=0.05, abs=0.01)
    picture = torch.randint(0, 256, (3, 40, 32), generator=torch.Generator().manual_seed(0))
    there, here = (
        torch.as_tensor(likewise.load(tmp_path / "whole", device=device).encode_images([picture.byte()]))
        for device in ("cuda", "cpu")
    )
    torch.testing.assert_close(there.cpu(), here, rtol=1e-2, atol=2e-3)  # cuDNN's default is TF32
