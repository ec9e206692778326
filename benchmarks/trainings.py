"""Shared by the quality benchmarks: whole trainings of several seeds, whose figures are kept in a folder.

A finished training leaves NAME-SEED.json. A second call with the same folder reads it instead of training
again, so a benchmark can be run in parts. An interrupted training of ours resumes from its last checkpoint.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import likewise_measured, markdown_table, mean_and_deviation, run, train_command

__all__ = [
    "as_texts",
    "check_names",
    "check_settings",
    "class_figures",
    "encoded_images",
    "kept",
    "likewise_command",
    "place_of",
    "quality_rows",
    "records_of",
    "report",
    "train_likewise",
]

Record = dict[str, Any]


def check_names(chosen: Sequence[str], known: Sequence[str]) -> list[str]:
    """The chosen contenders in the order of `known`; all of them if none is chosen."""
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise SystemExit(f"no such contender: {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if not chosen or name in chosen]


def place_of(name: str) -> str:
    """A contender's name as part of a file name."""
    return name.replace(": ", "-").replace(" ", "-")


def likewise_command(method: str, settings: Mapping[str, object], out: Path) -> list[str]:
    """Command line of one training that is evaluated at the end only; it resumes if `out` has checkpoints."""
    shared = {"out": out, "training.evaluate-every": 0, "training.save-every": 1000}
    command = train_command(method, shared | dict(settings))
    return [*command, "--resume"] if has_checkpoints(out) else command


def has_checkpoints(folder: Path) -> bool:
    """Whether the folder is a run that can be resumed."""
    from likewise.runs.folder import RunFolder
    from likewise.training.checkpoints import latest_checkpoint

    return latest_checkpoint(RunFolder(folder).checkpoints) is not None


def train_likewise(method: str, settings: Mapping[str, object], folder: Path) -> Record:
    """One training by our command line, in a fresh process.

    Args:
        method: its name.
        settings: flags without dashes and their values; `training.batch-size` among them.
        folder: of the run.

    Returns:
        The fields of `Measured`, and the process's peak resident memory in MiB, from decoding the images to
        the final evaluation. For a resumed training the times are of both parts, the memory is the second's.
    """
    peak = run(likewise_command(method, settings, folder), folder.with_name(f"{folder.name}.log"))
    return asdict(likewise_measured(folder, int(str(settings["training.batch-size"])))) | {"peak_mib": peak}


def as_texts(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings in a record's form."""
    return {key: str(value) for key, value in settings.items()}


def check_settings(path: Path, before: Mapping[str, str], settings: Mapping[str, object]) -> None:
    """Exit if the figures are of other settings."""
    differing = sorted({key for key, _ in before.items() ^ as_texts(settings).items()})
    if differing:
        raise SystemExit(
            f"{path} was made with another {', '.join(differing)}; "
            "remove it to train again, or name another --out"
        )


def kept(
    out: Path, name: str, seed: int, settings: Mapping[str, object], train: Callable[[Path], Record]
) -> Record:
    """The record of one training: read if it exists, else trained and written atomically.

    Args:
        out: the benchmark's folder.
        name: of the contender.
        seed: of the training.
        settings: those that determine the figures; a record of other ones is refused.
        train: from a folder to {"training": ..., "figures": ...}. The folder exists only if it is a run of
            ours that can be resumed.

    Raises:
        SystemExit: the existing record is of other settings.
    """
    path = out / f"{place_of(name)}-{seed}.json"
    if path.is_file():
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        check_settings(path, record["settings"], settings)
        return record
    folder = out / f"{place_of(name)}-{seed}"
    if folder.exists() and not has_checkpoints(folder):
        shutil.rmtree(folder)  # interrupted before its first checkpoint
    record = {"contender": name, "seed": seed, "settings": as_texts(settings)} | train(folder)
    beside = path.with_suffix(".writing")
    beside.write_text(json.dumps(record, indent=2), encoding="utf-8")
    beside.replace(path)
    shown = {key: round(value, 4) for key, value in record["figures"].items()}
    print(f"{name}, seed {seed}: {shown}, {record['training']['seconds']:.0f} s", flush=True)
    return record


def records_of(out: Path, name: str) -> list[Record]:
    """The existing records of a contender, by seed."""
    paths = out.glob(f"{place_of(name)}-[0-9]*.json")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return sorted(records, key=lambda record: int(record["seed"]))


def quality_rows(out: Path, names: Sequence[str]) -> dict[str, dict[str, object]]:
    """A row for each contender with a finished training: seeds, figures in percent, minutes."""
    rows = {}
    for name in names:
        records = records_of(out, name)
        if not records:
            continue
        row: dict[str, object] = {"contender": name, "seeds": " ".join(str(one["seed"]) for one in records)}
        row |= {
            key: mean_and_deviation([100 * one["figures"][key] for one in records])
            for key in records[0]["figures"]
        }
        minutes = statistics.mean(one["training"]["seconds"] for one in records) / 60
        rows[name] = row | {"minutes": f"{minutes:.1f}"}
    return rows


def report(out: Path, names: Sequence[str], seeds: Sequence[int], rows: Sequence[dict[str, object]]) -> None:
    """Print the table and the missing trainings, and write both to table.md."""
    parts = [markdown_table(rows)] if rows else ["nothing is measured yet"]
    missing = []
    for name in names:
        lacking = sorted(set(seeds) - {int(record["seed"]) for record in records_of(out, name)})
        if lacking:
            missing.append(f"{name} (seeds {' '.join(map(str, lacking))})")
    if missing:
        parts.append("Not trained yet: " + ", ".join(missing) + ".")
    (out / "table.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print("\n" + "\n\n".join(parts))


def encoded_images(table: Any) -> list[bytes]:
    """The encoded images of a pyarrow table's `image` column."""
    return [row["bytes"] for row in table["image"].to_pylist()]


def class_figures(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Accuracies on the validation split of classifiers fitted on the training split.

    Args:
        train: features (N, D) and class names (N,).
        validation: features (M, D) and class names (M,).

    Returns:
        Of weighted nearest neighbours at two settings, k = 20 with temperature 0.07 (our default) and k = 200
        with 0.1 (lightly's), and of a linear classifier.
    """
    from likewise.metrics import knn_predict, linear_probe

    classes = np.unique(train[1])
    known, validated = (
        (features, np.searchsorted(classes, names)) for features, names in (train, validation)
    )
    figures = {}
    for k, temperature in ((20, 0.07), (200, 0.1)):
        predicted = knn_predict(*known, validated[0], k=min(k, len(known[1])), temperature=temperature)
        figures[f"kNN, k={k}"] = float((predicted.cpu().numpy() == validated[1]).mean())
    return figures | {"linear": linear_probe(*known, *validated).accuracy}
