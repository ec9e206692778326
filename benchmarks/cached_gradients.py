"""What cached gradients cost and save: a CLIP step over a batch at once, and in pieces.

    python benchmarks/cached_gradients.py [--batch-size 512] [--micro-batch-size 64] [--rounds 5]

Each way runs in a process of its own, so that its growth of peak memory is its own; they take turns, and the
medians and their ratio are printed. One more forward pass is a third of a step, so about 1.33 is expected.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from likewise.methods.base import Step
from likewise.methods.catalog import find_method
from likewise.runs.folder import RunFolder
from likewise.runs.settings import default_settings
from likewise.step_random import StepRandom
from likewise.training.distributed import launch
from likewise.training.engine import prepare_run


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    batch_size: int = 512
    """Rows a step."""
    micro_batch_size: int = 64
    """Rows a piece."""
    rounds: int = 5
    """Pairs of processes."""
    steps: int = 3
    """Steps a process; the median counts."""
    alone: int | None = None
    """Used by the script itself: measure one way, with pieces of so many rows (0: the whole batch)."""


def peak_mib() -> float:
    """The process's greatest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(options: Options) -> None:
    """One way, alone in this process: prints seconds a step and growth of memory as JSON."""
    settings = default_settings(find_method("clip"), "scenes:train=1024,validation=32")
    training = dataclasses.replace(
        settings.training,
        batch_size=options.batch_size,
        micro_batch_size=options.alone or None,
        steps=options.steps + 1,
    )
    with tempfile.TemporaryDirectory() as folder:
        run = prepare_run(
            dataclasses.replace(settings, training=training),
            RunFolder(Path(folder) / "run"),
            launch(training),
            show=False,
        )
        batch = run.loader.batch(0)
        before = peak_mib()
        seconds = []
        for step in range(options.steps + 1):
            began = time.perf_counter()
            run.backward(batch, Step(StepRandom(0, step)))
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": statistics.median(seconds[1:]), "mib": peak_mib() - before}))


def main() -> None:
    """Take turns and print the table."""
    options = tyro.cli(Options)
    if options.alone is not None:
        measure(options)
        return
    ways = {"whole": 0, "pieces": options.micro_batch_size}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, rows in ways.items():
            words = [sys.executable, __file__, "--alone", str(rows), "--batch-size", str(options.batch_size)]
            done = subprocess.run(
                [*words, "--steps", str(options.steps)], check=True, capture_output=True, text=True
            )
            found[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
    print("| way | seconds a step | growth of peak memory, MiB |\n|---|---|---|")
    for name, lines in found.items():
        seconds, mib = (statistics.median(line[key] for line in lines) for key in ("seconds", "mib"))
        print(f"| {name} | {seconds:.2f} | {mib:.0f} |")
    ratios = [p["seconds"] / w["seconds"] for w, p in zip(found["whole"], found["pieces"], strict=True)]
    print(f"\npieces over whole, median of {options.rounds} rounds: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
