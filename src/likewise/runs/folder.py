"""The folder of a run: its files, and the lock that keeps other trainings out."""

from __future__ import annotations

import contextlib
import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from likewise.atomic_files import failure_to_read, write_whole
from likewise.data import BadRecord
from likewise.errors import ConfigError, ModelError, TrainingError

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["Results", "RunFolder"]

_OTHERS, _MARK = "others", "data_fingerprint"


class Results(NamedTuple):
    """The content of results.json.

    Attributes:
        own: figures on the run's own validation data, by task.
        others: of each measurement on other data its `task`, `source`, `part`, `rows`, `fingerprint` and
            `figures`.
    """

    own: dict[str, dict[str, Any]]
    others: list[dict[str, Any]]


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
        self.selected = self.checkpoints / "selected.ckpt"
        self.start = self.checkpoints / "start.ckpt"
        self.retained = self.path / "retained.json"
        self.selection = self.path / "selection.json"
        self.model = self.path / "model"
        self.probes = self.path / "probes"
        self.bad_records = self.path / "bad_records.jsonl"
        self.data = self.path / "data.json"
        self.results = self.path / "results.json"
        self.report = self.path / "report.html"
        self.tokenizer = self.path / "tokenizer.json"
        self.network = self.path / "network.json"
        self.lock = self.path / ".lock"
        self.marker = self.path / ".likewise"

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

    def check_present(self, step: int) -> None:
        """Check that the folder is still a run, `step` steps after training began.

        Raises:
            TrainingError: it was removed or renamed meanwhile.
        """
        if not self.config.is_file():
            raise TrainingError(
                f"{self.path} was removed or renamed while training ran: it has no config.toml any more, and "
                f"nothing was written there after step {step}. Train anew, or resume the renamed run."
            )

    def claim(self) -> None:
        """Mark the folder, before anything else is written: its files are ours, even if no run begins."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.marker.touch()

    def foreign_files(self) -> list[str]:
        """Names in a folder without a run, other than those that a rejected start leaves and hidden ones."""
        left = {self.bad_records, self.data, self.tokenizer, self.network} if self.marker.exists() else set()
        paths = self.path.iterdir() if self.path.is_dir() else ()
        return sorted(path.name for path in paths if path not in left and not path.name.startswith("."))

    @contextlib.contextmanager
    def locked(self, fabric: Any) -> Iterator[None]:
        """Keep every other training out of the folder, also one on another machine that shares it.

        Two trainings would mix their files: the settings of one, the weights of the other. The system drops
        the lock when its process ends in any way, so it cannot become stale.

        Args:
            fabric: of the training; its rank 0 takes the lock.

        Raises:
            ConfigError: another process trains there, or nothing can be written there; on every rank.
        """
        from filelock import FileLock

        lock, is_new = FileLock(self.lock), not os.path.exists(self.path)
        refusal = fabric.broadcast(self._take(lock) if fabric.is_global_zero else None)
        if refusal is not None:
            raise ConfigError(refusal)
        try:
            yield
        finally:
            lock.release()
            if fabric.is_global_zero and not self.config.is_file():  # refused before the run began
                self.lock.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # not empty: the bad records may lie there
                    if is_new:
                        self.path.rmdir()

    def _take(self, lock: FileLock) -> str | None:
        """Make the folder and lock it; returns why that failed, or None."""
        from filelock import Timeout

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout:
            return f"another process is training into {self.path}; wait for it to end, or name another --out."
        except NotImplementedError:
            warnings.warn(
                f"the file system of {self.path} has no locks: nothing keeps two trainings apart there",
                stacklevel=2,
            )
        except OSError as error:
            reason = "it is a file" if os.path.isfile(self.path) else error.strerror or error
            return f"{self.path} cannot hold a run ({reason}); name another --out."
        return None

    def write_json(self, path: Path, value: Any) -> None:
        """Write a small file, whole or not at all."""
        write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, path: Path) -> dict[str, Any]:
        """A small file's content; empty where the file is absent.

        Raises:
            ModelError: the file is damaged.
        """
        if not path.is_file():
            return {}
        try:
            value = _parsed(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ModelError(f"{failure_to_read(path, error)}.") from error
        except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested too deeply
            raise ModelError(f"{path} is damaged ({error}); move it away to go on without it.") from error
        if not isinstance(value, dict):
            raise ModelError(f"{path} is damaged: expected an object; move it away to go on without it.")
        return value

    def write_bad_records(self, records: Sequence[BadRecord]) -> None:
        """Write one line for each record that was set aside."""
        _write_lines(self.bad_records, map(asdict, records))

    def read_results(self) -> Results:
        """The figures in results.json; an older file's keys such as "retrieval on x.csv" become others.

        Raises:
            ModelError: results.json is damaged.
        """
        found = self.read_json(self.results)
        others = found.pop(_OTHERS, [])
        wrong = next((task for task, figures in found.items() if not isinstance(figures, dict)), None)
        if not isinstance(others, list) or not all(map(_is_entry, others)):
            wrong = _OTHERS
        if wrong is not None:
            expected = "a list of entries" if wrong == _OTHERS else "an object"
            raise ModelError(
                f"{self.results} is damaged: {wrong!r} is not {expected}; move it away to go on without it."
            )
        for name in [name for name in found if " on " in name]:
            task, _, source = name.partition(" on ")
            figures = found.pop(name)
            mark = figures.get(_MARK)
            others.append({"task": task, "source": source, "fingerprint": mark, "figures": figures})
        return Results(found, others)

    def add_results(self, task: str, values: dict[str, Any]) -> None:
        """Put a task's figures on the run's own validation data into results.json.

        Of the task's earlier figures only the re-ranked ones stay, if these are of the same data and without
        re-ranking: the others may be of other options.
        """
        results = self.read_results()
        earlier = results.own.get(task, {})
        same = values.get(_MARK) is not None and earlier.get(_MARK) == values[_MARK]
        results.own[task] = _with_reranked(values, earlier) if same else values
        self._write_results(results)

    def add_other_results(self, entry: dict[str, Any]) -> None:
        """Put figures on other data into the list `others` of results.json.

        Only an entry of the same task on the same rows is replaced.

        Args:
            entry: `task`, `source`, `part`, `rows`, `fingerprint`, `figures`; of tasks that learn,
                `learned_from`.
        """
        results = self.read_results()
        for place, earlier in enumerate(results.others):
            if _measured(earlier) == _measured(entry):
                figures = _with_reranked(entry["figures"], earlier["figures"])
                results.others[place] = entry | {"figures": figures}
                break
        else:
            results.others.append(entry)
        self._write_results(results)

    def _write_results(self, results: Results) -> None:
        others = {_OTHERS: results.others} if results.others else {}
        self.write_json(self.results, results.own | others)

    def read_lines(self, path: Path) -> Iterator[dict[str, Any]]:
        """The objects of a JSONL file; a line that was cut short or damaged is skipped."""
        if not path.is_file():
            return
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise ModelError(f"{failure_to_read(path, error)}.") from error
        for line in text.split("\n"):
            try:
                value = _parsed(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl that have a step and a kind."""
        return [
            line
            for line in self.read_lines(self.metrics)
            if isinstance(line.get("step"), int) and isinstance(line.get("kind"), str)
        ]

    def cut_metrics(self, step: int, *, finished: bool) -> None:
        """Remove the lines that a run resumed after `step` writes again; if finished, the last evaluation."""
        kept = [line for line in self.read_metrics() if line["step"] <= step]
        if finished:
            kept = [line for line in kept if line["kind"] == "train" or line["step"] < step]
        _write_lines(self.metrics, kept)


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    write_whole(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _is_entry(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str) for name in ("task", "source"))
        and isinstance(value.get("figures"), dict)
        and isinstance(value.get("learned_from", {}), dict)
    )


def _measured(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """The task and rows of an entry; also the training rows of a task that learns."""
    learned_from = entry.get("learned_from") or {}
    # Without a fingerprint nothing says that the rows are the same.
    mark = entry.get("fingerprint") or object()
    return entry["task"], mark, entry.get("part"), learned_from.get("fingerprint")


def _with_reranked(values: dict[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with earlier re-ranked ones of the same rows."""
    kept = {name: earlier[name] for name in earlier if "reranked_" in name or name == "num_judged"}
    return values | {name: value for name, value in kept.items() if name not in values}


def _parsed(text: str) -> Any:
    """JSON's content; whole numbers beyond 64 bits, which no file of ours has, become floats."""
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 19 else float(digits))
