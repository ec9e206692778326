"""What a run says while it trains, also where another logger fails."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import lightning_fabric.loggers
import pytest
from small_runs import logged, small_settings

from likewise.runs.folder import RunFolder
from likewise.training.distributed import launch
from likewise.training.engine import prepare_run, train
from likewise.training.overview import overview


class Failing:
    """A logger that fails at one of its calls, as TensorBoard's does on a full disk."""

    told = 0

    def __init__(self, at: str) -> None:
        self.at = at
        self.fail_at("opening")

    def fail_at(self, moment: str) -> None:
        if moment == self.at:
            try:
                raise OSError("No space left on device")
            except OSError as error:
                raise ValueError("\n you tried to log 3.1 which is not supported") from error

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        del values
        Failing.told += 1
        if step >= 2:
            self.fail_at("writing")

    def finalize(self, status: str) -> None:
        del status
        self.fail_at("closing")


@pytest.mark.parametrize(("moment", "told"), [("opening", 0), ("writing", 2), ("closing", 5)])
def test_a_logger_that_fails_is_dropped_and_training_goes_on(
    moment: str,
    told: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def opened(**_: Any) -> Failing:
        return Failing(moment)

    monkeypatch.setattr(Failing, "told", 0)
    monkeypatch.setattr(lightning_fabric.loggers, "TensorBoardLogger", opened)
    run = train(small_settings("simclr", steps=4, loggers=("tensorboard",)), tmp_path / "run")
    assert logged(run.path, "step") == [1, 2, 3, 4]
    assert (run.model / "config.json").is_file()
    assert Failing.told == told  # four steps and the last look, as long as it can be told
    said = capsys.readouterr().err
    assert said.count("WARNING: logging to tensorboard stops (No space left on device)") == 1


def test_a_training_says_what_it_does_and_chance_stands_beside_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(small_settings("clip", steps=2, evaluate_every=1), tmp_path / "run")
    lines = capsys.readouterr().err.splitlines()
    first = dict(re.split("  +", line, maxsplit=1) for line in lines[:6])
    assert list(first) == ["train", "validate", "method", "weights", "device", "steps"]
    assert len({re.search("  +", line).end() for line in lines[:6]}) == 1  # type: ignore[union-attr]
    assert first["train"].startswith("48 rows of scenes:train=48")
    assert first["validate"] == "16 rows (generated)"
    assert first["method"] == (
        "clip: image encoder vit tiny (width 32, depth 2) at 32 px, "
        "text encoder clip tiny (width 32, depth 2, heads 2)"
    )
    assert re.fullmatch(r"[\d,]+ trained", first["weights"])
    assert first["device"] == "cpu, float32"
    assert first["steps"] == "2 of 16 rows (0.667 epochs)"
    assert "step 1: evaluating on 16 validation rows ..." in lines
    said = next(line for line in lines if line.startswith("step 1: validation: "))
    assert re.search(r"retrieval/image_to_text_r1 0\.\d{3} \(chance 0\.\d{3}\)", said)
    assert "chance_" not in said


def test_a_source_s_share_of_validation_rows_is_said(tmp_path: Path) -> None:
    settings = small_settings("simclr")
    data = dataclasses.replace(settings.data, source="scenes:train=20,validation=0,size=32")
    settings = dataclasses.replace(settings, data=data)
    session = prepare_run(settings, RunFolder(tmp_path / "run"), launch(settings.training), show=False)
    facts = overview(session.settings, session.splits, session.method, session.fabric, total_steps=6)
    said = r"\d rows \(drawn by seed 0, --data\.validation-share 0\.1\)"
    assert re.fullmatch(said, facts["validate"])
