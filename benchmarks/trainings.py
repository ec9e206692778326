"""Whole trainings of some seeds each, whose figures stay in a folder: what the quality benchmarks share.

Every training that has finished leaves NAME-SEED.json. A second call with the same folder reads it instead of
training again, so a benchmark can be run in parts, and its table made from what is there. A training of ours
that was broken off goes on from its last checkpoint.
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
    """The contenders of this call, in the order of `known`; all of them where none is chosen."""
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise SystemExit(f"no such contender: {', '.join(unknown)}; there are {', '.join(known)}")
    return [name for name in known if not chosen or name in chosen]


def place_of(name: str) -> str:
    """A contender's name as part of a file name."""
    return name.replace(": ", "-").replace(" ", "-")


def likewise_command(method: str, settings: Mapping[str, object], out: Path) -> list[str]:
    """Our command line for one training: a line a step, a look at the held-out part only at the end. Where
    `out` has checkpoints it goes on from the last."""
    shared = {"out": out, "training.evaluate-every": 0, "training.save-every": 1000}
    command = train_command(method, shared | dict(settings))
    return [*command, "--resume"] if has_checkpoints(out) else command


def has_checkpoints(folder: Path) -> bool:
    """Whether it is a run of ours that can be gone on with."""
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
        What `Measured` has, and the process's greatest resident memory, in MiB, from the decoding of the
        pictures to the last look at the held-out part. Of a training that was broken off and gone on with the
        times are those of both parts, the memory is the second's.
    """
    peak = run(likewise_command(method, settings, folder), folder.with_name(f"{folder.name}.log"))
    return asdict(likewise_measured(folder, int(str(settings["training.batch-size"])))) | {"peak_mib": peak}


def as_texts(settings: Mapping[str, object]) -> dict[str, str]:
    """Settings as a record has them."""
    return {key: str(value) for key, value in settings.items()}


def check_settings(path: Path, before: Mapping[str, str], settings: Mapping[str, object]) -> None:
    """Refuse figures that were made with other settings than those of this call."""
    differing = sorted({key for key, _ in before.items() ^ as_texts(settings).items()})
    if differing:
        raise SystemExit(
            f"{path} was made with another {', '.join(differing)}; "
            "remove it to train again, or name another --out"
        )


def kept(
    out: Path, name: str, seed: int, settings: Mapping[str, object], train: Callable[[Path], Record]
) -> Record:
    """The record of one training: read where it stands, else made and written, whole or not at all.

    Args:
        out: the benchmark's folder.
        name: of the contender.
        seed: of the training.
        settings: what decides the figures; a record made with other ones is refused.
        train: from a folder to {"training": ..., "figures": ...}. The folder is there only if it holds a run
            of ours that was broken off and can be gone on with.

    Raises:
        SystemExit: the record that stands there was made with other settings.
    """
    path = out / f"{place_of(name)}-{seed}.json"
    if path.is_file():
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        check_settings(path, record["settings"], settings)
        return record
    folder = out / f"{place_of(name)}-{seed}"
    if folder.exists() and not has_checkpoints(folder):
        shutil.rmtree(folder)  # of a training that was broken off too early
    record = {"contender": name, "seed": seed, "settings": as_texts(settings)} | train(folder)
    beside = path.with_suffix(".writing")
    beside.write_text(json.dumps(record, indent=2), encoding="utf-8")
    beside.replace(path)
    shown = {key: round(value, 4) for key, value in record["figures"].items()}
    print(f"{name}, seed {seed}: {shown}, {record['training']['seconds']:.0f} s", flush=True)
    return record


def records_of(out: Path, name: str) -> list[Record]:
    """The records of a contender that are there, by seed."""
    paths = out.glob(f"{place_of(name)}-[0-9]*.json")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    return sorted(records, key=lambda record: int(record["seed"]))


def quality_rows(out: Path, names: Sequence[str]) -> dict[str, dict[str, object]]:
    """By contender, for those with a finished training: its seeds, and each figure's mean and deviation in
    percent; then the mean minutes that its training took."""
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
    """Print the table and what it lacks, and keep both in table.md."""
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
    """The encoded pictures of a pyarrow table's `image` column."""
    return [row["bytes"] for row in table["image"].to_pylist()]


def class_figures(
    train: tuple[np.ndarray, np.ndarray], validation: tuple[np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Accuracies on the validation part of what is learnt on the training part, the same for all contenders.

    Args:
        train: features (N, D) and names of the classes (N,).
        validation: features (M, D) and names of the classes (M,).

    Returns:
        Of weighted nearest neighbours at two settings, k = 20 with temperature 0.07 (our default) and k = 200
        with 0.1 (lightly's), and of a linear classifier.
    """
    from likewise.metrics import knn_predict, linear_probe

    classes = np.unique(train[1])
    known, asked = ((features, np.searchsorted(classes, names)) for features, names in (train, validation))
    figures = {}
    for k, temperature in ((20, 0.07), (200, 0.1)):
        predicted = knn_predict(*known, asked[0], k=min(k, len(known[1])), temperature=temperature)
        figures[f"kNN, k={k}"] = float((predicted.cpu().numpy() == asked[1]).mean())
    return figures | {"linear": linear_probe(*known, *asked).accuracy}
