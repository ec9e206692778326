"""What a run says while it trains: the terminal, metrics.jsonl, TensorBoard."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import IO, Any

from torch import Tensor

from likewise.collectives import rank
from likewise.errors import ConfigError
from likewise.messages import first_line
from likewise.methods.base import LossOutput
from likewise.runs.folder import RunFolder
from likewise.runs.training_options import TrainingConfig

__all__ = ["Display", "check_loggers"]

_PLAIN_LINE_SECONDS = 15.0
_CURVES = (
    "_r1",
    "_r5",
    "_r10",
    "accuracy",
    "r_precision",
    "map_at_r",
    "deviation",
    "effective_rank",
    "alignment",
    "uniformity",
)


class Display:
    """Loss parts, rows a second, share of time waiting for data, time left.

    Args:
        run: where metrics.jsonl goes.
        options: of training.
        batch_size: rows a step, over all replicas together.
        total_steps: of the whole run.
        show: write to the terminal; a live bar on a screen, a line now and then in a log.
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
        self._loggers: dict[str, Any] = {}
        self._bar: Any = None
        self._task: Any = None
        self._step = 0
        self._since = _Mark()
        self._next_line = 0.0
        self._said_no_gradient = False

    def __enter__(self) -> Display:
        if self._writes:
            self._file = self._run.metrics.open("a", encoding="utf-8")
            for name in self._options.loggers:
                with self._does_without(name):
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
            with self._does_without(name):
                logger.finalize("success")
        self._loggers = {}
        if self._file is not None:
            self._file.close()
            self._file = None

    def resumed(self, step: int) -> None:
        """Start counting at `step`."""
        self._step = step
        if self._show and step:
            print(f"going on after step {step} of {self._total_steps}", file=sys.stderr)

    def wants(self, step: int) -> bool:
        """Count a step, and say whether it is one to be told in full."""
        self._step = step
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        return step % self._options.log_every == 0 or step == self._total_steps

    def step(
        self, step: int, epoch: float, terms: LossOutput, norm: Tensor, rate: float, waited_seconds: float
    ) -> None:
        """Say how the steps since the last call went."""
        now = _Mark(step=step, waited=waited_seconds)
        seconds = max(now.at - self._since.at, 1e-9)
        values = {
            "loss": float(terms.total),
            **{name: float(value) for name, value in terms.parts.items()},
            "gradient_norm": float(norm),
            "learning_rate": rate,
            "images_per_second": (step - self._since.step) * self._batch_size / seconds,
            "waiting_share": (waited_seconds - self._since.waited) / seconds,
            "seconds": seconds,
        }
        self._since = now
        self._write("train", step, epoch, values)
        self._say(step, values, {name: values[name] for name in terms.parts})
        if values["gradient_norm"] == 0 and self._show and not self._said_no_gradient:
            self._said_no_gradient = True
            self.warn(
                step,
                "the gradient is exactly 0: this step taught nothing. If it stays so, look at the batch "
                "size, the data and the options of the method.",
            )

    def evaluation(
        self, step: int, epoch: float, figures: dict[str, dict[str, Any]], warning: str | None, seconds: float
    ) -> None:
        """The held-out part was looked at; its time does not count as training's."""
        values = {
            f"{task}/{name}": value
            for task, of_task in figures.items()
            for name, value in of_task.items()
            if (name.endswith(_CURVES) or name.startswith("num_")) and not name.startswith("chance_")
        }
        self._since.at += seconds
        self._write("evaluation", step, epoch, values)
        if self._show:
            shown = [f"{name} {value:.3f}" for name, value in values.items() if _worth_showing(name)]
            self._print(f"step {step}: held out: {', '.join(shown)}")
            if warning is not None:
                self.warn(step, warning)

    def warn(self, step: int, warning: str) -> None:
        """Say something that the user should look at."""
        if self._show:
            self._print(f"step {step}: WARNING: {warning}")

    def _say(self, step: int, values: dict[str, float], parts: dict[str, float]) -> None:
        if not self._show:
            return
        text = (
            f"loss {values['loss']:.3f}{_parts(parts)}  {values['images_per_second']:.0f} rows/s  "
            f"waiting {100 * values['waiting_share']:.1f} %"
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
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def _write(self, kind: str, step: int, epoch: float, values: dict[str, float]) -> None:
        if not self._writes:
            return
        line = json.dumps(
            {"kind": kind, "step": step, "epoch": round(epoch, 4), **values}, ensure_ascii=False
        )
        assert self._file is not None, "the display is not open"
        self._file.write(line + "\n")
        self._file.flush()
        for name, logger in list(self._loggers.items()):
            with self._does_without(name):
                logger.log_metrics({f"{kind}/{figure}": value for figure, value in values.items()}, step=step)

    @contextmanager
    def _does_without(self, name: str) -> Iterator[None]:
        """Drop a logger that fails inside: training goes on, and metrics.jsonl has all that it was told."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever another library's logger may raise
            self._loggers.pop(name, None)
            reason = first_line(error.__cause__ or error)  # TensorBoard's blames the number for any of them
            self.warn(self._step, f"{name} is written no more ({reason}); metrics.jsonl goes on.")

    def _open_bar(self) -> None:
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=Console(stderr=True),
        )
        self._bar.start()
        self._task = self._bar.add_task("training", total=self._total_steps, completed=self._step, numbers="")


class _Mark:
    """A moment: when, after how many steps, having waited how long for data."""

    def __init__(self, step: int = 0, waited: float = 0.0) -> None:
        self.at = time.perf_counter()
        self.step = step
        self.waited = waited


def _parts(parts: dict[str, float]) -> str:
    """The loss's parts behind it, where it has several."""
    return (
        ""
        if len(parts) < 2
        else " (" + ", ".join(f"{name} {value:.3f}" for name, value in parts.items()) + ")"
    )


def _worth_showing(name: str) -> bool:
    if name.startswith("compared/"):  # they are looked at for the warning, and kept in metrics.jsonl
        return False
    return name.endswith(("_r1", "_r10", "accuracy", "effective_rank"))


def check_loggers(names: Sequence[str]) -> None:
    """Refuse loggers that cannot log, before a run begins.

    Raises:
        ConfigError: Weights & Biases is not installed.
    """
    if "wandb" in names and importlib.util.find_spec("wandb") is None:
        raise ConfigError("training.loggers names wandb, which is not installed; try pip install wandb.")


def _logger(name: str, run: RunFolder) -> Any:
    if name == "tensorboard":
        from lightning_fabric.loggers import TensorBoardLogger

        return TensorBoardLogger(root_dir=run.path, name="tensorboard", version="")
    import wandb  # type: ignore[import-not-found,unused-ignore]

    return _Wandb(wandb.init(project="likewise", name=run.path.name, dir=str(run.path)))


class _Wandb:
    """Weights & Biases with the two calls that are used of a logger."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def finalize(self, status: str) -> None:
        del status
        self._run.finish()
