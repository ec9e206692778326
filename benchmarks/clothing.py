"""Features of clothes: backbones trained on 3,068 photos without labels, at random, and with labels.

    python benchmarks/clothing.py

The same narrow ResNet-18 at 64 px: with initial weights (`untrained`; its BatchNorm has statistics of the
images), trained by SimCLR and BYOL without labels, by SupCon with labels, and by cross-entropy as the
supervised bound. Then a linear classifier and nearest neighbours on the pooled features, fitted on the
training split and measured on the 341 photos of the validation split, which was not used before.

Finished trainings leave their figures in --out; a second call does only what is missing.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import tyro
from side_by_side import REPOSITORY, option_flags, output_folder
from torch import nn
from trainings import Record, check_names, class_figures, kept, quality_rows, report, train_likewise

from likewise.data.columns import Needs

# Method (None: not one of ours) and own flags of each contender.
CONTENDERS: dict[str, tuple[str | None, dict[str, object]]] = {
    "untrained": ("simclr", {"training.learning-rate": 1e-12, "training.epochs": 2}),
    "simclr": ("simclr", {"method.temperature": 0.2}),
    "byol": ("byol", {"method.hidden-dim": 1024, "method.ema-momentum": 0.99}),
    "supcon": ("supcon", {"method.temperature": 0.1}),
    # It overfits first.
    "cross-entropy": (None, {"training.weight-decay": 0.05}),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of all contenders."""

    data: Path = REPOSITORY / "../shared/data/clothing"
    """Folder with train/ and validation/, a subfolder for each class."""
    out: Path = Path("runs/benchmark-clothing")
    """Folder for the runs, their figures and table.md; finished trainings are reused."""
    only: tuple[str, ...] = ()
    """Contenders to train; all by default."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training of each contender per seed."""
    epochs: int = 100
    """Epochs of each training."""
    image_size: int = 64
    """Side of the images in pixels."""
    width: int = 16
    """Channels of the ResNet-18's first stage; 64 is the paper's."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 1e-3
    """Of AdamW."""
    weight_decay: float = 1e-4
    """Of AdamW, except for cross-entropy."""
    max_records: int | None = None
    """Limit of images of each split, for a quick test."""


def settings_of(options: Options, name: str, seed: int) -> dict[str, object]:
    """The flags of one training, without its data."""
    shared = option_flags(
        options, "image_size", "width", "batch_size", "epochs", "learning_rate", "weight_decay", "max_records"
    )
    return shared | {"image.architecture": "resnet", "training.seed": seed} | CONTENDERS[name][1]


def train_with_labels(options: Options, seed: int, weight_decay: float, folder: Path) -> Record:
    """Cross-entropy on the classes with AdamW, a cosine schedule and mild views; writes folder/model."""
    from likewise.batches.samplers import ShuffledOrder
    from likewise.data import DataConfig, prepare
    from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
    from likewise.model import Model
    from likewise.networks.image import ImageNetwork
    from likewise.step_random import StepRandom
    from likewise.views import random_view, view_preset

    torch.manual_seed(seed)
    data = DataConfig(source=str(options.data), max_records=options.max_records)
    train = prepare(data, image_size=options.image_size, needs=Needs("image", "label")).train
    assert train.labels is not None
    assert train.label_names is not None
    network = ImageNetwork(
        ImageEncoder.build(
            ImageEncoderConfig(architecture="resnet", image_size=options.image_size, width=options.width)
        )
    )
    classifier = nn.Linear(network.dim, len(train.label_names))
    order = ShuffledOrder(len(train), batch_size=options.batch_size, seed=seed)
    steps = options.epochs * order.steps_per_epoch
    weights = [*network.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=options.learning_rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps))
    )
    labels, views = torch.from_numpy(train.labels), view_preset("mild")
    started = time.perf_counter()
    for step in range(steps):
        rows = torch.from_numpy(order.rows(step))
        pixels = random_view(
            train.images(rows),
            size=options.image_size,
            config=views,
            draw=StepRandom(seed=seed, step=step),
            index=rows,
            view=0,
            mean=network.image.mean,
            std=network.image.std,
        )
        loss = F.cross_entropy(classifier(network(pixels)), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - started
    folder.mkdir(parents=True)
    model = Model.trained(
        network,
        tokenizer=None,
        method="cross-entropy",
        fit=data.fit,
        store_size=train.store_size,
        trained_on={"source": str(options.data)},
    )
    model.save(folder / "model")
    return {"seconds": seconds, "images_per_second": steps * options.batch_size / seconds}


def features_of(model_folder: Path, part: Path) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and names of the classes (N,) of all images of a split."""
    import likewise

    paths = sorted(path for path in part.glob("*/*") if path.is_file())
    features = likewise.load(model_folder).encode_images(paths, normalize=False)
    return features, np.array([path.parent.name for path in paths])


def train_and_measure(options: Options, name: str, seed: int, folder: Path) -> Record:
    """One training, and what its features are good for."""
    method, settings = CONTENDERS[name][0], settings_of(options, name, seed)
    if method is None:
        training = train_with_labels(options, seed, float(str(settings["training.weight-decay"])), folder)
    else:
        training = train_likewise(method, {"data": options.data} | settings, folder)
    parts = (features_of(folder / "model", options.data / part) for part in ("train", "validation"))
    return {"training": training, "figures": class_figures(*parts)}


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    options = replace(options, out=output_folder(options.out))
    names = check_names(options.only, list(CONTENDERS))
    for seed in options.seeds:
        for name in names:

            def work(folder: Path, name: str = name, seed: int = seed) -> Record:
                return train_and_measure(options, name, seed, folder)

            kept(options.out, name, seed, settings_of(options, name, seed), work)
    report(options.out, list(CONTENDERS), options.seeds, list(quality_rows(options.out, CONTENDERS).values()))


if __name__ == "__main__":
    main()
