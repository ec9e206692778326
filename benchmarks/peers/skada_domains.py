"""The skada side of benchmarks/domains.py: DANN or deep CORAL on two tables of digits.

Batches, losses and the gradient reversal are the library's own, on skorch. Images, decoded beforehand, are
one array in memory. The optimizer and its schedule are those of Likewise, and so is the discriminator: the
library's default ends in a softmax over one class, whose gradient is zero. Nothing of Likewise is imported.
"""

import argparse
import io
import json
import math
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import skorch
import torch
from PIL import Image
from skada.deep import DANN, DeepCoral
from skada.deep.modules import GradientReversalLayer
from torch import nn
from transformers import ResNetConfig, ResNetModel

STEPS_TO_WARM_UP = 3
MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)[:, None, None]
DEVIATION = np.array([0.229, 0.224, 0.225], dtype=np.float32)[:, None, None]


def read(folder: Path, part: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 3, S, S) float32, normalized, and labels (N,) of one part of a domain."""
    table = pyarrow.parquet.read_table(sorted(folder.glob(f"{part}*.parquet")))
    images = [
        np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB").resize((size, size)))
        for cell in table["image"].to_pylist()
    ]
    stored = np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255
    return (stored - MEAN) / DEVIATION, np.array(table["label"].to_pylist(), dtype=np.int64)


class Network(nn.Module):
    """A small ResNet with a bottleneck and a classifier."""

    def __init__(self, options: argparse.Namespace, num_classes: int) -> None:
        super().__init__()
        width = options.width
        self.backbone = ResNetModel(
            ResNetConfig(
                embedding_size=width,
                hidden_sizes=[width * 2**k for k in range(4)],
                depths=[1, 1, 1, 1],
                layer_type="basic",
            )
        )
        stem = self.backbone.embedder.embedder.convolution
        self.backbone.embedder.embedder.convolution = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.backbone.embedder.pooler = nn.Identity()
        assert stem.out_channels == width
        self.bottleneck = nn.Sequential(
            nn.Linear(8 * width, options.bottleneck), nn.BatchNorm1d(options.bottleneck), nn.ReLU()
        )
        self.classifier = nn.Linear(options.bottleneck, num_classes)

    def forward(self, images: torch.Tensor, sample_weight: torch.Tensor | None = None) -> torch.Tensor:
        """(B, C) logits."""
        features: torch.Tensor = self.backbone(images).pooler_output.flatten(1)
        return self.classifier(self.bottleneck(features))


class Discriminator(nn.Module):
    """Probability of the target behind a reversed gradient; its strength is set from outside."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        layers = [
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        ]
        self.layers = nn.Sequential(*layers, nn.Sigmoid())
        self.strength = 0.0

    def forward(self, features: torch.Tensor, sample_weight: torch.Tensor | None = None) -> torch.Tensor:
        """(B,) probabilities."""
        return self.layers(GradientReversalLayer.apply(features, self.strength))[:, 0]


def rate(step: int, options: argparse.Namespace) -> float:
    """As Likewise sets it: linear warm-up, then a cosine to zero."""
    warm = max(1, round(options.warmup_share * options.steps))
    if step < warm:
        return (step + 1) / warm
    return (1 + math.cos(math.pi * (step - warm) / max(1, options.steps - warm))) / 2


class Clock(skorch.callbacks.Callback):
    """Seconds of each step; ends the training after the steps asked for, and sets the reversal's strength."""

    def __init__(self, steps: int, discriminator: Discriminator | None) -> None:
        self.steps, self.discriminator = steps, discriminator

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Start the clock."""
        self.seconds: list[float] = []
        self.last = time.perf_counter()

    def on_batch_end(self, net: Any, training: bool = True, **_: Any) -> None:
        """One step more."""
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now
        if self.discriminator is not None:
            self.discriminator.strength = 2 / (1 + math.exp(-10 * len(self.seconds) / self.steps)) - 1
        if len(self.seconds) >= self.steps:
            raise KeyboardInterrupt  # skorch's way to end a training early


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=("dann", "coral"))
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--target", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--bottleneck", type=int, default=256)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--steps", type=int, default=900)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=1e-3)
    parser.add_argument("--warmup-share", type=float, default=0.05)
    parser.add_argument("--reg", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    source, labels = read(options.source, "train", options.size)
    target, _ = read(options.target, "train", options.size)
    network = Network(options, int(labels.max()) + 1)
    discriminator = Discriminator(options.bottleneck, options.hidden) if options.method == "dann" else None
    clock = Clock(options.steps, discriminator)
    per_epoch = max(len(source), len(target)) // (options.batch_size // 2)
    chosen = {
        "max_epochs": options.steps // per_epoch + 2,
        "iterator_train__batch_size": options.batch_size // 2,  # of each domain
        "iterator_train__drop_last": True,
        "train_split": None,
        "verbose": 0,
        "device": "cpu",
        "optimizer": torch.optim.AdamW,
        "lr": options.learning_rate,
        "optimizer__weight_decay": options.weight_decay,
        "callbacks": [
            clock,
            skorch.callbacks.GradientNormClipping(1.0),
            skorch.callbacks.LRScheduler(
                torch.optim.lr_scheduler.LambdaLR,
                lr_lambda=lambda step: rate(step, options),
                step_every="batch",
            ),
        ],
    }
    if discriminator is not None:
        net = DANN(network, "bottleneck", reg=options.reg, domain_classifier=discriminator, **chosen)
    else:
        net = DeepCoral(network, "bottleneck", reg=options.reg, **chosen)
    images = np.concatenate([source, target])
    domains = np.concatenate([np.full(len(source), 1), np.full(len(target), -2)])
    classes = np.concatenate([labels, np.full(len(target), -1)])  # the target's labels are masked
    net.fit(images, classes, sample_domain=domains)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before the evaluation
    network.eval()
    figures = {}
    with torch.inference_mode():
        for name, folder in (("source", options.source), ("target", options.target)):
            held, right = read(folder, "validation", options.size)
            found = [
                network(torch.from_numpy(part)).argmax(1) for part in np.array_split(held, len(held) // 250)
            ]
            figures[f"{name}_accuracy"] = float((torch.cat(found).numpy() == right).mean())
    steady = clock.seconds[STEPS_TO_WARM_UP:]
    summary = {
        "steps": len(clock.seconds),
        "train_seconds": sum(clock.seconds),
        "images_per_second": len(clock.seconds) * options.batch_size / sum(clock.seconds),
        "steady_images_per_second": len(steady) * options.batch_size / sum(steady),
        "waiting_share": 0.0,
        "peak_mib": peak,
    }
    (options.out / "summary.json").write_text(json.dumps(summary | figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
