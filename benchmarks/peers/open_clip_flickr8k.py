"""Train open_clip on Flickr8k for a stated wall time, then write embeddings of the validation split.

Everything that costs time is open_clip's own: `open_clip_train.main`, its model, CSV data set, preprocessing,
tokenizer, loss, optimizer and loop run unmodified. Three names of that module are wrapped from outside:

- `train_one_epoch`: to start the clock when training begins and to keep the model when it ends;
- `get_data`: to keep the preprocessing it makes for evaluation;
- `cosine_lr`: open_clip counts its schedule in steps, and how many fit in the given time is not known before
  the end on a machine that others use too. Its own cosine is therefore laid over a fixed number of points and
  read at the share of the time that has passed. It decays to zero exactly when the time is up, whatever the
  speed: the best case for it. At the first step after that the loop is left.

The clock starts at the first epoch (imports, model and data set are ready, worker processes not yet started)
and stops at the end of the last whole step. Run with the peers' interpreter; nothing of likewise is imported.
"""

import argparse
import csv
import gc
import json
import re
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import open_clip
import open_clip_train.main as open_clip_main
import torch
import torch._dynamo  # the first optimizer step would import it, seconds inside the timed part
from open_clip_train.precision import get_autocast
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEDULE_POINTS = 100_000
STEPS_TO_WARM_UP = 3  # left out of the steady rate: allocation, kernel choice and the first wait for workers


class TimeIsUpError(Exception):
    """Raised from the schedule to leave open_clip's loop between two steps."""


class Watch:
    """Wall clock of the training: when each step began, and what the wrapped names saw.

    Args:
        seconds: Wall time after which no further step begins.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started: float | None = None
        self.cpu_before = 0.0
        self.step_began: list[float] = []  # seconds since the start, one entry a step, and one for the end
        self.model = None
        self.preprocess = None

    def share(self) -> float:
        """Note that a step begins.

        Returns:
            The share of the time that has passed, in [0, 1).

        Raises:
            TimeIsUpError: When nothing is left of it.
        """
        now = time.perf_counter() - self.started
        self.step_began.append(now)
        if now >= self.seconds:
            raise TimeIsUpError
        return now / self.seconds


def cpu_seconds() -> float:
    """Processor time so far of this process and of its ended children (the loader's workers)."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=REPOSITORY / "../shared/data/flickr8k")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder to write; must not hold an earlier run"
    )
    parser.add_argument("--seconds", type=float, default=600, help="wall time of training")
    parser.add_argument("--precision", default="amp", help="open_clip's --precision; amp is its default")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.2, help="0.2 is open_clip's default")
    parser.add_argument("--warmup-share", type=float, default=0.05, help="share of the time")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--patch-size", type=int, default=16)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--text-width", type=int, default=192)
    parser.add_argument("--text-layers", type=int, default=6)
    parser.add_argument("--embedding", type=int, default=256)
    parser.add_argument("--context-length", type=int, default=32, help="77 is open_clip's default")
    parser.add_argument("--no-evaluation", action="store_true", help="for rates only: write no embeddings")
    return parser.parse_args()


def model_config(options: argparse.Namespace) -> dict:
    """The shape in open_clip's own terms; heads are 64 wide, as in all its configurations."""
    return {
        "embed_dim": options.embedding,
        "vision_cfg": {
            "image_size": options.image_size,
            "layers": options.layers,
            "width": options.width,
            "patch_size": options.patch_size,
        },
        "text_cfg": {
            "context_length": options.context_length,
            "vocab_size": 49408,
            "width": options.text_width,
            "heads": options.text_width // 64,
            "layers": options.text_layers,
        },
    }


def read_captions(folder: Path, split: str) -> list[tuple[str, str]]:
    """Pairs (image path relative to the folder, caption) of a split, in the file's order."""
    with open(folder / "captions.csv", newline="", encoding="utf-8") as file:
        return [(row["image"], row["caption"]) for row in csv.DictReader(file) if row["split"] == split]


def write_train_table(options: argparse.Namespace) -> Path:
    """The table open_clip reads: tab separated, one row a caption."""
    path = options.out / "train.tsv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, dialect="excel-tab")
        writer.writerow(["filepath", "title"])
        for image, caption in read_captions(options.data, "train"):
            writer.writerow([str((options.data / image).resolve()), caption])
    return path


def wrap_open_clip(watch: Watch, warmup_share: float) -> None:
    """Put the three wrappers described at the top of this file in place."""
    train_one_epoch, cosine_lr, get_data = (
        open_clip_main.train_one_epoch,
        open_clip_main.cosine_lr,
        open_clip_main.get_data,
    )

    def timed_epoch(model, *arguments, **keywords):
        watch.model = model
        if watch.started is None:
            watch.cpu_before = cpu_seconds()
            watch.started = time.perf_counter()
        return train_one_epoch(model, *arguments, **keywords)

    def cosine_over_time(optimizer, base_lr, warmup_length, steps):
        adjust = cosine_lr(optimizer, base_lr, round(warmup_share * SCHEDULE_POINTS), SCHEDULE_POINTS)
        return lambda step: adjust(int(watch.share() * SCHEDULE_POINTS))

    def kept_data(args, preprocess, *arguments, **keywords):
        watch.preprocess = preprocess[1]
        return get_data(args, preprocess, *arguments, **keywords)

    open_clip_main.train_one_epoch = timed_epoch
    open_clip_main.cosine_lr = cosine_over_time
    open_clip_main.get_data = kept_data


