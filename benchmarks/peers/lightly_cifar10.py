"""Train lightly's SimCLR, MoCo or BYOL on CIFAR-10 for stated epochs, then write embeddings of both splits.

Transform, losses and heads are lightly's; data set, loader, loop, SGD and cosine schedule follow its
CIFAR-10 benchmark (docs/source/getting_started/benchmarks/cifar10_benchmark.py), in plain PyTorch as its
examples are: jitter of strength 0.5, no blur, the two views through the network one after the other, heads
scaled with the width, learning rate 0.06 times batch/128, momentum 0.9, decay 5e-4.

In its favour, beyond that benchmark: images are decoded once and held in memory as arrays (as torchvision's
own CIFAR10 does), the worker processes live through all epochs, the learning rate follows the cosine by step.

The clock starts before the first batch is asked for (imports, decoding and model done, worker processes not
yet started) and stops after the last step. Run with the peers' interpreter; nothing of likewise is imported.
"""

import argparse
import copy
import io
import json
import math
import resource
import sys
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet
import torch
import torch._dynamo  # the first optimizer step would import it, seconds inside the timed part
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from lightly.models.batchnorm import get_norm_layer
from lightly.models.modules import (
    BYOLPredictionHead,
    BYOLProjectionHead,
    MoCoProjectionHead,
    SimCLRProjectionHead,
)
from lightly.models.utils import batch_shuffle, batch_unshuffle, deactivate_requires_grad, update_momentum
from lightly.transforms import SimCLRTransform
from lightly.transforms.utils import IMAGENET_NORMALIZE
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models.resnet import BasicBlock, ResNet

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS_TO_WARM_UP = 3  # left out of the steady rate: allocation, kernel choice and the first wait for workers


