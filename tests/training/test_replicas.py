"""Two replicas end together: each says why, and the exit code is the reason's."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small_runs import SOURCE, small_settings

from likewise.errors import ConfigError, DataError
from likewise.training import rank_checks

SMALL = "--image.image-size 32 --image.width 8 --image.architecture resnet --training.devices 2"
SMALL += " --training.batch-size 8 --training.precision float32 --training.steps 4"

ONE_FAILS = """
from likewise.collectives import rank
from likewise.errors import DataError
from likewise.training import setup as preparing

prepare = preparing.prepare

def fails(*given, **options):
    if rank() == 1:
        raise DataError("no such disk here")
    return prepare(*given, **options)

preparing.prepare = fails
"""

DISK_IS_FULL = """
import errno, torch

def save(state, file):
    raise OSError(errno.ENOSPC, "No space left on device")

torch.save = save
"""

STOPPED_WITH_A_SLOW_DISPLAY = """
import os, signal, time
from likewise.collectives import rank
from likewise.methods.image.simclr import SimCLR
from likewise.training.progress import Display

close = Display.__exit__

def stop(self, progress):
    if rank() == 0 and progress.step == 2:
        os.kill(os.getpid(), signal.SIGTERM)

def close_slowly(self, *about):
    if rank() == 0:
        time.sleep(7)  # the launcher looks after its processes every 5 seconds
    close(self, *about)

SimCLR.after_step, Display.__exit__ = stop, close_slowly
"""


DIES_WHILE_THE_FIRST_SAVES = """
import os, threading, time
from pathlib import Path
from likewise.training import session

save, saving = session.save_checkpoint, Path(__file__).with_name("saving")

def save_slowly(*given):
    saving.touch()
    time.sleep(3)
    return save(*given)

def die():
    while not saving.exists():
        time.sleep(0.01)
    os.kill(os.getpid(), 9)

session.save_checkpoint = save_slowly
if os.environ.get("LOCAL_RANK") == "1":
    threading.Thread(target=die, daemon=True).start()
"""

OTHER_STEPS = """
import os

if os.environ.get("LOCAL_RANK") == "1":
    sys.argv += ["--training.steps", "5"]
"""

WAITS_FOR_GOOD = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
import torch.distributed as dist
from likewise.training import watch
from likewise.training.signals import stop_signal

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{sys.argv[2]}", rank=rank, world_size=2)

def broadcast(value):
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]

watch._GRACE_SECONDS = 1.0
with watch.watched(SimpleNamespace(broadcast=broadcast, strategy=None)), stop_signal():
    if rank == 1:
        time.sleep(600)
    Path(__file__).with_name("waits").touch()
    dist.barrier()
"""


