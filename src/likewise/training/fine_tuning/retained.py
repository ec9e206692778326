"""What a fine-tuned model keeps of what it knew: its figures on a second source, beside the start's."""

from __future__ import annotations

from typing import Any

from likewise.data import DataConfig
from likewise.errors import ConfigError, DataError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import (
    RETAINED_TASKS,
    default_tasks,
    evaluate,
    figure_of,
    needs_of_tasks,
)
from likewise.model.model import Model
from likewise.runs.folder import RunFolder
from likewise.runs.unseen_rows import open_measured

__all__ = ["Retained"]


class Retained:
    """A source that is measured at every evaluation, and never trained on.

    Args:
        source: `data.retain`.
        run: keeps the figures of the starting model.
        model: of the training, not trained yet.
        rows: upper bound of rows in the evaluations during training.

    Raises:
        ConfigError: nothing can be measured there.
    """

    def __init__(self, source: str, run: RunFolder, model: Model, *, rows: int) -> None:
        self.source, self._run, self._rows = source, run, rows
        needs = needs_of_tasks(model)
        self._measured = open_measured(model, str(run.path), DataConfig(source=source), needs=needs)
        able = default_tasks(model, self._measured.whole)
        found = next((task for task in RETAINED_TASKS if task in able), None)
        if found is None:
            raise ConfigError(
                f"--data.retain {source}: neither zero-shot, retrieval nor sts can be measured there; name a "
                "source with labels or captions that this model reads."
            )
        self.task = found

    def measure_start(self, model: Model) -> str:
        """Measure the starting model; returns a line on it."""
        start, whole = self._figures(model, self._rows), self._figures(model, None)
        self._run.write_json(self._run.retained, {"during": start, "end": whole})
        return f"{self.task} of the starting model on {self.source}: {self._headlines(start)}"

    def during(self, model: Model) -> tuple[dict[str, float], str]:
        """Figures to log while training, those of the start beside them, and a line on both.

        Returns:
            By key; `start_` and the key are the starting model's.
        """
        now, start = self._figures(model, self._rows), self._start("during")
        shown = {key: value for key, value in now.items() if self._is_curve(key, value)}
        logged = shown | {f"start_{key}": start[key] for key in shown if key in start}
        return logged, f"kept on {self.source}: {self._headlines(now, start)}"

    def finish(self, model: Model) -> str:
        """Write the figures of the model and of the start into results.json; returns a line on both."""
        now, start = self._figures(model, None), self._start("end")
        for figures, kind in ((start, "starting model"), (now, "trained model")):
            if figures:
                entry = self._measured.entry(self.task, figures)
                self._run.add_other_results(entry | {"part": f"{entry['part']}, {kind}"})
        return f"kept on {self.source}: {self._headlines(now, start)}"

    def _figures(self, model: Model, rows: int | None) -> dict[str, Any]:
        try:
            return evaluate(Context(model, self._measured.whole, max_rows=rows), self.task)
        except DataError as error:
            raise ConfigError(f"--data.retain {self.source}: {error}") from error

    def _start(self, when: str) -> dict[str, Any]:
        found = self._run.read_json(self._run.retained).get(when, {})
        return found if isinstance(found, dict) else {}

    def _is_curve(self, key: str, value: Any) -> bool:
        return figure_of(self.task, key).curve and isinstance(value, float)

    def _headlines(self, now: dict[str, Any], start: dict[str, Any] | None = None) -> str:
        """The main figures, with chance and start beside each."""
        said = []
        curves = [key for key, value in now.items() if self._is_curve(key, value)]
        main = [key for key in curves if figure_of(self.task, key).headline is not None] or curves
        for key in main:
            chance = figure_of(self.task, key).chance_in(now)
            beside = [] if not start or key not in start else [f"start {start[key]:.3f}"]
            beside += [] if chance is None else [f"chance {chance:.3f}"]
            said.append(f"{self.task}/{key} {now[key]:.3f}" + (f" ({', '.join(beside)})" if beside else ""))
        return ", ".join(said)
