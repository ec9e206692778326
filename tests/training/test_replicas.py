"""Two replicas end together: each says why, and the exit code is the reason's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import SOURCE

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
