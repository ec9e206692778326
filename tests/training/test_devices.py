"""Which devices a training is given, and what is said where it cannot be."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import lightning_fabric
import pytest
import torch

from likewise.errors import ConfigError
from likewise.runs.training_options import TrainingConfig
from likewise.training.distributed import launch


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A machine with eight GPUs, and what Fabric is asked for on it."""
    given: dict[str, Any] = {}

    def fabric(**options: Any) -> Any:
        given.update(options)
        return SimpleNamespace(launch=lambda: None)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(lightning_fabric, "Fabric", fabric)
    for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return given


def strategy_of(asked: dict[str, Any]) -> str:
    launch(TrainingConfig(precision="float32"))
    return type(asked["strategy"]).__name__


def test_all_gpus_unless_told_otherwise(asked: dict[str, Any]) -> None:
    assert strategy_of(asked) == "DDPStrategy"
    assert asked["devices"] == "auto"


def test_torchrun_says_how_many(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert strategy_of(asked) == "DDPStrategy"
    assert asked["devices"] == 2


def test_a_notebook_starts_no_others(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert strategy_of(asked) == "str"
    assert asked["devices"] == 1


def test_processes_that_do_not_fit_are_a_matter_of_options(monkeypatch: pytest.MonkeyPatch) -> None:
    def fabric(**_: Any) -> Any:
        def refuse() -> None:
            raise ValueError("You set devices=8 but torchrun started 2")

        return SimpleNamespace(launch=refuse)

    monkeypatch.setattr(lightning_fabric, "Fabric", fabric)
    with pytest.raises(ConfigError, match=r"training\.accelerator auto, training\.devices auto: You set"):
        launch(TrainingConfig())
