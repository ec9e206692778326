"""Image methods on CIFAR-10: how fast, and how good after the same epochs, beside lightly.

    python benchmarks/image_methods_cifar10.py --peers PEERS/bin/python

PEERS is a virtual environment with lightly and `benchmarks/peers/requirements.txt`. All train the same
network (a narrow ResNet-18 with a 3x3 stem) for the same epochs with the same batch, optimizer and strength
of augmentation (lightly by `peers/lightly_cifar10.py`, which follows its own CIFAR-10 benchmark).

1. Quality: a whole training for each contender and seed; accuracy on the validation split of nearest
   neighbours (20 and temperature 0.07, our default; 200 and 0.1, lightly's) and of a linear classifier, for
   all by the same functions from the features before any head. Each finished training leaves its figures in
   --out, and a second call with the same --out goes on with what is missing.
2. Rates and memory: rounds of short trainings, every contender once a round, so that a machine that is slower
   for a while slows all; ratios are taken within a round, then the median.

Default precision: float32 for lightly; for ours bfloat16 mixed where the processor multiplies it natively.
"""

from __future__ import annotations

import io
import json
import statistics
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import tyro
from side_by_side import (
    REPOSITORY,
    Measured,
    flags,
    likewise_measured,
    markdown_table,
    mean_and_deviation,
    peer_measured,
    run,
)

IMAGES = 20_000  # of the training split


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One method of ours or of lightly's."""

    method: str
    peer: str | None = None
    """The contender of lightly's that it is compared with; None for lightly's own."""
    own: dict[str, object] = field(default_factory=dict)
    """Our flags besides those that all share."""


