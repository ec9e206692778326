"""What happens to a run from outside: a full disk, a removed folder, a kill while it finishes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import RESNET, logged, small_settings, stopped_after

from likewise.errors import NonFiniteLoss, TrainingError
from likewise.methods.base import LossOutput
from likewise.methods.image.simclr import SimCLR
from likewise.runs.folder import RunFolder
from likewise.training import session as sessions
from likewise.training.checkpoints import latest_checkpoint, load_checkpoint, write_checkpoint
from likewise.training.distributed import launch
from likewise.training.engine import prepare_run, train
from likewise.training.finite import check_finite
from likewise.training.signals import stop_signal


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_for_metrics_loses_no_steps(tmp_path: Path) -> None:
    settings = small_settings("simclr", log_every=3, save_every=1000)
    run = RunFolder(tmp_path / "run")
    session = prepare_run(settings, run, launch(settings.training), show=False)
    run.metrics.symlink_to("/dev/full")
    said = r"metrics\.jsonl was not written \(No space left on device\); make room .*after step 3; the state"
    with pytest.raises(TrainingError, match=said), session.display, stop_signal() as signal:
        session.loop(signal)
    newest = latest_checkpoint(run.checkpoints)
    assert newest is not None
    assert newest.name == "step-00000003.ckpt"
    run.metrics.unlink()
    train(settings, run.path, resume=True, show=False)
    assert logged(run.path, "step") == [6]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_for_the_last_metrics_is_said_after_the_model_is_written(tmp_path: Path) -> None:
    settings = small_settings("simclr", log_every=1000, steps=2)
    run = RunFolder(tmp_path / "run")
    session = prepare_run(settings, run, launch(settings.training), show=False)
    run.metrics.symlink_to("/dev/full")
    with session.display, stop_signal() as signal:
        session.loop(signal)
        with pytest.raises(TrainingError, match=r"not written.*after the last step; the model is in"):
            session.finish()
    assert (run.model / "model.safetensors").is_file()


def test_a_run_that_began_without_positions_is_not_resumed_with_them(tmp_path: Path) -> None:
    settings = small_settings("tcl", steps=4)
    settings = dataclasses.replace(settings, image=dataclasses.replace(settings.image, **RESNET))
    with stopped_after(2, "tcl"):
        train(settings, tmp_path / "run", show=False)
    newest = latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert newest is not None
    state = load_checkpoint(newest)
    names = [name for name in state["method"] if name.endswith("bridge.positions")]
    assert names
    for name in names:  # as an older version wrote it
        del state["method"][name]
    write_checkpoint(newest, state)
    with pytest.raises(
        TrainingError, match=r"an older version began this run; train anew.*bridge\.positions"
    ):
        train(settings, tmp_path / "run", resume=True, show=False)


@pytest.mark.parametrize("step", [2, 6])
def test_a_run_that_is_removed_while_it_trains_is_not_called_trained(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def remove(self: SimCLR, progress: Any) -> None:
        if progress.step == step:
            shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(SimCLR, "after_step", remove)
    with pytest.raises(TrainingError, match=rf"run was removed or renamed .*after step {step}\."):
        train(small_settings("simclr"), tmp_path / "run", show=False)
    assert not (tmp_path / "run").exists()


def test_a_kill_in_the_last_evaluation_loses_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = small_settings("simclr")
    whole = train(settings, tmp_path / "whole", show=False)

    def kill(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    figures = sessions.embedding_figures
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "validation_figures", kill)
        patch.setattr(sessions, "embedding_figures", lambda *given: (figures(*given)[0], "it collapses"))
        with pytest.raises(KeyboardInterrupt):
            train(settings, tmp_path / "cut", show=False)
    cut = train(settings, tmp_path / "cut", resume=True)
    assert "step 6: WARNING: it collapses" in capsys.readouterr().err
    (expected,), (found,) = (
        [line for line in run.read_metrics() if line["kind"] == "evaluation"] for run in (whole, cut)
    )
    assert json.dumps(expected) == json.dumps(found)
    assert any(name.startswith("compared/") for name in found)


def test_a_gradient_that_is_not_finite_is_not_called_the_loss(tmp_path: Path) -> None:
    loss = LossOutput(torch.tensor(2.07944), {})
    with pytest.raises(NonFiniteLoss, match=r"^the gradient norm became nan \(loss 2\.07944\) at step 3"):
        check_finite([(3, loss, torch.tensor(float("nan")))], tmp_path)
