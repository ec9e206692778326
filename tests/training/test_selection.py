"""The model has the weights of the best evaluation by a stated figure."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import small_settings, stopped_after
from torch import nn

from likewise.encoders import ImageEncoder, ImageEncoderConfig
from likewise.errors import ConfigError
from likewise.model import load
from likewise.networks.image import ImageNetwork
from likewise.runs.folder import RunFolder
from likewise.training.engine import train
from likewise.training.selection import Selection


def small_network() -> ImageNetwork:
    return ImageNetwork(
        ImageEncoder.build(ImageEncoderConfig(image_size=16, width=32, depth=1, patch_size=8))
    )


def fill(network: nn.Module, value: float) -> None:
    for weight in network.parameters():
        nn.init.constant_(weight, value)


def values(network: nn.Module) -> set[float]:
    return {float(weight.detach().flatten()[0]) for weight in network.parameters()}


@pytest.mark.parametrize(("lower", "best"), [(False, 3), (True, 4)])
def test_the_best_is_kept_and_of_equal_ones_the_later(lower: bool, best: int, tmp_path: Path) -> None:
    run, network = RunFolder(tmp_path), small_network()
    selection = Selection(run, "task", "figure", lower=lower)
    for step, value in ((1, 0.5), (2, 0.7), (3, 0.7), (4, 0.1), (5, None), (6, math.nan)):
        fill(network, float(step))
        selection.consider(step, {} if value is None else {"task": {"figure": value}}, network)
    assert values(selection.network(network)) == {float(best)}
    assert values(network) == {6.0}
    assert json.loads(run.selection.read_text())["step"] == best


def test_a_resumed_training_forgets_what_comes_later(tmp_path: Path) -> None:
    run, network = RunFolder(tmp_path), small_network()
    fill(network, 7.0)
    Selection(run, "task", "figure", lower=False).consider(7, {"task": {"figure": 0.9}}, network)
    fill(network, 1.0)
    for step, kept in ((7, 7.0), (6, 1.0)):
        selection = Selection(run, "task", "figure", lower=False)
        selection.restore(step)
        assert values(selection.network(network)) == {kept}


def settings_of(**training: Any) -> Any:
    return small_settings("dann", steps=6, evaluate_every=2, select="transfer.target_accuracy", **training)


def test_the_model_is_the_chosen_one_also_when_resumed(tmp_path: Path) -> None:
    whole = train(settings_of(), tmp_path / "whole", show=False)
    lines = [line for line in whole.read_metrics() if line["kind"] == "evaluation"]
    assert [line["step"] for line in lines] == [2, 4, 6]
    chosen = json.loads(whole.selection.read_text())
    best = max(lines, key=lambda line: (line["transfer/target_accuracy"], line["step"]))
    assert chosen == {
        "by": "transfer.target_accuracy",
        "step": best["step"],
        "value": best["transfer/target_accuracy"],
    }
    assert whole.read_results().own["transfer"]["target_accuracy"] == chosen["value"]
    with stopped_after(3, "dann"):
        train(settings_of(), tmp_path / "stopped", show=False)
    again = train(settings_of(), tmp_path / "stopped", resume=True, show=False)
    first, second = (load(run.path).network.state_dict() for run in (whole, again))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert json.loads(again.selection.read_text()) == chosen


def test_the_choice_is_told_and_one_by_target_labels_is_called_a_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bound = "reads the target's labels: the model is a bound"
    for select, is_bound in (("transfer.target_accuracy", True), ("transfer.entropy", False)):
        run = train(small_settings("dann", steps=1, select=select), tmp_path / select)
        said = capsys.readouterr().err
        chosen = json.loads(run.selection.read_text())
        assert f"the weights after step 1, chosen by {select} ({chosen['value']:.4g})" in said
        assert (bound in said) is is_bound


def test_a_figure_that_is_not_measured_is_refused(tmp_path: Path) -> None:
    for method, select, said in (
        ("simclr", "transfer.source_accuracy", "measures no such figure"),
        ("dann", "transfer.sorce_accuracy", "did you mean 'transfer.source_accuracy'"),
    ):
        with pytest.raises(ConfigError, match=f"--training.select.*{said}"):
            train(small_settings(method, select=select), tmp_path / method, show=False)


def test_a_default_that_cannot_be_measured_leaves_the_last_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = small_settings("dann", steps=1)
    data = dataclasses.replace(
        settings.data, validation_share=0.0, source="scenes:train=48,validation=0,size=32"
    )
    target = "scenes:train=48,validation=0,size=32,style=sketch"
    run = train(
        dataclasses.replace(settings, data=dataclasses.replace(data, target=target)), tmp_path / "run"
    )
    assert (run.path / "model").is_dir()
    assert not run.selection.exists()
    assert "the last weights are kept" in capsys.readouterr().err
