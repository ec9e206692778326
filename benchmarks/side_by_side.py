"""Shared by the benchmarks: running commands, reading their measurements, printing tables."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "REPOSITORY",
    "Measured",
    "flags",
    "likewise_measured",
    "markdown_table",
    "mean_and_deviation",
    "option_flags",
    "output_folder",
    "peer_measured",
    "rate_tables",
    "run",
    "train_command",
    "write_results",
]

REPOSITORY = Path(__file__).resolve().parents[1]
STEPS_TO_WARM_UP = 3  # left out of the steady rate, as in the peers' scripts


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One training, ours or a peer's.

    The clock runs from before the first batch is fetched to the end of the last step. Imports, reading the
    tables, building the model and, on our side, the cache come before it; evaluation and saving after it.
    """

    steps: int
    seconds: float
    images_per_second: float
    """Over the whole training; images are counted, not views."""
    steady_images_per_second: float
    """Without the first three steps: the rate of a long training."""
    waiting_share: float
    """Share of the time in which the loop waited for a batch."""


def run(command: Sequence[str | Path], log: Path) -> float:
    """Run a command, in the folder that the benchmark was started in, with its output in `log`.

    Returns:
        The peak resident memory of any of its processes, in MiB.

    Raises:
        SystemExit: It failed; shows the end of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = [str(REPOSITORY / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}  # this checkout, installed or not
    with open(log, "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        raise SystemExit(
            f"exit code {process.returncode} from {' '.join(map(str, command))}\n{tail}\n(all of it: {log})"
        )
    return usage.ru_maxrss / 1024  # Linux counts it in KiB


def output_folder(path: Path, *, new: bool = False) -> Path:
    """A benchmark's folder by its full path, made and tried before any work.

    Args:
        path: as the user gave it.
        new: reject an existing folder.

    Raises:
        SystemExit: it cannot be made or written.
    """
    folder = path.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=not new)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        why = "is there already" if folder.is_dir() else "is a file"
        raise SystemExit(f"--out {path} {why}; name a folder that does not exist") from None
    except OSError as error:
        raise SystemExit(f"--out {path} cannot be written ({error.strerror}); name another folder") from None
    return folder


def flags(settings: Mapping[str, object]) -> list[str]:
    """Command-line flags; a tuple becomes several values after one flag."""
    parts = []
    for name, value in settings.items():
        parts += [f"--{name}", *map(str, value if isinstance(value, tuple) else (value,))]
    return parts


# Our flag for a field of a benchmark's options.
FLAGS = {
    "image_size": "image.image-size",
    "patch_size": "image.patch-size",
    "width": "image.width",
    "depth": "image.depth",
    "text_depth": "text.depth",
    "text_dropout": "text.dropout",
    "max_tokens": "text.max-tokens",
    "epochs": "training.epochs",
    "steps": "training.steps",
    "batch_size": "training.batch-size",
    "learning_rate": "training.learning-rate",
    "weight_decay": "training.weight-decay",
    "max_records": "data.max-records",
}


def option_flags(options: Any, *names: str) -> dict[str, object]:
    """Our flags for these fields of a benchmark's options, without those that are None."""
    values = {FLAGS[name]: getattr(options, name) for name in names}
    return {flag: value for flag, value in values.items() if value is not None}


def train_command(method: str, settings: Mapping[str, object]) -> list[str]:
    """Command line of one of our trainings, with one log line a step."""
    words = flags({"training.log-every": 1} | dict(settings))
    return [sys.executable, "-m", "likewise.cli.main", "train", method, *words]


def likewise_measured(folder: Path, batch_size: int) -> Measured:
    """Measurement of one of our runs, from its metrics.jsonl.

    Args:
        folder: of a run with one line a step (`--training.log-every 1`), each with its seconds.
        batch_size: images a step.
    """
    with open(folder / "metrics.jsonl", encoding="utf-8") as file:
        lines = [line for line in map(json.loads, file) if line["kind"] == "train"]
    if len(lines) <= STEPS_TO_WARM_UP:
        raise SystemExit(f"{folder}: {len(lines)} steps are too few to measure a rate")
    if lines[-1]["step"] != len(lines):
        raise SystemExit(
            f"{folder}: {len(lines)} lines for {lines[-1]['step']} steps; one line a step is expected"
        )
    seconds = [line["seconds"] for line in lines]
    steady = seconds[STEPS_TO_WARM_UP:]
    return Measured(
        steps=len(lines),
        seconds=sum(seconds),
        images_per_second=len(lines) * batch_size / sum(seconds),
        steady_images_per_second=len(steady) * batch_size / sum(steady),
        waiting_share=sum(line["waiting_share"] * line["seconds"] for line in lines) / sum(seconds),
    )


def peer_measured(folder: Path) -> Measured:
    """Measurement of a peer's training, from its summary.json."""
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return Measured(
        steps=summary["steps"],
        seconds=summary["train_seconds"],
        images_per_second=summary["images_per_second"],
        steady_images_per_second=summary["steady_images_per_second"],
        waiting_share=summary["waiting_share"],
    )


def rate_tables(rates: dict[str, list[Measured]], pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Images a second of every contender, then the ratios.

    Args:
        rates: for each contender one short training a round.
        pairs: the contenders to compare, ours first.
    """
    contenders = [
        {
            "contender": name,
            "images/s (median)": statistics.median(one.steady_images_per_second for one in measured),
            "each round": " ".join(f"{one.steady_images_per_second:.3g}" for one in measured),
            "waiting (median)": f"{statistics.median(one.waiting_share for one in measured):.1%}",
        }
        for name, measured in rates.items()
    ]
    ratios = []
    for own, other in pairs:
        # The two of a round ran one after the other, so a slow machine slowed both.
        each = [
            ours.steady_images_per_second / theirs.steady_images_per_second
            for ours, theirs in zip(rates[own], rates[other], strict=True)
        ]
        ratios.append(
            {
                "images a second": f"{own} / {other}",
                "ratio (median)": statistics.median(each),
                "each round": " ".join(f"{ratio:.3g}" for ratio in each),
            }
        )
    return [markdown_table(contenders), markdown_table(ratios)]


def write_results(
    folder: Path,
    options: dict[str, Any],
    rates: dict[str, list[Measured]],
    quality: list[dict[str, object]],
    tables: Sequence[str],
) -> None:
    """Print the tables; write them to table.md and every number to results.json."""
    (folder / "table.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    record = {
        "options": {name: str(value) for name, value in options.items()},
        "rates": {name: [asdict(one) for one in measured] for name, measured in rates.items()},
        "quality": quality,
    }
    (folder / "results.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    print("\n" + "\n\n".join(tables))


def mean_and_deviation(values: Sequence[float]) -> str:
    """A table cell; the deviation needs two values."""
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def markdown_table(rows: Sequence[dict[str, object]]) -> str:
    """A table of rows with equal keys; floats with three significant digits."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return str(value)

    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(cell(value) for value in row.values()) + " |" for row in rows]
    return "\n".join(lines)
