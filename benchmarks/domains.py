"""Domain adaptation beside skada: DANN and deep CORAL on digits; equal network, data, steps and optimizer.

    python benchmarks/domains.py --data digits/mnist --target digits/usps --peers PEERS/bin/python

Contenders take turns, a round after the other, in float32 with one thread each. Ours reads its cache of
decoded images through its loader; skada has them as one array in memory. Accuracies are on the validation
parts; the target's labels are read for this figure alone. The last step counts: nothing is selected.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tyro
from side_by_side import (
    likewise_measured,
    markdown_table,
    mean_and_deviation,
    output_folder,
    peer_measured,
    run,
    train_command,
)

PEER = Path(__file__).with_name("peers") / "skada_domains.py"
# Our flags of each method, and the factor of its second loss: skada's DANN sums over the domains, ours is the
# mean over both.
METHODS: dict[str, tuple[list[str], float]] = {
    "dann": (["dann"], 0.5),
    "coral": (["align", "--method.distance", "coral"], 100.0),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    data: Path
    """Folder of the source domain, with train.parquet and validation.parquet (columns image and label)."""

    target: Path
    """The same of the target domain."""

    peers: str = sys.executable
    """The Python that has skada and skorch."""

    out: Path = Path("runs/benchmark-domains")
    """Where runs and figures go."""

    methods: tuple[str, ...] = ("dann", "coral")
    """What to compare."""

    seeds: tuple[int, ...] = (0,)
    """One round of all contenders for each."""

    steps: int = 900
    """Optimizer steps."""

    batch_size: int = 128
    """Images a step, half of them of each domain."""

    image_size: int = 28
    """Side in pixels."""

    threads: int = 1
    """Threads of each process."""


def train_ours(options: Options, method: str, seed: int, folder: Path) -> dict[str, Any]:
    words, _ = METHODS[method]
    settings = {
        "data": options.data,
        "data.target": options.target,
        "data.store-size": options.image_size,
        "image.image-size": options.image_size,
        "image.depth": 10,
        "image.width": 16,
        "out": folder,
        "training.steps": options.steps,
        "training.batch-size": options.batch_size,
        "training.precision": "float32",
        "training.evaluate-every": 0,
        "training.save-every": 0,
        "training.select": "last",
        "training.seed": seed,
    }
    peak = run([*train_command(words[0], settings), *words[1:]], folder.with_suffix(".log"))
    figures = json.loads((folder / "results.json").read_text())["transfer"]
    accuracies = {name: figures[name] for name in ("source_accuracy", "target_accuracy")}
    return asdict(likewise_measured(folder, options.batch_size)) | accuracies | {"peak_mib": peak}


def train_theirs(options: Options, method: str, seed: int, folder: Path) -> dict[str, Any]:
    settings = {
        "source": options.data,
        "target": options.target,
        "size": options.image_size,
        "steps": options.steps,
        "batch-size": options.batch_size,
        "reg": METHODS[method][1],
        "seed": seed,
        "threads": options.threads,
        "out": folder,
    }
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    run([options.peers, PEER, method, *words], folder.with_suffix(".log"))
    summary = json.loads((folder / "summary.json").read_text())
    kept = ("source_accuracy", "target_accuracy", "peak_mib")
    return asdict(peer_measured(folder)) | {name: summary[name] for name in kept}


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    folder = output_folder(options.out)
    records: dict[str, list[dict[str, Any]]] = {}
    for seed in options.seeds:
        for method in options.methods:
            for name, train in (("ours", train_ours), ("skada", train_theirs)):
                found = train(options, method, seed, folder / f"{name}-{method}-{seed}")
                records.setdefault(f"{name}: {method}", []).append(found)
                print(name, method, seed, found, flush=True)
    (folder / "domains.json").write_text(json.dumps(records, indent=2), encoding="utf-8")
    table = [
        {
            "": name,
            "target %": mean_and_deviation([100 * one["target_accuracy"] for one in found]),
            "source %": mean_and_deviation([100 * one["source_accuracy"] for one in found]),
            "images/s": f"{statistics.median(one['steady_images_per_second'] for one in found):.0f}",
            "peak MiB": f"{max(one['peak_mib'] for one in found):.0f}",
        }
        for name, found in records.items()
    ]
    print("\n" + markdown_table(table))
    for method in options.methods:
        pairs = zip(records[f"ours: {method}"], records[f"skada: {method}"], strict=True)
        ratios = [own["steady_images_per_second"] / other["steady_images_per_second"] for own, other in pairs]
        print(f"{method}: images a second, ours by skada's: {' '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    main()