class SmallResNet18(ResNet):
    """torchvision's ResNet-18 for 32 px: 3x3 stem, no max-pool, any width; the pooled features come out.

    Args:
        width: Channels of the first stage (64 in the paper), doubled at each of the three others.
        num_splits: Parts of a batch that BatchNorm sees apart; 0 for the whole.
    """

    def __init__(self, width: int, num_splits: int = 0) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2], norm_layer=partial(get_norm_layer, num_splits=num_splits))
        self.inplanes = width
        self.conv1 = nn.Conv2d(3, width, kernel_size=3, padding=1, bias=False)
        self.bn1 = self._norm_layer(width)
        self.maxpool = nn.Identity()
        self.layer1 = self._make_layer(BasicBlock, width, 2)
        self.layer2 = self._make_layer(BasicBlock, 2 * width, 2, stride=2)
        self.layer3 = self._make_layer(BasicBlock, 4 * width, 2, stride=2)
        self.layer4 = self._make_layer(BasicBlock, 8 * width, 2, stride=2)
        self.fc = nn.Identity()
        for module in self.modules():  # as torchvision's constructor does; these layers came after it
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class SimCLR(nn.Module):
    """Backbone and lightly's projection head; widths of heads are scaled with the backbone's.

    Args:
        width: Channels of the first stage.
        temperature: Divides the cosines; 0.5 in the benchmark.
    """

    def __init__(self, width: int, temperature: float = 0.5) -> None:
        super().__init__()
        self.backbone = SmallResNet18(width)
        self.projection_head = SimCLRProjectionHead(8 * width, 8 * width, 128)
        self.criterion = NTXentLoss(temperature=temperature)

    def loss(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Of two views (B, 3, 32, 32) each."""
        views = [self.projection_head(self.backbone(view)) for view in (first, second)]
        return self.criterion(*views)


class MoCo(nn.Module):
    """The benchmark's MoCo: symmetric, a bank of 4,096 keys, momentum 0.99, BatchNorm over 8 parts."""

    def __init__(self, width: int, temperature: float = 0.1) -> None:
        super().__init__()
        self.backbone = SmallResNet18(width, num_splits=8)
        self.projection_head = MoCoProjectionHead(8 * width, 8 * width, 128)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NTXentLoss(temperature=temperature, memory_bank_size=(4096, 128))

    def loss(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Of two views (B, 3, 32, 32) each."""
        update_momentum(self.backbone, self.backbone_momentum, m=0.99)
        update_momentum(self.projection_head, self.projection_head_momentum, m=0.99)
        return 0.5 * (self._one_way(first, second) + self._one_way(second, first))

    def _one_way(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            shuffled, order = batch_shuffle(key)
            keys = batch_unshuffle(self.projection_head_momentum(self.backbone_momentum(shuffled)), order)
        return self.criterion(self.projection_head(self.backbone(query)), keys)


class BYOL(nn.Module):
    """The benchmark's BYOL: heads of 1,024 and 256, momentum 0.99."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = SmallResNet18(width)
        self.projection_head = BYOLProjectionHead(8 * width, 1024, 256)
        self.prediction_head = BYOLPredictionHead(256, 1024, 256)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.projection_head_momentum = copy.deepcopy(self.projection_head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.projection_head_momentum)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Of two views (B, 3, 32, 32) each."""
        update_momentum(self.backbone, self.backbone_momentum, m=0.99)
        update_momentum(self.projection_head, self.projection_head_momentum, m=0.99)
        predictions = [self.prediction_head(self.projection_head(self.backbone(v))) for v in (first, second)]
        with torch.no_grad():
            targets = [self.projection_head_momentum(self.backbone_momentum(v)) for v in (first, second)]
        one, other = self.criterion(predictions[0], targets[1]), self.criterion(predictions[1], targets[0])
        return 0.5 * (one + other)


MODELS = {"simclr": SimCLR, "moco": MoCo, "byol": BYOL}


class ArrayImages(Dataset):
    """Images held in memory, each handed to the transform as a PIL image, as torchvision's CIFAR10 does.

    Args:
        images: (N, 32, 32, 3) uint8.
        transform: From a PIL image to what the loader collates.
    """

    def __init__(self, images: np.ndarray, transform) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(Image.fromarray(self.images[index]))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REPOSITORY / "../shared/data/cifar10")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--method", choices=sorted(MODELS), default="simclr")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--max-seconds", type=float, default=math.inf, help="for rates: end early, at a step")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--width", type=int, default=32, help="channels of the first stage; 64 is ResNet-18")
    parser.add_argument(
        "--precision", choices=["fp32", "bf16"], default="fp32", help="fp32 is lightly's default"
    )
    parser.add_argument("--optimizer", choices=["sgd", "adamw"], default="sgd")
    parser.add_argument("--learning-rate", type=float, help="0.06 x batch/128 for sgd, 1e-3 for adamw")
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    parser.add_argument("--warmup-epochs", type=float, default=0.0)
    parser.add_argument("--min-scale", type=float, default=0.08, help="smallest crop, share of the area")
    parser.add_argument("--jitter-strength", type=float, default=0.5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-records", type=int, help="train on the first ones only, to try things out")
    parser.add_argument("--no-evaluation", action="store_true", help="for rates only: write no embeddings")
    options = parser.parse_args()
    if options.learning_rate is None:
        options.learning_rate = 0.06 * options.batch_size / 128 if options.optimizer == "sgd" else 1e-3
    return options


def read_split(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32, 3) uint8 and names of the classes (N,) of one split."""
    table = pyarrow.parquet.read_table(folder / f"{split}.parquet")
    images = [Image.open(io.BytesIO(row["bytes"])).convert("RGB") for row in table["image"].to_pylist()]
    return np.stack([np.asarray(image) for image in images]), np.array(table["label"].to_pylist())


def cpu_seconds() -> float:
    """Processor time so far of this process and of its ended children (the loader's workers)."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def make_optimizer(options: argparse.Namespace, model: nn.Module) -> torch.optim.Optimizer:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if options.optimizer == "sgd":
        return torch.optim.SGD(
            weights, lr=options.learning_rate, momentum=0.9, weight_decay=options.weight_decay
        )
    return torch.optim.AdamW(weights, lr=options.learning_rate, weight_decay=options.weight_decay)


def learning_rate_share(step: int, warmup_steps: int, num_steps: int) -> float:
    """Linear warm-up, then cosine to zero; in [0, 1]."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, num_steps - warmup_steps)))


def autocast(options: argparse.Namespace) -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bf16")


def train(options: argparse.Namespace, model: nn.Module, images: np.ndarray) -> dict:
    """The training loop.

    Returns:
        Steps made, seconds, images (not views) a second, share of the time waiting for data, last loss;
        greatest resident memory of this process and of the largest worker (pages shared with it included).
    """
    transform = SimCLRTransform(
        input_size=32, gaussian_blur=0.0, cj_strength=options.jitter_strength, min_scale=options.min_scale
    )
    loader = DataLoader(
        ArrayImages(images, transform),
        batch_size=options.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )
    optimizer = make_optimizer(options, model)
    num_steps = options.epochs * len(loader)
    warmup_steps = round(options.warmup_epochs * len(loader))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_share(step, warmup_steps, num_steps)
    )

    model.train()
    cpu_before = cpu_seconds()
    waited = 0.0
    ends: list[float] = []  # seconds since the start at the end of each step
    started = asked = time.perf_counter()
    for _ in range(options.epochs):
        for first, second in loader:
            waited += time.perf_counter() - asked
            with autocast(options):
                loss = model.loss(first, second)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            asked = time.perf_counter()
            ends.append(asked - started)
            if ends[-1] > options.max_seconds:
                break
        if ends[-1] > options.max_seconds:
            break

    del loader  # ends its workers, whose processor time and memory count from then on
    warm = min(STEPS_TO_WARM_UP, len(ends) - 1)
    return {
        "steps": len(ends),
        "train_seconds": ends[-1],
        "images_per_second": len(ends) * options.batch_size / ends[-1],
        "steady_images_per_second": (len(ends) - warm)
        * options.batch_size
        / (ends[-1] - (ends[warm - 1] if warm else 0)),
        "waiting_share": waited / ends[-1],
        "cpu_seconds_per_1000_images": 1000 * (cpu_seconds() - cpu_before) / (len(ends) * options.batch_size),
        "last_loss": loss.item(),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # Linux counts it in KiB
        "worker_peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


@torch.inference_mode()
def encode(options: argparse.Namespace, model: nn.Module, images: np.ndarray) -> np.ndarray:
    """Backbone features (N, 8 x width) float32, no augmentation, in the precision of the training."""
    model.eval()
    normalise = transforms.Compose([transforms.ToTensor(), transforms.Normalize(**IMAGENET_NORMALIZE)])
    loader = DataLoader(ArrayImages(images, normalise), batch_size=500)
    with autocast(options):
        return torch.cat([model.backbone(batch).float() for batch in loader]).numpy()


def main() -> None:
    options = parse_arguments()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    np.random.seed(options.seed)
    images, labels = read_split(options.data, "train")
    model = MODELS[options.method](options.width)

    summary = {
        "peer": f"lightly {version('lightly')}",
        **train(options, model, images[: options.max_records]),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "settings": {name: str(value) for name, value in vars(options).items()},
    }
    if not options.no_evaluation:
        validation_images, validation_labels = read_split(options.data, "validation")
        np.savez(
            options.out / "embeddings.npz",
            train_embeddings=encode(options, model, images),
            train_labels=labels,
            validation_embeddings=encode(options, model, validation_images),
            validation_labels=validation_labels,
        )
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2))
    json.dump({name: summary[name] for name in list(summary)[:11]}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