def train(options: argparse.Namespace, watch: Watch, model_name: str) -> None:
    """Call open_clip's command line; returns when the time is up."""
    wrap_open_clip(watch, options.warmup_share)
    command = {
        "train-data": write_train_table(options),
        "dataset-type": "csv",
        "model": model_name,
        "precision": options.precision,
        "device": "cpu",
        "batch-size": options.batch_size,
        "lr": options.learning_rate,
        "wd": options.weight_decay,
        "workers": options.workers,
        "seed": options.seed,
        "epochs": 100_000,  # more than can be made: the time ends the run
        "save-frequency": 0,
        "log-every-n-steps": 1,  # so that its log gives the wait for data of every step
        "logs": options.out,
        "name": "open_clip",
    }
    try:
        open_clip_main.main([f"--{name}={value}" for name, value in command.items()])
    except TimeIsUpError:
        return
    raise RuntimeError("open_clip came back before the time was up: an earlier run in the same --out folder?")


def read_log(path: Path) -> tuple[float, float]:
    """Waiting share and last loss from open_clip's own log.

    Returns:
        The sum of its "Data (t)" over the sum of its "Batch (t)", and the last loss.
    """
    text = path.read_text()
    waits = [float(found) for found in re.findall(r"Data \(t\): ([\d.]+)", text)]
    steps = [float(found) for found in re.findall(r"Batch \(t\): ([\d.]+)", text)]
    losses = [float(found) for found in re.findall(r" Loss: (\S+)", text)]
    return sum(waits) / max(sum(steps), 1e-9), losses[-1] if losses else float("nan")


@torch.inference_mode()
def encode(options: argparse.Namespace, watch: Watch, model_name: str) -> dict[str, np.ndarray]:
    """Embed the validation images and captions, in the precision of the training.

    Returns:
        `image_embeddings (N, D)` and `text_embeddings (M, D)`, float32, unit length; `image_ids (N,)` and
        `text_image_ids (M,)`, the image each caption belongs to.
    """
    model = watch.model.eval()
    autocast = get_autocast(options.precision, device_type="cpu")
    dtype = open_clip.get_input_dtype(options.precision) or torch.float32
    tokenizer = open_clip.get_tokenizer(model_name)
    pairs = read_captions(options.data, "validation")
    image_ids = list(dict.fromkeys(image for image, _ in pairs))

    def images(names: list[str]) -> torch.Tensor:
        pixels = torch.stack([watch.preprocess(Image.open(options.data / name)) for name in names]).to(dtype)
        return model.encode_image(pixels, normalize=True).float()

    def texts(captions: list[str]) -> torch.Tensor:
        return model.encode_text(tokenizer(captions), normalize=True).float()

    def in_pieces(function, items: list[str], size: int = 250) -> np.ndarray:
        with autocast():
            return torch.cat([function(items[i : i + size]) for i in range(0, len(items), size)]).numpy()

    return {
        "image_embeddings": in_pieces(images, image_ids),
        "text_embeddings": in_pieces(texts, [caption for _, caption in pairs]),
        "image_ids": np.array(image_ids),
        "text_image_ids": np.array([image for image, _ in pairs]),
    }


def main() -> None:
    options = parse_arguments()
    warnings.filterwarnings("ignore", message=".*pin_memory.*")
    options.out.mkdir(parents=True, exist_ok=True)
    model_name = (
        f"ViT-benchmark-{options.image_size}-{options.patch_size}"  # "ViT" selects its betas for ViTs
    )
    config_path = options.out / f"{model_name}.json"
    config_path.write_text(json.dumps(model_config(options), indent=2))
    open_clip.add_model_config(config_path)

    watch = Watch(options.seconds)
    train(options, watch, model_name)
    gc.collect()  # ends the loader's workers, whose processor time counts from then on
    cpu_used = cpu_seconds() - watch.cpu_before

    began = watch.step_began
    num_steps = len(began) - 1  # the last entry is the end
    warm = min(STEPS_TO_WARM_UP, num_steps - 1)
    waiting_share, last_loss = read_log(options.out / "open_clip" / "out.log")
    summary = {
        "peer": f"open_clip {open_clip.__version__}",
        "steps": num_steps,
        "train_seconds": began[-1],
        "images_per_second": num_steps * options.batch_size / began[-1],
        "steady_images_per_second": (num_steps - warm) * options.batch_size / (began[-1] - began[warm]),
        "waiting_share": waiting_share,
        "cpu_seconds_per_1000_images": 1000 * cpu_used / (num_steps * options.batch_size),
        "last_loss": last_loss,
        "parameters": sum(parameter.numel() for parameter in watch.model.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "settings": {name: str(value) for name, value in vars(options).items()},
        "model": model_config(options),
    }
    if not options.no_evaluation:
        np.savez(options.out / "embeddings.npz", **encode(options, watch, model_name))
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2))
    json.dump({name: summary[name] for name in list(summary)[:9]}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