def trained_by_two(folder: Path, *words: str, changed: str = "") -> tuple[int, str]:
    """Exit code and standard error of `likewise train simclr` on two replicas, with something changed."""
    script = folder / "script.py"
    script.write_text(f"import sys\nfrom likewise.cli.main import main\n{changed}\nmain(sys.argv[1:])\n")
    given = [*SMALL.split(), "--data", SOURCE, "--out", str(folder / "run"), *words]
    done = subprocess.run(
        [sys.executable, str(script), "train", "simclr", *given],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stderr


def test_a_folder_that_cannot_be_made_ends_both(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, said = trained_by_two(tmp_path, "--out", str(tmp_path / "file"))
    line = f"likewise train: {tmp_path / 'file'} cannot hold a run (it is a file); name another --out."
    assert (code, said.splitlines()) == (2, [line, line])


def test_data_that_cannot_be_read_ends_both(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("image\nabsent.png\n")
    code, said = trained_by_two(tmp_path, "--data", str(tmp_path / "table.csv"))
    assert code == 3
    assert said.count("likewise train: 1 of 1 records") == 2
    assert "Traceback" not in said


def test_what_fails_on_one_ends_both(tmp_path: Path) -> None:
    code, said = trained_by_two(tmp_path, changed=ONE_FAILS)
    own, others = "no such disk here", "rank 1 failed: no such disk here"
    assert sorted(said.splitlines()) == [f"likewise train: {own}", f"likewise train: {others}"]
    assert code == 5  # the first one's, which started the other


@pytest.mark.slow
def test_a_checkpoint_that_cannot_be_written_ends_both(tmp_path: Path) -> None:
    code, said = trained_by_two(tmp_path, changed=DISK_IS_FULL)
    assert code == 5
    own, others = sorted(line for line in said.splitlines() if line.startswith("likewise train: "))
    assert re.search(r"step-0+4\.ckpt cannot be written \(.*No space left.*--resume from the start", own)
    assert others.startswith("likewise train: rank 0 failed: ")
    assert "Traceback" not in said


@pytest.mark.slow
def test_who_stops_waits_for_the_first_to_close_its_display(tmp_path: Path) -> None:
    code, said = trained_by_two(tmp_path, changed=STOPPED_WITH_A_SLOW_DISPLAY)
    assert code == 75, said
    assert said.count("stopped by SIGTERM after step 2") == 2


def test_a_rank_that_dies_while_the_first_saves_ends_it_and_is_named(tmp_path: Path) -> None:
    code, said = trained_by_two(tmp_path, changed=DIES_WHILE_THE_FIRST_SAVES)
    assert code == 5, said
    assert "likewise train: rank 1 is gone (signal 9), and the others cannot go on without it" in said
    assert "Traceback" not in said
    assert (tmp_path / "run/checkpoints/step-00000004.ckpt").is_file()


@pytest.mark.slow
def test_ranks_with_other_steps_are_refused(tmp_path: Path) -> None:
    code, said = trained_by_two(tmp_path, changed=OTHER_STEPS)
    line = "likewise train: rank 1 has other settings than rank 0: --training.steps is 5, not 4."
    assert code == 2
    assert said.count(line) == 2
    assert not (tmp_path / "run").exists()


def test_two_signals_end_a_wait_in_a_collective(tmp_path: Path) -> None:
    """Rank 1 lives, but never comes; Python's own handlers do not run in the wait."""
    (tmp_path / "script.py").write_text(WAITS_FOR_GOOD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    errors = [tmp_path / "first.txt", tmp_path / "second.txt"]
    ranks = []
    for number, file in enumerate(errors):
        words = [sys.executable, str(tmp_path / "script.py"), str(number), str(port)]
        with file.open("w") as stream:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1"}
            ranks.append(subprocess.Popen(words, stderr=stream, env=environment))
    while not (tmp_path / "waits").exists():
        assert ranks[0].poll() is None, errors[0].read_text()
        time.sleep(0.05)
    for _ in range(2):
        time.sleep(0.2)
        ranks[0].send_signal(signal.SIGTERM)
    assert [rank.wait(60) for rank in ranks] == [75, 5]
    assert "stopped by a signal while waiting for another rank" in errors[0].read_text()
    assert "rank 0 is gone" in errors[1].read_text()


def test_ranks_that_read_other_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    read = [{"train": "a", "validation": "b"}, {"train": "c", "validation": "b"}]
    monkeypatch.setattr(rank_checks, "exchange", lambda _: [json.dumps(one) for one in read])
    splits: Any = SimpleNamespace(summary={"fingerprint": read[0]})
    with pytest.raises(DataError, match="rank 1 has read other data than rank 0: their train rows"):
        rank_checks.check_same_data(splits)


def test_ranks_with_other_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch size that only one names, too; not the device."""
    first, moved = small_settings("simclr"), small_settings("simclr", accelerator="cpu")
    fabric: Any = SimpleNamespace(broadcast=lambda own: (first, False))
    monkeypatch.setattr(rank_checks, "world_size", lambda: 2)
    monkeypatch.setattr(rank_checks, "exchange", lambda own: ["", own])
    rank_checks.check_same_settings(moved, False, fabric)
    for own, resume, said in (
        (small_settings("simclr", steps=9), False, r"--training\.steps is 9, not 6"),
        (small_settings("simclr", batch_size=None), False, r"--training\.batch-size"),
        (small_settings("clip"), False, "the method is clip, not simclr"),
        (first, True, "resume is True, not False"),
    ):
        with pytest.raises(ConfigError, match=f"rank 1 has other settings than rank 0: {said}"):
            rank_checks.check_same_settings(own, resume, fabric)
