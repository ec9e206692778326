"""Kill a run at twenty random moments; the finished run must be bit-identical to one never killed.

    python benchmarks/resume.py [--method clip] [--kills 20]

The moments are uniform from the start of each process: they fall in imports, data preparation, steps and
checkpoint writing.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from side_by_side import train_command


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options."""

    method: str = "clip"
    """clip or simclr."""
    kills: int = 20
    """SIGKILLs."""
    steps: int = 1000
    """Steps of the run."""
    within: float | None = None
    """Kills fall within this share of the time that the whole run takes; by default 1.5 / kills, so that
    about three quarters of the time are spent before the last."""
    seed: int = 0
    """Seed of the moments."""


def command(options: Options, out: Path) -> list[str]:
    """A small run that saves often."""
    settings = {
        "out": out,
        "data": "scenes:train=512,validation=64,size=32",
        "image.image-size": 32,
        "image.architecture": "resnet",
        "image.width": 8,
        "training.batch-size": 32,
        "training.steps": options.steps,
        "training.save-every": 3,
        "training.evaluate-every": 500,
    }
    if options.method != "simclr":
        settings |= {"text.width": 32, "text.heads": 2}
    resume = ["--resume"] if (out / "config.toml").is_file() else []
    return [*train_command(options.method, settings), "--quiet", *resume]


def final_weights(run: Path) -> dict[str, torch.Tensor]:
    """The weights, averages and counts of the last checkpoint."""
    newest = sorted((run / "checkpoints").glob("step-*.ckpt"))[-1]
    state: dict[str, torch.Tensor] = torch.load(newest, weights_only=True)["method"]
    return state


def main() -> None:
    """Train once whole, once killed again and again; compare."""
    options = tyro.cli(Options)
    moments = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder) / "whole", Path(folder) / "cut"
        began = time.perf_counter()
        subprocess.run(command(options, whole), check=True)
        seconds = time.perf_counter() - began
        within = 1.5 / options.kills if options.within is None else options.within
        killed, seen = 0, []
        while killed < options.kills:
            process = subprocess.Popen(command(options, cut))
            time.sleep(moments.uniform(0, within) * seconds)
            if process.poll() is not None:
                print(
                    f"finished by itself after {killed} kills; raise --steps to place them all",
                    file=sys.stderr,
                )
                break
            process.kill()
            process.wait()
            killed += 1
            lines = (
                (cut / "metrics.jsonl").read_text().splitlines() if (cut / "metrics.jsonl").is_file() else []
            )
            seen.append(len(lines))
        subprocess.run(command(options, cut), check=True)
        expected, found = final_weights(whole), final_weights(cut)
        same = expected.keys() == found.keys() and all(
            torch.equal(expected[key], found[key]) for key in expected
        )
        model = "model/model.safetensors"
        same_model = (whole / model).read_bytes() == (cut / model).read_bytes()
    print(f"{options.method}: {killed} kills, {seconds:.0f} s when left alone; metrics lines: {seen}")
    print(f"checkpoint bit for bit the same: {same}; model file the same: {same_model}")
    sys.exit(0 if same and same_model else 1)


if __name__ == "__main__":
    main()
