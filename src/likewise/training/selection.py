"""Which step's weights become the model: those of the best evaluation by a stated figure.

One copy of the weights is kept, that of the best evaluation so far. What another figure would have chosen can
be read from metrics.jsonl, which has all figures of each evaluation.
"""

from __future__ import annotations

import math
from typing import Any

from likewise.data import Splits
from likewise.errors import ConfigError
from likewise.evaluation.registry import find_task, monitored_tasks
from likewise.messages import closest
from likewise.model.model import Model
from likewise.networks.base import Network
from likewise.networks.registry import network_from_spec
from likewise.runs.folder import RunFolder
from likewise.training.checkpoints import DamagedCheckpoint, load_checkpoint, write_checkpoint

__all__ = ["LAST", "Selection", "selection_of"]

LAST = "last"


class Selection:
    """The best evaluation so far.

    Args:
        run: keeps its weights, for a resumed training.
        task, figure: what decides.
        lower: whether lower values are better.
        oracle: whether the figure needs labels that training must not see.
    """

    def __init__(self, run: RunFolder, task: str, figure: str, *, lower: bool, oracle: bool = False) -> None:
        self.oracle = oracle
        self._run, self._task, self._figure = run, task, figure
        self._sign = -1.0 if lower else 1.0
        self._best: dict[str, Any] | None = None

    def consider(self, step: int, figures: dict[str, dict[str, Any]], network: Network) -> None:
        """Keep the weights after `step`, if none before had a better figure: of equal ones the later.

        A figure that is not finite is none.
        """
        value = figures.get(self._task, {}).get(self._figure)
        if value is None or not math.isfinite(value):
            return
        if self._best is not None and self._sign * value < self._sign * self._best["value"]:
            return
        weights = {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}
        self._best = {"step": step, "value": float(value), "network": weights}
        write_checkpoint(self._run.selected, self._best)
        chosen = {"by": f"{self._task}.{self._figure}", "step": step, "value": float(value)}
        self._run.write_json(self._run.selection, chosen)

    def described(self) -> str:
        """Which weights `network` returns, and why."""
        figure = f"{self._task}.{self._figure}"
        if self._best is None:
            return f"the model has the last weights: no evaluation had a figure {figure}"
        step, value = self._best["step"], self._best["value"]
        return f"the model has the weights after step {step}, chosen by {figure} ({value:.4g})"

    def restore(self, step: int) -> None:
        """The best evaluation of a training that goes on after `step`; later ones are made again."""
        if not self._run.selected.is_file():
            return
        try:
            found = load_checkpoint(self._run.selected)
        except DamagedCheckpoint:
            return
        if found["step"] <= step:
            self._best = found

    def network(self, like: Network) -> Network:
        """The chosen network; the last one where no evaluation had the figure."""
        if self._best is None:
            return like
        made = network_from_spec(like.spec())
        made.load_state_dict(self._best["network"])
        return made.to(next(like.parameters()).device)


def selection_of(by: str, run: RunFolder, model: Model, splits: Splits, *, asked: bool) -> Selection | None:
    """The selection that `training.select` asks for; None for the last weights.

    Args:
        by: `last`, or a task and a figure with a dot between.
        run: keeps the selection.
        model: of the training.
        splits: its data.
        asked: whether the user did, and not the method's default.

    Raises:
        ConfigError: the figure is none that is measured during this training, and the user asked for it.
    """
    if by == LAST:
        return None
    known = {
        f"{task}.{figure.key}": figure
        for task in monitored_tasks(model, splits)
        for figure in find_task(task).figures
        if figure.better is not None and not figure.baseline
    }
    if by not in known and not asked:
        return None
    if by not in known:
        hint = closest(by, known) or f"there are {LAST}, {', '.join(known) or 'no others'}."
        raise ConfigError(f"--training.select {by}: this training measures no such figure; {hint}")
    task, _, figure = by.partition(".")
    return Selection(run, task, figure, lower=known[by].better == "lower", oracle=known[by].oracle)
