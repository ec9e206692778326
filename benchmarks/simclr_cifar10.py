"""SimCLR on CIFAR-10: how fast, and how good after the same epochs, beside lightly.

    python benchmarks/simclr_cifar10.py --peers PEERS/bin/python

PEERS is a virtual environment with lightly and `benchmarks/peers/requirements.txt`. Both train the same
network (ResNet-18 of half width with a 3x3 stem) for the same epochs, with the same batch, temperature,
optimizer and strength of augmentation (lightly by `peers/lightly_cifar10.py`), one after the other.

1. Rates: some rounds of short trainings of every contender, one after the other; the ratio is taken within a
   round, then the median over rounds, so that a machine that is slower for a while slows both.
2. Quality: full trainings; the accuracy of nearest neighbours of the validation split among the training
   split, for both by the same function from the features before the projection head: 20 neighbours and
   temperature 0.07 (our default), and 200 and 0.1 (those of lightly's own benchmark).

Default precision: float32 for lightly; for ours bfloat16 mixed where the processor multiplies it natively.
Both are therefore also measured at the other's.
"""

from __future__ import annotations

import io
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import tyro
from side_by_side import (
    REPOSITORY,
    Measured,
    flags,
    likewise_measured,
    markdown_table,
    peer_measured,
    rate_tables,
    run,
    write_results,
)

OURS = {"ours, default": "auto", "ours, float32": "float32"}
THEIRS = {"lightly, default (float32)": "fp32", "lightly, bfloat16": "bf16"}
PAIRS = [
    ("ours, default", "lightly, default (float32)"),
    ("ours, default", "lightly, bfloat16"),
    ("ours, float32", "lightly, default (float32)"),
]
IMAGES = 20_000  # of the training split


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the comparison; they hold for both sides."""

    peers: Path
    """Python interpreter of the environment with lightly."""
    data: Path = REPOSITORY / "../shared/data/cifar10"
    """Folder with train.parquet and validation.parquet."""
    out: Path = Path("runs/benchmark-simclr")
    """Folder for the runs, the table and results.json; must be new."""
    epochs: int = 20
    """Epochs of the second part; 0 leaves it out."""
    rate_rounds: int = 3
    """Rounds of the first part."""
    rate_steps: int = 40
    """Steps of ours in a short training."""
    rate_seconds: float = 30.0
    """Wall time of lightly in a short training."""
    seeds: tuple[int, ...] = (0,)
    """One training of each contender per seed in the second part."""
    every_precision: bool = False
    """In the second part train each side at both precisions, not only at its default."""
    width: int = 32
    """Channels of the first stage; 64 is ResNet-18."""
    batch_size: int = 128
    """Images a step; each gives two views."""
    temperature: float = 0.5
    """Divides the cosines in NT-Xent."""
    learning_rate: float = 0.06
    """Of SGD with momentum 0.9; lightly's benchmark has 0.06 for a batch of 128."""
    weight_decay: float = 5e-4
    """As in lightly's benchmark."""
    min_scale: float = 0.08
    """Smallest crop, as a share of the area; lightly's default."""
    peer_workers: int = 2
    """Worker processes of lightly's loader."""


def likewise_command(options: Options, out: Path, *, precision: str, steps: int, seed: int) -> list[str]:
    """Our command line for one training; jitter 0.4, 0.4, 0.4, 0.1 is lightly's at its strength of 0.5."""
    settings = {
        "data": options.data,
        "out": out,
        "image.architecture": "resnet",
        "image.image-size": 32,
        "image.width": options.width,
        "method.temperature": options.temperature,
        "views.crop-scale": (options.min_scale, 1.0),
        "views.brightness": 0.4,
        "views.contrast": 0.4,
        "views.saturation": 0.4,
        "views.hue": 0.1,
        "views.jitter": 0.8,
        "views.grey": 0.2,
        "views.flip": 0.5,
        "views.blur": 0.0,
        "training.steps": steps,
        "training.batch-size": options.batch_size,
        "training.optimizer": "sgd",
        "training.learning-rate": options.learning_rate,
        "training.weight-decay": options.weight_decay,
        "training.warmup-share": 0.0,
        "training.precision": precision,
        "training.seed": seed,
        "training.log-every": 1,
        "training.evaluate-every": 0,
        "training.save-every": 0,
    }
    return [sys.executable, "-m", "likewise.cli.main", "train", "simclr", *flags(settings)]


