"""`train` by the names of a method, a source and options."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from small_runs import SOURCE, small_settings

import likewise
from likewise.errors import ConfigError, DataError
from likewise.evaluation.context import Context
from likewise.runs.folder import RunFolder
from likewise.runs.open import open_data, open_model
from likewise.runs.settings import read_settings
from likewise.training import train

SMALL: dict[str, Any] = {
    "training__steps": 1,
    "training__batch_size": 16,
    "training__loggers": (),
    "image__architecture": "resnet",
    "image__width": 8,
    "image__depth": 10,
    "image__image_size": 32,
}


def test_one_call_trains_with_options_by_name(tmp_path: Path) -> None:
    run = likewise.train(
        method="simclr",
        data=SOURCE,
        out=tmp_path / "run",
        show=False,
        options={"training.seed": 3, "views.flip": 0.25},
        **SMALL,
    )
    settings = read_settings(run.config)
    assert (settings.method_name, settings.data.source) == ("simclr", SOURCE)
    assert (settings.training.steps, settings.training.seed, settings.training.loggers) == (1, 3, ())
    assert (settings.image.depth, settings.views.flip) == (10, 0.25)
    assert (run.model / "config.json").is_file()


def test_the_folder_is_named_after_the_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = train(method="simclr", data=SOURCE, show=False, **SMALL)
    assert run.path == Path("runs/simclr")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": "simclr", "data": SOURCE, "training__step": 1}, "did you mean 'training.steps'"),
        ({"method": "simclr", "data": SOURCE, "steps": 1}, "simclr has no option 'steps'"),
        (
            {"method": "simclr", "data": SOURCE, "training__steps": "one"},
            "training__steps is 'one'; expected a whole number",
        ),
        ({"method": "simclr"}, "--data is missing"),
        ({"data": SOURCE}, "train needs settings, or a method: one of byol, captioning, clip, entailment"),
        ({"settings": small_settings("simclr"), "data": SOURCE}, "not both"),
        ({"settings": small_settings("simclr"), "training__steps": 2}, "not both"),
        ({"settings": small_settings("simclr")}, "needs the run's folder"),
    ],
)
def test_calls_that_say_too_little_or_too_much(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        train(show=False, **given)


def test_everything_can_be_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = small_settings("simclr", steps=1)
    data = dataclasses.replace(
        settings.data, source="scenes:train=20,validation=0,size=32", validation_share=0.0
    )
    run = train(dataclasses.replace(settings, data=data), tmp_path / "run")
    summary = json.loads(run.data.read_text())
    assert summary["counts"] == {"train": 20, "validation": 0}
    assert summary["splits_from"] == "generated"
    said = capsys.readouterr().err
    assert "validate  no rows, so nothing is measured (--data.validation-share 0)" in said
    assert "evaluating" not in said
    assert not RunFolder(run.path).results.is_file()
    model = open_model(run.path, "cpu")
    splits, _ = open_data(model, run.path, None, needs=settings.method_type.needs)
    with pytest.raises(DataError, match="there is no validation part to measure on"):
        Context(model, splits).validation  # noqa: B018
