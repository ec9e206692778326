"""The engine's own overhead: its step against bare forward, backward and optimizer; its waiting for data.

    python benchmarks/engine.py [--method clip] [--data SOURCE] [--rounds 5] [--steps 20]

Both run in one process on the same weights. The bare loop finds its batches in memory, already made, and
does nothing but embed, compare, go back and step. The engine's loop makes its batches in its thread, clips
gradients, checks that the loss is finite and writes metrics.jsonl. They take turns, round by round; the
ratio is taken within a round, and the median over rounds is quoted.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from likewise.methods.base import Step
from likewise.methods.catalog import find_method
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, default_settings
from likewise.step_random import StepRandom
from likewise.training.distributed import launch
from likewise.training.engine import prepare_run
from likewise.training.optimizers import learning_rate
from likewise.training.session import Session


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    method: str = "clip"
    """clip or simclr."""
    data: str = "scenes:train=4096,validation=64"
    """The source."""
    image_size: int = 64
    """Side of the pictures in pixels."""
    batch_size: int = 128
    """Rows a step."""
    rounds: int = 5
    """Pairs of measurements."""
    steps: int = 20
    """Steps of each measurement."""


def bare_seconds(session: Session, batches: list[Any]) -> float:
    """Seconds of the arithmetic alone, the batches at hand."""
    began = time.perf_counter()
    for batch in batches:
        for group in session.optimizer.param_groups:
            group["lr"] = learning_rate(session.step, session.total_steps, session.settings.training)
        session.backward(batch, Step(StepRandom(0, session.step), session.progress))
        session.optimizer.step()
        session.optimizer.zero_grad(set_to_none=True)
    return time.perf_counter() - began


def engine_seconds(session: Session, steps: int) -> tuple[float, float]:
    """Seconds of the engine's loop for as many steps, and the share it waited for data."""
    lines_before = len(session.run.metrics.read_text().splitlines()) if session.run.metrics.is_file() else 0
    session.total_steps = session.step + steps
    began = time.perf_counter()
    session.loop(lambda failure: None)
    seconds = time.perf_counter() - began
    lines = [json.loads(line) for line in session.run.metrics.read_text().splitlines()[lines_before:]]
    spent = sum(line["seconds"] for line in lines)
    waited = sum(line["waiting_share"] * line["seconds"] for line in lines)
    return seconds, waited / spent


def settings_of(options: Options) -> Settings[Any]:
    """Nothing but the loop: no evaluation, no checkpoints within the measurement."""
    settings = default_settings(find_method(options.method), options.data, image_size=options.image_size)
    training = dataclasses.replace(
        settings.training,
        batch_size=options.batch_size,
        steps=options.steps * (options.rounds + 1),
        evaluate_every=0,
        log_every=1,
        save_every=0,
    )
    return dataclasses.replace(settings, training=training)


def main() -> None:
    """Measure and print a table."""
    options = tyro.cli(Options)
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(options)
        session = prepare_run(
            settings, RunFolder(Path(folder) / "run"), launch(settings.training), show=False
        )
        batches = [session.loader.batch(step) for step in range(options.steps)]
        bare_seconds(session, batches[:3])  # warms the kernels up
        rows = []
        for _ in range(options.rounds):
            bare = bare_seconds(session, batches)
            with session.display:
                engine, waiting = engine_seconds(session, options.steps)
            rows.append((bare, engine, engine / bare, waiting))
    print("| round | bare, s | engine, s | ratio | waiting for data |\n|---|---|---|---|---|")
    for number, (bare, engine, ratio, waiting) in enumerate(rows, start=1):
        print(f"| {number} | {bare:.2f} | {engine:.2f} | {ratio:.3f} | {waiting:.2%} |")
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"| median | {medians[0]:.2f} | {medians[1]:.2f} | {medians[2]:.3f} | {medians[3]:.2%} |")
    print(
        f"\n{options.method}, {options.batch_size} rows of {options.image_size} px, "
        f"{torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
