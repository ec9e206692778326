"""The folder of a run: what stands where, and how to read it back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from likewise.atomic_files import written_whole
from likewise.data import BadRecord
from likewise.errors import ConfigError, ModelError

__all__ = ["RunFolder"]


class RunFolder:
    """Paths and small files of a run.

    Args:
        path: the folder; need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.toml"
        self.metrics = self.path / "metrics.jsonl"
        self.checkpoints = self.path / "checkpoints"
        self.model = self.path / "model"
        self.bad_records = self.path / "bad_records.jsonl"
        self.data = self.path / "data.json"
        self.results = self.path / "results.json"
        self.report = self.path / "report.html"
        self.tokenizer = self.path / "tokenizer.json"
        self.network = self.path / "network.json"

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """The run at `path`.

        Raises:
            ConfigError: there is none.
        """
        run = cls(path)
        if not run.config.is_file():
            raise ConfigError(
                f"{path} is not a run: it has no config.toml; expected a folder that `likewise train` wrote."
            )
        return run

    def write_json(self, path: Path, value: Any) -> None:
        """Write a small file whole or not at all."""
        self.path.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as beside:
            beside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def read_json(self, path: Path) -> dict[str, Any]:
        """A small file's content; empty where the file is absent.

        Raises:
            ModelError: the file is damaged.
        """
        if not path.is_file():
            return {}
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:  # no JSON, or no UTF-8
            raise ModelError(f"{path} is damaged ({error}); move it away to go on without it.") from error
        if not isinstance(value, dict):
            raise ModelError(f"{path} is damaged: expected an object; move it away to go on without it.")
        return value

    def write_bad_records(self, records: Sequence[BadRecord]) -> None:
        """One line for each record that was set aside."""
        self.path.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records)
        with written_whole(self.bad_records) as beside:
            beside.write_text("".join(lines), encoding="utf-8")

    def add_results(self, task: str, values: dict[str, Any]) -> None:
        """Put a task's figures into results.json, leaving the other tasks' there.

        Earlier re-ranked figures stay where this time none were asked for, as long as they are of the same
        data; no others do, for they may be of other options.
        """
        results = self.read_json(self.results)
        earlier = results.get(task)
        mark = values.get("data_fingerprint")
        if isinstance(earlier, dict) and mark is not None and earlier.get("data_fingerprint") == mark:
            values = values | {
                name: value
                for name, value in earlier.items()
                if name not in values and (name.startswith("reranked_") or name == "num_judged")
            }
        self.write_json(self.results, results | {task: values})

    def read_lines(self, path: Path) -> Iterator[dict[str, Any]]:
        """The objects of a JSONL file; a line that a kill cut short, or that was damaged, is left out."""
        if not path.is_file():
            return
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that say of which step they tell, and what."""
        return [
            line
            for line in self.read_lines(self.metrics)
            if isinstance(line.get("step"), int) and isinstance(line.get("kind"), str)
        ]

    def cut_metrics(self, step: int, *, finished: bool) -> None:
        """Forget what a run resumed after `step` writes again: later lines; if finished, the last look."""
        kept = [line for line in self.read_metrics() if line["step"] <= step]
        if finished:
            kept = [line for line in kept if line["kind"] == "train" or line["step"] < step]
        with written_whole(self.metrics) as beside:
            beside.write_text(
                "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8"
            )
