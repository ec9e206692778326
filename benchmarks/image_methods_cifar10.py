"""Image methods on CIFAR-10 beside lightly: accuracy after the same epochs, speed and memory.

    python benchmarks/image_methods_cifar10.py --peers PEERS/bin/python

PEERS is a virtual environment with lightly and `benchmarks/peers/requirements.txt`. All train the same
network (a narrow ResNet-18 with a 3x3 stem) for the same epochs with the same batch, optimizer and strength
of augmentation; lightly by `peers/lightly_cifar10.py`, which follows its own CIFAR-10 benchmark.

1. Rates and memory: rounds of short trainings, every contender once a round, so that a slow machine slows
all;
   ratios are taken within a round, then the median.
2. Quality: a whole training for each contender and seed; validation accuracy of nearest neighbours and of a
   linear classifier on the features before any head, by the same functions for all.

Finished rounds and trainings leave their figures in --out; a second call does only what is missing. In parts:
`--only "ours: byol" "lightly: byol" --seeds 0`. A ratio needs both in the same rounds.

Remaining differences: our SGD has Nesterov momentum and no weight decay on biases and norms; the EMA momentum
of our BYOL and MoCo v3 follows a cosine, as in their papers. Default precision: float32 for lightly; for ours
bfloat16 mixed on CPUs with native bfloat16.

Memory is the peak resident memory of the training process. Ours includes decoding the images and the final
evaluation, lightly's ends with the training; its worker processes are listed apart, including shared pages.
"""

from __future__ import annotations

import json
import shutil
import statistics
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow.parquet
import tyro
from side_by_side import REPOSITORY, flags, option_flags, output_folder, peer_measured, run
from trainings import (
    Record,
    as_texts,
    check_names,
    check_settings,
    class_figures,
    encoded_images,
    kept,
    place_of,
    quality_rows,
    report,
    train_likewise,
)

IMAGES = 20_000  # of the training split


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One method of ours or of lightly's."""

    method: str
    peer: str | None = None
    """The contender of lightly's that it is compared with."""
    own: dict[str, object] = field(default_factory=dict)
    """Our flags besides those that all share."""


