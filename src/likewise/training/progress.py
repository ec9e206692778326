"""The display of a training: the terminal, metrics.jsonl, TensorBoard, Weights & Biases."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import IO, Any

from torch import Tensor

from likewise.atomic_files import failure_to_write
from likewise.collectives import rank
from likewise.errors import ConfigError
from likewise.evaluation.registry import figure_of
from likewise.messages import first_line, printed_line
from likewise.methods.base import INFORMATION, LossOutput, Progress
from likewise.runs.folder import RunFolder
from likewise.runs.training_options import TrainingConfig

__all__ = ["Display", "check_loggers"]

_PLAIN_LINE_SECONDS = 15.0


class Display:
    """Shows and writes the loss, rows per second, the share of time waiting for data, and the time left.

    Args:
        run: has metrics.jsonl.
        options: training options.
        batch_size: rows of a step, over all processes.
        total_steps: of the whole run.
        show: write to the terminal: a progress bar, or a line now and then if it is not interactive.
    """

    def __init__(
        self, run: RunFolder, options: TrainingConfig, *, batch_size: int, total_steps: int, show: bool
    ) -> None:
        self._run = run
        self._options = options
        self._batch_size = batch_size
        self._total_steps = total_steps
        self._show = show
        self._writes = rank() == 0
        self._file: IO[str] | None = None
        self.failure: str | None = None
        """Why metrics.jsonl cannot be written; the training saves its state and ends."""
        self._loggers: dict[str, Any] = {}
        self._bar: Any = None
        self._task: Any = None
        self._step = 0
        self._since = _Mark()
        self._next_line = 0.0
        self._warned_of_no_gradient = False

    def __enter__(self) -> Display:
        if self._writes:
            self._file = self._run.metrics.open("a", encoding="utf-8")
            for name in self._options.loggers:
                with self._dropping(name):
                    self._loggers[name] = _logger(name, self._run)
        if self._show:
            self._open_bar()
        self._since = _Mark(step=self._step)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        for name, logger in list(self._loggers.items()):
            with self._dropping(name):
                logger.finalize("success")
        self._loggers = {}
        if self._file is not None:
            with suppress(OSError):  # what a full disk did not take is tried again
                self._file.close()
            self._file = None

    def start(self, facts: Mapping[str, str]) -> None:
        """Show what is about to be trained."""
        width = max(map(len, facts))
        for name, value in facts.items() if self._show else ():
            print(f"{name:<{width}}  {value}", file=sys.stderr)

    def resumed(self, step: int) -> None:
        """Count from `step` on."""
        self._step = step
        if self._show and step:
            print(f"going on after step {step} of {self._total_steps}", file=sys.stderr)

    def wants(self, step: int) -> bool:
        """Count a step; return whether it is one to log."""
        self._step = step
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        return step % self._options.log_every == 0 or step == self._total_steps

    def step(
        self, progress: Progress, loss: LossOutput, norm: Tensor, rate: float, waited_seconds: float
    ) -> None:
        """Log the newest loss, and the speed since the last call."""
        step = progress.step
        now = _Mark(step=step, waited=waited_seconds)
        seconds = max(now.at - self._since.at, 1e-9)
        values = {
            "loss": float(loss.total),
            **{name: float(value) for name, value in loss.parts.items()},
            "gradient_norm": float(norm),
            "learning_rate": rate,
            "images_per_second": (step - self._since.step) * self._batch_size / seconds,
            "waiting_share": (waited_seconds - self._since.waited) / seconds,
            "seconds": seconds,
        }
        self._since = now
        self._write("train", progress, values)
        self._show_step(step, values, list(loss.parts))
        if values["gradient_norm"] == 0 and not self._warned_of_no_gradient:
            self._warned_of_no_gradient = True
            self.warn(
                step,
                "the gradient is exactly 0: this step taught nothing. If this goes on, check the batch size, "
                "the data and the method's options.",
            )

    def evaluating(self, step: int, num_rows: int) -> None:
        """Show that an evaluation has begun."""
        text = f"evaluating on {num_rows:,} validation rows ..."
        if self._bar is not None:
            self._bar.update(self._task, numbers=text)
        elif self._show:
            self._print(f"step {step}: {text}")

    def evaluation(
        self, progress: Progress, figures: dict[str, dict[str, Any]], warning: str | None, seconds: float
    ) -> None:
        """Log figures of the validation split; the time they took does not count as training."""
        values = {
            f"{task}/{name}": value
            for task, of_task in figures.items()
            for name, value in of_task.items()
            if task in ("compared", "retained") or name.startswith("num_") or figure_of(task, name).curve
        }
        self._since.at += seconds
        self._write("evaluation", progress, values)
        if self._show:
            self._print(f"step {progress.step}: validation: {', '.join(_with_chance(figures))}")
        if warning is not None:
            self.warn(progress.step, warning)

    def warn(self, step: int, warning: str) -> None:
        """Show a warning."""
        self.note(step, f"WARNING: {warning}")

    def note(self, step: int, words: str) -> None:
        """Show what a user should know of a step."""
        if self._show:
            self._print(f"step {step}: {words}")

    def _show_step(self, step: int, values: dict[str, float], parts: list[str]) -> None:
        if not self._show:
            return
        listed = ", ".join(
            f"{name} {values[name]:.3f}{_information(name, values)}"
            for name in parts
            if not name.endswith(INFORMATION)
        )
        text = (
            f"loss {values['loss']:.3f}{f' ({listed})' if len(parts) > 1 else ''}  "
            f"{values['images_per_second']:.0f} rows/s  waiting {100 * values['waiting_share']:.1f} %"
        )
        if self._bar is not None:
            self._bar.update(self._task, numbers=text)
        elif time.perf_counter() >= self._next_line:
            self._next_line = time.perf_counter() + _PLAIN_LINE_SECONDS
            rows_left = (self._total_steps - step) * self._batch_size
            left = timedelta(seconds=round(rows_left / values["images_per_second"]))
            self._print(f"step {step} of {self._total_steps}: {text}  {left} left")

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(printed_line(line), markup=False, highlight=False)
        else:
            print(printed_line(line), file=sys.stderr, flush=True)

    def _write(self, kind: str, progress: Progress, values: dict[str, float]) -> None:
        if not self._writes:
            return
        line = {"kind": kind, "step": progress.step, "epoch": round(progress.epoch, 4), **values}
        assert self._file is not None, "the display is not open"
        try:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            written = failure_to_write(self._run.metrics, error)
            self.failure = self.failure or f"{written} Its {kind} line is missing. Training stopped"
        for name, logger in list(self._loggers.items()):
            with self._dropping(name):
                logger.log_metrics(
                    {f"{kind}/{figure}": value for figure, value in values.items()}, progress.step
                )

    @contextmanager
    def _dropping(self, name: str) -> Iterator[None]:
        """Drop a logger that fails inside: training goes on, and metrics.jsonl has everything."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - another library's logger may raise anything
            self._loggers.pop(name, None)
            reason = first_line(
                error.__cause__ or error
            )  # TensorBoard's own message always blames the number
            self.warn(self._step, f"logging to {name} stops ({reason}); metrics.jsonl goes on.")

    def _open_bar(self) -> None:
        if not sys.stderr.isatty():
            return
        from rich import progress as rich
        from rich.console import Console

        self._bar = rich.Progress(
            rich.TextColumn("training"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.fields[numbers]}"),
            console=Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._total_steps, completed=self._step, numbers="")


