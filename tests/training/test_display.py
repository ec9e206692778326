"""What a run says while it trains, also where another logger fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning_fabric.loggers
import pytest
from small_runs import logged, small_settings

from likewise.training.engine import train


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
