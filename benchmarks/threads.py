"""Training beside other busy processes, with waiting threads that soon sleep and with threads that spin.

    python benchmarks/threads.py [--method clip] [--seconds 20] [--rounds 3]

Two trainings are kept ready, one of either kind. In each round both are timed alone and beside one and two
processes that keep a core busy each; they take turns, so that a change of the machine's load meets both.
Quoted are medians over the rounds, and ratios within a round.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tyro

from likewise.methods.catalog import find_method
from likewise.runs.folder import RunFolder
from likewise.runs.settings import default_settings
from likewise.training.distributed import launch
from likewise.training.engine import prepare_run

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
# What the runtimes do where nothing is set: about 300,000 turns, 200 ms.
KINDS = {"sleep": {}, "spin": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}}
BUSY = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    method: str = "clip"
    """The method."""
    data: str = "scenes:train=1024,validation=64"
    """The source."""
    batch_size: int = 64
    """Rows a step."""
    seconds: float = 20.0
    """Length of one measurement."""
    rounds: int = 3
    """Measurements of each kind."""
    worker: bool = False
    """Be one of the trainings: measure whenever a line comes in (the benchmark starts these itself)."""


def work(options: Options) -> None:
    """Train as often as a line of seconds comes in, and print rows per second."""
    settings = default_settings(find_method(options.method), options.data)
    training = dataclasses.replace(
        settings.training,
        batch_size=options.batch_size,
        steps=1_000_000,
        evaluate_every=0,
        save_every=0,
        loggers=(),
        accelerator="cpu",
    )
    settings = dataclasses.replace(settings, training=training)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        session = prepare_run(settings, run, launch(training), show=False)
        with session.display:
            session._update(session.loader.batch(0))  # warms up
            print("ready", flush=True)
            for line in sys.stdin:
                began, first = time.perf_counter(), session.step
                while time.perf_counter() - began < float(line):
                    session._update(session.loader.batch(session.step))
                    session.step += 1
                spent = time.perf_counter() - began
                print((session.step - first) * options.batch_size / spent, flush=True)


@contextmanager
def workers(options: Options) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """The two trainings, ready."""
    plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, __file__, "--worker", "--method", options.method, "--data", options.data]
    command += ["--batch-size", str(options.batch_size)]
    started = {
        kind: subprocess.Popen(
            command, env=plain | variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for kind, variables in KINDS.items()
    }
    try:
        for process in started.values():
            assert answer(process) == "ready"
        yield started
    finally:
        for process in started.values():
            process.kill()
            process.wait()


def answer(process: subprocess.Popen[str]) -> str:
    """The next line of a training."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise SystemExit("a training ended; its error stands above")
    return line


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Inside, so many processes keep a core busy each."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def rows_per_second(process: subprocess.Popen[str], seconds: float) -> float:
    """One measurement."""
    assert process.stdin is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return float(answer(process))


def main() -> None:
    """Measure and print a table."""
    options = tyro.cli(Options)
    if options.worker:
        work(options)
        return
    rates: dict[tuple[str, int], list[float]] = {(kind, count): [] for kind in KINDS for count in BUSY}
    with workers(options) as started:
        for _ in range(options.rounds):
            for count in BUSY:
                for kind, process in started.items():
                    with busy(count):
                        rates[kind, count].append(rows_per_second(process, options.seconds))

    def ratio(above: tuple[str, int], below: tuple[str, int]) -> float:
        pairs = zip(rates[above], rates[below], strict=True)
        return statistics.median(first / second for first, second in pairs)

    print(f"{options.method}, {options.batch_size} rows a step, {os.cpu_count()} cores\n")
    print("| busy processes | sleep, rows/s | of alone | spin, rows/s | of alone | sleep / spin |")
    print("|---|---|---|---|---|---|")
    for count in BUSY:
        cells = [
            cell
            for kind in KINDS
            for cell in (
                f"{statistics.median(rates[kind, count]):.1f}",
                f"{ratio((kind, count), (kind, 0)):.2f}",
            )
        ]
        print(f"| {count} | {' | '.join(cells)} | {ratio(('sleep', count), ('spin', count)):.2f} |")


if __name__ == "__main__":
    main()