# Heads and constants as lightly's CIFAR-10 benchmark has them, where it has the method. Peers stand next to
# each other, so that they run one after the other in each round.
CONTENDERS = {
    "ours: simclr": Contender(method="simclr", peer="lightly: simclr", own={"method.temperature": 0.5}),
    "lightly: simclr": Contender(method="simclr"),
    "ours: moco v2": Contender(
        method="moco",
        peer="lightly: moco",
        own={
            "method.version": "v2",
            "method.temperature": 0.1,
            "method.queue-size": 4096,
            "method.ema-momentum": 0.99,
            "method.symmetric": (),
            "method.push-between": (),
            "method.norm-rows": 16,  # 8 parts, as there
        },
    ),
    "lightly: moco": Contender(method="moco"),
    # As it comes, in one direction: the cost that the method states of itself.
    "ours: moco": Contender(method="moco", own={"method.version": "v2"}),
    "ours: byol": Contender(
        method="byol",
        peer="lightly: byol",
        # Our loss is the paper's sum of two, 4 times lightly's mean: a quarter of the rate, and 4 times the
        # decay, make the same steps.
        own={
            "method.hidden-dim": 1024,
            "method.ema-momentum": 0.99,
            "training.learning-rate": 0.015,
            "training.weight-decay": 2e-3,
        },
    ),
    "lightly: byol": Contender(method="byol"),
    "ours: moco v3": Contender(
        method="moco",
        own={"method.version": "v3", "method.hidden-dim": 1024, "method.ema-momentum": 0.99},
    ),
    "ours: simsiam": Contender(
        method="simsiam",
        own={
            "method.projection-dim": 1024,
            "method.predictor-dim": 256,
            "method.num-projector-layers": 2,
        },
    ),
    "ours: instance": Contender(method="instance", own={"method.temperature": 0.1}),
    "ours: multiview": Contender(method="multiview"),
    "ours: supcon": Contender(method="supcon"),
    "ours: triplet": Contender(method="triplet"),
    "ours: siamese": Contender(method="siamese"),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the comparison; they hold for both sides."""

    peers: Path
    """Python interpreter of the environment with lightly."""
    data: Path = REPOSITORY / "../shared/data/cifar10"
    """Folder with train.parquet and validation.parquet."""
    out: Path = Path("runs/benchmark-cifar10")
    """Folder for the runs, their figures and table.md; finished trainings are reused."""
    only: tuple[str, ...] = ()
    """Contenders to train and measure in this call, by name; all unless given."""
    epochs: int = 20
    """Epochs of each whole training; 0 leaves them out."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One whole training of each contender per seed."""
    rate_rounds: int = 3
    """Rounds of short trainings; 0 leaves them out."""
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
    peer_precision: Literal["fp32", "bf16"] = "fp32"
    """Precision of lightly's whole trainings; its rates are always measured at its default, fp32."""
    peer_workers: int = 2
    """Worker processes of lightly's loader."""
    max_records: int | None = None
    """Limit of images of each split, for a quick test."""


def likewise_settings(options: Options, name: str, *, steps: int, seed: int) -> dict[str, object]:
    """Our flags for one training; jitter 0.4, 0.4, 0.4, 0.1 is lightly's at strength 0.5."""
    contender = CONTENDERS[name]
    settings = option_flags(
        options, "width", "batch_size", "learning_rate", "weight_decay", "max_records"
    ) | {
        "image.architecture": "resnet",
        "image.image-size": 32,
        "views.crop-scale": (options.min_scale, 1.0),
        "training.steps": steps,
        "training.optimizer": "sgd",
        "training.warmup-share": 0.0,
        "training.clip-gradient": 0.0,  # lightly clips none
        "training.seed": seed,
    }
    if contender.method != "multiview":  # its views are the channels: no colour jitter
        settings |= {f"views.{part}": 0.4 for part in ("brightness", "contrast", "saturation")}
        settings |= {"views.hue": 0.1, "views.jitter": 0.8, "views.grey": 0.2, "views.blur": 0.0}
    return settings | contender.own


def lightly_settings(options: Options, name: str, *, seed: int, precision: str) -> dict[str, object]:
    """The flags of the peer's script, without its data."""
    settings: dict[str, object] = {
        "method": CONTENDERS[name].method,
        "epochs": max(1, options.epochs),
        "batch-size": options.batch_size,
        "width": options.width,
        "learning-rate": options.learning_rate,
        "weight-decay": options.weight_decay,
        "min-scale": options.min_scale,
        "workers": options.peer_workers,
        "precision": precision,
        "seed": seed,
    }
    return settings if options.max_records is None else settings | {"max-records": options.max_records}


def train_lightly(options: Options, settings: dict[str, object], folder: Path, *more: str) -> Record:
    """One training by the peer's script; as `train_likewise`, with its workers' memory apart."""
    script = REPOSITORY / "benchmarks/peers/lightly_cifar10.py"
    places = {"data": options.data, "out": folder}
    command = [options.peers, script, *flags(places | settings), *more]
    run(command, folder.with_name(f"{folder.name}.log"))
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    memory = {key: summary[key] for key in ("peak_mib", "worker_peak_mib")}
    return asdict(peer_measured(folder)) | memory


def embed_splits(data: Path, model_folder: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pooled features, as they are, and classes of the training and the validation split, by our model."""
    import likewise

    model = likewise.load(model_folder)
    tables = [pyarrow.parquet.read_table(data / f"{split}.parquet") for split in ("train", "validation")]
    return [
        (model.encode_images(encoded_images(table), normalize=False), np.array(table["label"].to_pylist()))
        for table in tables
    ]


def train_whole(options: Options, name: str, seed: int) -> None:
    """One whole training, whose figures stay in --out."""
    if name.startswith("ours"):
        images = IMAGES if options.max_records is None else min(IMAGES, options.max_records)
        steps = options.epochs * (images // options.batch_size)  # the last, smaller batch is dropped
        settings = likewise_settings(options, name, steps=steps, seed=seed)
    else:
        settings = lightly_settings(options, name, seed=seed, precision=options.peer_precision)

    def work(folder: Path) -> Record:
        if name.startswith("ours"):
            measured = train_likewise(CONTENDERS[name].method, {"data": options.data} | settings, folder)
            parts = embed_splits(options.data, folder / "model")
        else:
            measured = train_lightly(options, settings, folder)
            with np.load(folder / "embeddings.npz") as found:
                parts = [
                    (found[f"{split}_embeddings"], found[f"{split}_labels"])
                    for split in ("train", "validation")
                ]
        return {"training": measured, "figures": class_figures(*parts)}

    kept(options.out, name, seed, settings, work)


def read_rounds(options: Options) -> list[dict[str, Record]]:
    """The rounds of all calls: by contender, what its short training measured."""
    path = options.out / "rates.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def short_training(options: Options, name: str, folder: Path) -> Record:
    """The rate and the memory of one contender, and the settings they were measured with."""
    if name.startswith("ours"):
        settings = likewise_settings(options, name, steps=options.rate_steps, seed=0)
        measured = train_likewise(CONTENDERS[name].method, {"data": options.data} | settings, folder)
    else:
        settings = lightly_settings(options, name, seed=0, precision="fp32")
        short = ("--max-seconds", str(options.rate_seconds), "--no-evaluation")
        measured = train_lightly(options, settings, folder, *short)
    return {"settings": as_texts(settings)} | measured


def measure_rates(options: Options, names: list[str]) -> None:
    """Short trainings, every contender of this call once a round, until there are rounds enough that hold
    them all."""
    path = options.out / "rates.json"
    rounds = read_rounds(options)
    while sum(set(names) <= set(one) for one in rounds) < options.rate_rounds:
        found: dict[str, Record] = {}
        for name in names:
            folder = options.out / f"rate-{len(rounds)}-{place_of(name)}"
            if folder.exists():
                shutil.rmtree(folder)  # of an interrupted round
            found[name] = short_training(options, name, folder)
            for one in rounds:
                if name in one:
                    check_settings(path, one[name]["settings"], found[name]["settings"])
            rate = found[name]["steady_images_per_second"]
            print(f"round {len(rounds) + 1}: {name}: {rate:.0f} images/s", flush=True)
        rounds.append(found)
        path.write_text(json.dumps(rounds, indent=2), encoding="utf-8")


def rate_row(rounds: list[dict[str, Record]], name: str) -> dict[str, object]:
    """Images a second, the ratio to the peer, a step's cost beside our SimCLR's, memory: medians."""
    having = [one for one in rounds if name in one]

    def rate(one: dict[str, Record], contender: str) -> float:
        return float(one[contender]["steady_images_per_second"])

    def median(values: list[float]) -> object:
        return statistics.median(values) if values else ""

    peer = CONTENDERS[name].peer
    return {
        "images/s": median([rate(one, name) for one in having]),
        "times its peer": median([rate(one, name) / rate(one, peer) for one in having if peer in one]),
        "a step, in our simclr's": median(
            [rate(one, "ours: simclr") / rate(one, name) for one in having if "ours: simclr" in one]
        ),
        "peak MiB": median([one[name]["peak_mib"] for one in having]),
        "a worker, MiB": median(
            [one[name]["worker_peak_mib"] for one in having if "worker_peak_mib" in one[name]]
        ),
    }


def table_rows(options: Options) -> list[dict[str, object]]:
    """A row for each contender of which anything is measured."""
    rounds, quality = read_rounds(options), quality_rows(options.out, list(CONTENDERS))
    columns = next(iter(quality.values()), {})
    rows = []
    for name in CONTENDERS:
        if name in quality or any(name in one for one in rounds):
            empty: dict[str, object] = dict.fromkeys(columns, "")
            rows.append(empty | {"contender": name} | quality.get(name, {}) | rate_row(rounds, name))
    return rows


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    options = replace(options, out=output_folder(options.out))
    names = check_names(options.only, list(CONTENDERS))
    measure_rates(options, names)
    seeds = options.seeds if options.epochs else ()
    for seed in seeds:
        for name in names:
            train_whole(options, name, seed)
    report(options.out, list(CONTENDERS), seeds, table_rows(options))


if __name__ == "__main__":
    main()