def _information(name: str, values: Mapping[str, float]) -> str:
    """The bound on mutual information that a contrastive loss stands for, if it is known."""
    bound = values.get(f"{name}{INFORMATION}")
    return "" if bound is None else f" (information ≥ {bound:.2f})"


def _with_chance(figures: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The main figures of an evaluation, each with its chance level; the curves where there are none."""
    known = [
        (f"{task}/{name}", value, figure, figure.chance_in(of_task))
        for task, of_task in figures.items()
        if task not in ("compared", "retained")  # the warning, and a line of its own, say them
        for name, value in of_task.items()
        if (figure := figure_of(task, name)).curve and isinstance(value, float)
    ]
    main = [entry for entry in known if entry[2].headline is not None]
    return [
        f"{name} {value:.3f}" + ("" if chance is None else f" (chance {chance:.3f})")
        for name, value, _, chance in main or known
    ]


class _Mark:
    """A moment: the clock, the step, and the seconds spent waiting for data until then."""

    def __init__(self, step: int = 0, waited: float = 0.0) -> None:
        self.at = time.perf_counter()
        self.step = step
        self.waited = waited


def check_loggers(names: Sequence[str]) -> None:
    """Reject loggers that are not installed, before a run begins.

    Raises:
        ConfigError: Weights & Biases is not installed.
    """
    if "wandb" in names and importlib.util.find_spec("wandb") is None:
        raise ConfigError("--training.loggers names wandb, which is not installed; try pip install wandb.")


def _logger(name: str, run: RunFolder) -> Any:
    if name == "tensorboard":
        from lightning_fabric.loggers import TensorBoardLogger

        return TensorBoardLogger(root_dir=run.path, name="tensorboard", version="")
    import wandb  # type: ignore[import-not-found,unused-ignore]

    return _Wandb(wandb.init(project="likewise", name=run.path.name, dir=str(run.path)))


class _Wandb:
    """Weights & Biases with the two functions of a Fabric logger."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def finalize(self, status: str) -> None:
        del status
        self._run.finish()