def lightly_command(
    options: Options, out: Path, *, precision: str, seed: int, seconds: float | None
) -> list[str]:
    """The peer's command line: a short training of `seconds`, or a whole one with its embeddings."""
    settings = {
        "data": options.data,
        "out": out,
        "epochs": max(1, options.epochs),
        "batch-size": options.batch_size,
        "width": options.width,
        "precision": precision,
        "temperature": options.temperature,
        "learning-rate": options.learning_rate,
        "weight-decay": options.weight_decay,
        "min-scale": options.min_scale,
        "workers": options.peer_workers,
        "seed": seed,
    }
    short = [] if seconds is None else ["--max-seconds", str(seconds), "--no-evaluation"]
    script = REPOSITORY / "benchmarks/peers/lightly_cifar10.py"
    return [str(options.peers), str(script), *flags(settings), *short]


def measure_rates(options: Options) -> dict[str, list[Measured]]:
    """Short trainings, every contender once a round."""
    rates: dict[str, list[Measured]] = {name: [] for name in (*OURS, *THEIRS)}
    for number in range(options.rate_rounds):
        for place, (name, precision) in enumerate((OURS | THEIRS).items()):
            out = options.out / f"rate-{number}-{place}"
            log = options.out / f"{out.name}.log"
            if name in OURS:
                steps = options.rate_steps
                run(likewise_command(options, out, precision=precision, steps=steps, seed=number), log)
                rates[name].append(likewise_measured(out, options.batch_size))
            else:
                seconds = options.rate_seconds
                run(lightly_command(options, out, precision=precision, seed=number, seconds=seconds), log)
                rates[name].append(peer_measured(out))
            print(
                f"round {number + 1}: {name}: {rates[name][-1].steady_images_per_second:.1f} images/s",
                flush=True,
            )
    return rates


def embed_splits(options: Options, folder: Path) -> dict[str, np.ndarray]:
    """Features of both splits by our model, in the form that the peer's script writes."""
    import pyarrow.parquet
    from PIL import Image

    import likewise

    model = likewise.load(folder / "model")
    result = {}
    for split in ("train", "validation"):
        table = pyarrow.parquet.read_table(options.data / f"{split}.parquet")
        images = [Image.open(io.BytesIO(row["bytes"])).convert("RGB") for row in table["image"].to_pylist()]
        result[f"{split}_embeddings"] = np.asarray(model.encode_images(images))
        result[f"{split}_labels"] = np.array(table["label"].to_pylist())
    return result


def accuracies(embeddings: dict[str, np.ndarray]) -> dict[str, float]:
    """Weighted nearest neighbours of the validation split among the training split, at two settings."""
    from likewise.evaluation.neighbours import knn_accuracy

    classes = np.unique(embeddings["train_labels"])
    train, validation = (
        (embeddings[f"{split}_embeddings"], np.searchsorted(classes, embeddings[f"{split}_labels"]))
        for split in ("train", "validation")
    )
    return {
        f"kNN, k={k}": knn_accuracy(*train, *validation, k=k, temperature=temperature)
        for k, temperature in ((20, 0.07), (200, 0.1))
    }


def measure_quality(options: Options) -> list[dict[str, object]]:
    """Full trainings, ours and lightly's in turn."""
    contenders = {
        name: precision
        for name, precision in (OURS | THEIRS).items()
        if options.every_precision or "default" in name
    }
    rows: list[dict[str, object]] = []
    for seed in options.seeds:
        for name, precision in contenders.items():
            out = options.out / f"{'ours' if name in OURS else 'lightly'}-{precision}-{seed}"
            log = options.out / f"{out.name}.log"
            if name in OURS:
                steps = options.epochs * (IMAGES // options.batch_size)  # the last, smaller batch is dropped
                run(likewise_command(options, out, precision=precision, steps=steps, seed=seed), log)
                measured, metrics = (
                    likewise_measured(out, options.batch_size),
                    accuracies(embed_splits(options, out)),
                )
            else:
                run(lightly_command(options, out, precision=precision, seed=seed, seconds=None), log)
                with np.load(out / "embeddings.npz") as embeddings:
                    measured, metrics = peer_measured(out), accuracies(dict(embeddings))
            row: dict[str, object] = {"contender": name, "seed": seed, "steps": measured.steps}
            row |= {"seconds": measured.seconds, "images/s": measured.images_per_second}
            rows.append(row | {"waiting": f"{measured.waiting_share:.1%}"} | metrics)
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    options.out.mkdir(parents=True)  # fails on an earlier run: its folders would be resumed or refused
    rates = measure_rates(options)
    parts = rate_tables(rates, PAIRS) if options.rate_rounds > 0 else []
    quality = measure_quality(options) if options.epochs > 0 else []
    if quality:
        parts.append(markdown_table(quality))
    write_results(options.out, asdict(options), rates, quality, parts)


if __name__ == "__main__":
    main()
