"""Checkpoints: damage is recognized, the one before is used, and a full disk loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from small_runs import logged, small_settings

from likewise.errors import TrainingError
from likewise.runs.folder import RunFolder
from likewise.training import checkpoints
from likewise.training.engine import train


def saved(folder: Path, *steps: int) -> list[Path]:
    generator = torch.Generator().manual_seed(0)
    state = {"method": {"weight": torch.randn(200, 100, generator=generator)}}
    return [checkpoints.save_checkpoint(folder, step, state | {"step": step}) for step in steps]


def zero_a_block(path: Path) -> None:
    """As a failing disk does, in the middle of the weights."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(bytes(4096))


@pytest.mark.parametrize("content", [b"damaged", b"", bytes(range(200)), b"\x80\x02."])
def test_a_damaged_checkpoint_is_named(content: bytes, tmp_path: Path) -> None:
    damaged = tmp_path / "step-00000002.ckpt"
    damaged.write_bytes(content)
    with pytest.raises(checkpoints.DamagedCheckpoint, match=r"step-00000002\.ckpt is damaged") as caught:
        checkpoints.load_checkpoint(damaged)
    assert "weights_only" not in str(caught.value)


def test_code_in_a_checkpoint_is_neither_run_nor_advised(tmp_path: Path) -> None:
    torch.save({"step": Path}, tmp_path / "step-00000002.ckpt")
    with pytest.raises(checkpoints.DamagedCheckpoint, match="tensors and numbers alone") as caught:
        checkpoints.load_checkpoint(tmp_path / "step-00000002.ckpt")
    assert "weights_only" not in str(caught.value)


def test_zeroed_weights_are_recognized(tmp_path: Path) -> None:
    first, second = saved(tmp_path, 1, 2)
    zero_a_block(second)
    with pytest.raises(checkpoints.DamagedCheckpoint, match="checksum"):
        checkpoints.load_checkpoint(second)
    found = checkpoints.load_latest(tmp_path)
    assert found is not None
    assert found[0] == first
    assert found[2] is not None
    assert f"Going on from {first}: steps 2 to 2 are lost and are done again." in found[2]


def test_a_failing_disk_is_damage_and_a_closed_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = saved(tmp_path, 1, 2)
    read, error = torch.load, OSError(5, "Input/output error")

    def load(path: Path, **options: object) -> object:
        if path == second:
            raise error
        return read(path, **options)

    monkeypatch.setattr(torch, "load", load)
    found = checkpoints.load_latest(tmp_path)
    assert found is not None
    assert found[0] == first
    assert f"{second} cannot be read (Input/output error)" in str(found[2])
    error = PermissionError(13, "Permission denied")
    with pytest.raises(TrainingError, match=r"step-00000002\.ckpt cannot be read \(Permission denied\)"):
        checkpoints.load_latest(tmp_path)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = small_settings("simclr")
    run = train(settings, tmp_path / "run", show=False)
    newest = checkpoints.latest_checkpoint(run.checkpoints)
    assert newest is not None
    weights = checkpoints.load_checkpoint(newest)["method"]
    zero_a_block(newest)
    train(settings, run.path, resume=True)
    said = capsys.readouterr().err
    assert "step 4: WARNING" in said
    assert "steps 5 to 6 are lost and are done again" in said
    again = checkpoints.load_checkpoint(newest)["method"]
    assert all(torch.equal(value, weights[name]) for name, value in again.items())
    assert [int(step) for step in logged(run.path, "step")] == [1, 2, 3, 4, 5, 6]


def test_where_all_are_damaged_nothing_is_lost_silently(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path).checkpoints
    for path in saved(folder, 1, 2):
        zero_a_block(path)
    with pytest.raises(TrainingError, match=r"step-00000002.*step-00000001.*No checkpoint is left"):
        checkpoints.load_latest(folder)


@pytest.mark.parametrize("error", [OSError("No space left on device"), RuntimeError("unexpected pos 64")])
def test_a_full_disk_leaves_the_checkpoint_before(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = checkpoints.save_checkpoint(tmp_path, 1, {"step": 1})

    def full(state: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", full)
    said = r"step-00000002\.ckpt cannot be written .*the state after step 2 is not saved.*room.*step-00000001"
    with pytest.raises(TrainingError, match=f"(?i){said}"):
        checkpoints.save_checkpoint(tmp_path, 2, {"step": 2})
    assert list(tmp_path.iterdir()) == [kept]