# Heads and constants as lightly's CIFAR-10 benchmark has them, where it has the method.
CONTENDERS = {
    "ours: instance": Contender(method="instance", own={"method.temperature": 0.1}),
    "ours: simclr": Contender(method="simclr", peer="lightly: simclr", own={"method.temperature": 0.5}),
    "ours: moco v2": Contender(
        method="moco",
        peer="lightly: moco",
        own={
            "method.version": "v2",
            "method.temperature": 0.1,
            "method.queue-size": 4096,
            "method.ema-momentum": 0.99,
            "method.symmetric": (),
        },
    ),
    "ours: moco v3": Contender(
        method="moco", own={"method.version": "v3", "method.hidden-dim": 1024, "method.ema-momentum": 0.99}
    ),
    "ours: byol": Contender(
        method="byol", peer="lightly: byol", own={"method.hidden-dim": 1024, "method.ema-momentum": 0.99}
    ),
    "ours: simsiam": Contender(
        method="simsiam",
        own={
            "method.projection-dim": 1024,
            "method.predictor-dim": 256,
            "method.num-projector-layers": 2,
        },
    ),
    "ours: supcon": Contender(method="supcon"),
    "ours: triplet": Contender(method="triplet"),
    "ours: siamese": Contender(method="siamese"),
    "ours: multiview": Contender(method="multiview"),
    "lightly: simclr": Contender(method="simclr"),
    "lightly: moco": Contender(method="moco"),
    "lightly: byol": Contender(method="byol"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the comparison; they hold for both sides."""

    peers: Path
    """Python interpreter of the environment with lightly."""
    data: Path = REPOSITORY / "../shared/data/cifar10"
    """Folder with train.parquet and validation.parquet."""
    out: Path = Path("runs/benchmark-cifar10")
    """Folder for the runs, their figures and table.md; what is there already is not trained again."""
    only: tuple[str, ...] = ()
    """Contenders to train or measure in this call, by name; all unless given."""
    epochs: int = 20
    """Epochs of each whole training; 0 leaves them out."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One whole training of each contender per seed."""
    rate_rounds: int = 3
    """Rounds of short trainings."""
    rate_steps: int = 40
    """Steps of ours in a short training."""
    rate_seconds: float = 15.0
    """Wall time of lightly in a short training."""
    width: int = 16
    """Channels of the first stage; 64 is ResNet-18."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 0.06
    """Of SGD with momentum 0.9; lightly's benchmark has 0.06 for a batch of 128."""
    weight_decay: float = 5e-4
    """As in lightly's benchmark."""
    min_scale: float = 0.08
    """Smallest crop, as a share of the area; lightly's default."""
    peer_workers: int = 2
    """Worker processes of lightly's loader."""


def likewise_command(options: Options, name: str, out: Path, *, steps: int, seed: int) -> list[str]:
    """Our command line for one training; jitter 0.4, 0.4, 0.4, 0.1 is lightly's at its strength of 0.5."""
    contender = CONTENDERS[name]
    settings: dict[str, object] = {
        "data": options.data,
        "out": out,
        "image.architecture": "resnet",
        "image.image-size": 32,
        "image.width": options.width,
        "views.crop-scale": (options.min_scale, 1.0),
        "training.steps": steps,
        "training.batch-size": options.batch_size,
        "training.optimizer": "sgd",
        "training.learning-rate": options.learning_rate,
        "training.weight-decay": options.weight_decay,
        "training.warmup-share": 0.0,
        "training.seed": seed,
        "training.log-every": 1,
        "training.evaluate-every": 0,
        "training.save-every": 0,
    }
    if contender.method != "multiview":  # its views are the channels: colours stay as they are
        settings |= {f"views.{name}": 0.4 for name in ("brightness", "contrast", "saturation")}
        settings |= {"views.hue": 0.1, "views.jitter": 0.8, "views.grey": 0.2, "views.blur": 0.0}
    command = [sys.executable, "-m", "likewise.cli.main", "train", contender.method]
    return [*command, *flags(settings | contender.own)]


def lightly_command(options: Options, name: str, out: Path, *, seed: int, seconds: float | None) -> list[str]:
    """The peer's command line: a short training of `seconds`, or a whole one with its embeddings."""
    settings = {
        "method": CONTENDERS[name].method,
        "data": options.data,
        "out": out,
        "epochs": max(1, options.epochs),
        "batch-size": options.batch_size,
        "width": options.width,
        "learning-rate": options.learning_rate,
        "weight-decay": options.weight_decay,
        "min-scale": options.min_scale,
        "workers": options.peer_workers,
        "seed": seed,
    }
    short = [] if seconds is None else ["--max-seconds", str(seconds), "--no-evaluation"]
    script = REPOSITORY / "benchmarks/peers/lightly_cifar10.py"
    return [str(options.peers), str(script), *flags(settings), *short]


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
    """Nearest neighbours at two settings and a linear classifier, learnt on the training split."""
    from likewise.evaluation.neighbours import knn_accuracy
    from likewise.evaluation.probe import linear_probe

    classes = np.unique(embeddings["train_labels"])
    train, validation = (
        (embeddings[f"{split}_embeddings"], np.searchsorted(classes, embeddings[f"{split}_labels"]))
        for split in ("train", "validation")
    )
    figures = {
        f"kNN, k={k}": knn_accuracy(*train, *validation, k=k, temperature=temperature)
        for k, temperature in ((20, 0.07), (200, 0.1))
    }
    found = np.asarray(linear_probe(*train, *validation).predictions)
    return figures | {"linear": float((found == validation[1]).mean())}


def train_whole(options: Options, name: str, seed: int) -> None:
    """One whole training, whose figures stay in --out."""
    place = f"{name.replace(': ', '-').replace(' ', '-')}-{seed}"
    figures = options.out / f"{place}.json"
    if figures.is_file():
        return
    out, log = options.out / place, options.out / f"{place}.log"
    if name.startswith("ours"):
        steps = options.epochs * (IMAGES // options.batch_size)  # the last, smaller batch is dropped
        run(likewise_command(options, name, out, steps=steps, seed=seed), log)
        measured, found = likewise_measured(out, options.batch_size), accuracies(embed_splits(options, out))
    else:
        run(lightly_command(options, name, out, seed=seed, seconds=None), log)
        with np.load(out / "embeddings.npz") as embeddings:
            measured, found = peer_measured(out), accuracies(dict(embeddings))
    record = {"contender": name, "seed": seed, "epochs": options.epochs, "width": options.width}
    record |= {"measured": asdict(measured), "figures": found}
    figures.write_text(json.dumps(record, indent=2), encoding="utf-8")
    print(f"{name}, seed {seed}: {found}, {measured.seconds:.0f} s", flush=True)


def measure_rates(options: Options, names: list[str]) -> None:
    """Short trainings, every contender once a round; rates.json keeps the rounds of all calls."""
    path = options.out / "rates.json"
    rounds = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    while len(rounds) < options.rate_rounds:
        found = {}
        for name in names:
            place = f"rate-{len(rounds)}-{name.replace(': ', '-').replace(' ', '-')}"
            out, log = options.out / place, options.out / f"{place}.log"
            if name.startswith("ours"):
                peak = run(likewise_command(options, name, out, steps=options.rate_steps, seed=0), log)
                measured = likewise_measured(out, options.batch_size)
            else:
                seconds = options.rate_seconds
                peak = run(lightly_command(options, name, out, seed=0, seconds=seconds), log)
                measured = peer_measured(out)
            found[name] = {"images_per_second": measured.steady_images_per_second, "peak_mib": peak}
            print(f"round {len(rounds) + 1}: {name}: {found[name]}", flush=True)
        rounds.append(found)
        path.write_text(json.dumps(rounds, indent=2), encoding="utf-8")


def quality_table(options: Options) -> list[dict[str, object]]:
    """A row a contender: mean and deviation over the seeds that are there."""
    rows: list[dict[str, object]] = []
    for name in CONTENDERS:
        pattern = f"{name.replace(': ', '-').replace(' ', '-')}-[0-9]*.json"
        records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(options.out.glob(pattern))]
        if not records:
            continue
        figures = {
            key: mean_and_deviation([100 * one["figures"][key] for one in records])
            for key in records[0]["figures"]
        }
        seconds = statistics.mean(Measured(**one["measured"]).seconds for one in records)
        rows.append({"contender": name, "seeds": len(records), **figures, "seconds": seconds})
    return rows


def rate_table(options: Options) -> list[dict[str, object]]:
    """A row a contender: images a second, its ratio to the peer's and to our SimCLR's, peak memory."""
    path = options.out / "rates.json"
    rounds = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    rows: list[dict[str, object]] = []
    for name, contender in CONTENDERS.items():
        having = [one for one in rounds if name in one]
        if not having:
            continue

        def ratio(other: str | None, name: str = name, having: list = having) -> object:  # type: ignore[type-arg]
            each = [
                one[name]["images_per_second"] / one[other]["images_per_second"]
                for one in having
                if other in one
            ]
            return statistics.median(each) if each else ""

        rows.append(
            {
                "contender": name,
                "images/s": statistics.median(one[name]["images_per_second"] for one in having),
                "times its peer": ratio(contender.peer),
                "times our simclr": ratio("ours: simclr"),
                "peak MiB": statistics.median(one[name]["peak_mib"] for one in having),
            }
        )
    return rows


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    unknown = set(options.only) - set(CONTENDERS)
    if unknown:
        raise SystemExit(
            f"no such contender: {', '.join(sorted(unknown))}; there are {', '.join(CONTENDERS)}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    names = [name for name in CONTENDERS if not options.only or name in options.only]
    measure_rates(options, names)
    for seed in options.seeds if options.epochs else ():
        for name in names:
            train_whole(options, name, seed)
    tables = [markdown_table(rows) for rows in (quality_table(options), rate_table(options)) if rows]
    (options.out / "table.md").write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    print("\n" + "\n\n".join(tables))


if __name__ == "__main__":
    main()
