"""CLIP on Flickr8k: how fast, and how good after the same wall time, beside open_clip.

    python benchmarks/clip_flickr8k.py --peers PEERS/bin/python

PEERS is a virtual environment with open_clip and `benchmarks/peers/requirements.txt`. Both train a model of
the same shape on the same images (open_clip by `peers/open_clip_flickr8k.py`), one after the other.

1. Rates: some rounds of short trainings of every contender, one after the other; the ratio is taken within a
   round, then the median over rounds, so that a machine that is slower for a while slows both.
2. Quality: ours trains for the number of steps that its rate promises to fit into `--seconds`; open_clip is
   then given exactly the seconds that ours took, with a schedule that ends when they do. Recall is computed
   for both by the same function from embeddings of the validation split: 1,000 images, 5,000 captions.

Default precision: ours is bfloat16 mixed where the processor multiplies it natively; open_clip's is float16
with loss scaling, made for GPUs: few processors have instructions for it. So its float32, what its users on a
processor would choose, is measured as well, and bfloat16 of both is the comparison at equal precision.
"""

from __future__ import annotations

import csv
import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from side_by_side import (
    REPOSITORY,
    Measured,
    flags,
    likewise_measured,
    markdown_table,
    option_flags,
    output_folder,
    peer_measured,
    rate_tables,
    run,
    train_command,
    write_results,
)

OURS = {"ours, default": "auto", "ours, float32": "float32"}
THEIRS = {
    "open_clip, default (float16)": "amp",
    "open_clip, float32": "fp32",
    "open_clip, bfloat16": "amp_bf16",
}
PAIRS = [
    ("ours, default", "open_clip, default (float16)"),
    ("ours, default", "open_clip, float32"),
    ("ours, default", "open_clip, bfloat16"),
    ("ours, float32", "open_clip, float32"),
]
METRICS = {
    f"{way}_r{k}": f"{label} R@{k}"
    for way, label in (("image_to_text", "image to text"), ("text_to_image", "text to image"))
    for k in (1, 5, 10)
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the comparison; what is not named for one side holds for both."""

    peers: Path
    """Python interpreter of the environment with open_clip."""
    data: Path = REPOSITORY / "../shared/data/flickr8k"
    """Folder with captions.csv and images/."""
    out: Path = Path("runs/benchmark-clip")
    """Folder for the runs, the table and results.json; must be new."""
    seconds: float = 600.0
    """Wall time of training in the second part; 0 leaves it out."""
    rate_rounds: int = 3
    """Rounds of the first part."""
    rate_steps: int = 40
    """Steps of ours in a short training."""
    rate_seconds: float = 30.0
    """Wall time of open_clip in a short training."""
    seeds: tuple[int, ...] = (0,)
    """One training of each contender per seed in the second part."""
    peer_precisions: tuple[Literal["amp", "fp32", "amp_bf16"], ...] = ("amp", "fp32", "amp_bf16")
    """Of open_clip, in the first part; amp is its default."""
    quality_precisions: tuple[Literal["amp", "fp32", "amp_bf16"], ...] = ("amp", "amp_bf16")
    """Of open_clip, in the second part."""
    image_size: int = 64
    """Side in pixels."""
    patch_size: int = 8
    """Side of a ViT patch in pixels."""
    width: int = 192
    """Width of both Transformers."""
    layers: int = 6
    """Layers of the ViT."""
    text_layers: int = 4
    """Layers of the text Transformer."""
    embedding: int = 256
    """Width of the shared space."""
    context_length: int = 32
    """Longest caption in tokens; open_clip pads to it, ours to the longest of a batch."""
    batch_size: int = 128
    """Pairs a step."""
    learning_rate: float = 5e-4
    """Peak learning rate of ours; the best of 3e-4, 5e-4 and 1e-3 after 120 steps (docs/benchmarks.md)."""
    weight_decay: float = 0.1
    """Weight decay of ours."""
    peer_learning_rate: float = 3e-4
    """Peak learning rate of open_clip; the best of 3e-4, 5e-4, 1e-3 after 75 s each (docs/benchmarks.md)."""
    peer_weight_decay: float = 0.2
    """Weight decay of open_clip; its default."""
    peer_workers: int = 2
    """Worker processes of open_clip's loader."""


def likewise_command(options: Options, out: Path, *, precision: str, steps: int, seed: int) -> list[str]:
    """Our command line for one training."""
    shared = option_flags(
        options, "image_size", "patch_size", "width", "batch_size", "learning_rate", "weight_decay"
    )
    settings = shared | {
        "data": options.data / "captions.csv",
        "out": out,
        "image.depth": options.layers,
        "text.width": options.width,
        "text.depth": options.text_layers,
        "text.max-tokens": options.context_length,
        "method.embedding-dim": options.embedding,
        "training.steps": steps,
        "training.precision": precision,
        "training.seed": seed,
        "training.evaluate-every": 0,
        "training.save-every": 0,
    }
    return train_command("clip", settings)


def open_clip_command(
    options: Options, out: Path, *, precision: str, seconds: float, seed: int, evaluate: bool
) -> list[str]:
    """The peer's command line for one training."""
    settings = {
        "data": options.data,
        "out": out,
        "seconds": seconds,
        "precision": precision,
        "seed": seed,
        "image-size": options.image_size,
        "patch-size": options.patch_size,
        "width": options.width,
        "layers": options.layers,
        "text-width": options.width,
        "text-layers": options.text_layers,
        "embedding": options.embedding,
        "context-length": options.context_length,
        "batch-size": options.batch_size,
        "learning-rate": options.peer_learning_rate,
        "weight-decay": options.peer_weight_decay,
        "workers": options.peer_workers,
    }
    script = REPOSITORY / "benchmarks/peers/open_clip_flickr8k.py"
    return [str(options.peers), str(script), *flags(settings), *([] if evaluate else ["--no-evaluation"])]


def peers_of(options: Options) -> dict[str, str]:
    """Names and precisions of the peer's contenders that were asked for."""
    return {name: precision for name, precision in THEIRS.items() if precision in options.peer_precisions}


def measure_rates(options: Options) -> dict[str, list[Measured]]:
    """Short trainings, every contender once a round."""
    contenders = OURS | peers_of(options)
    rates: dict[str, list[Measured]] = {name: [] for name in contenders}
    for number in range(options.rate_rounds):
        for place, (name, precision) in enumerate(contenders.items()):
            out = options.out / f"rate-{number}-{place}"
            if name in OURS:
                command = likewise_command(
                    options, out, precision=precision, steps=options.rate_steps, seed=number
                )
                run(command, options.out / f"{out.name}.log")
                rates[name].append(likewise_measured(out, options.batch_size))
            else:
                command = open_clip_command(
                    options,
                    out,
                    precision=precision,
                    seconds=options.rate_seconds,
                    seed=number,
                    evaluate=False,
                )
                run(command, options.out / f"{out.name}.log")
                rates[name].append(peer_measured(out))
            print(
                f"round {number + 1}: {name}: {rates[name][-1].steady_images_per_second:.1f} images/s",
                flush=True,
            )
    return rates


def embed_validation(options: Options, folder: Path) -> dict[str, np.ndarray]:
    """Embeddings of the validation split by our model, in the form that the peer's script writes."""
    import likewise

    with open(options.data / "captions.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "validation"]
    images = list(dict.fromkeys(row["image"] for row in rows))
    model = likewise.load(folder / "model")
    return {
        "image_embeddings": np.asarray(model.encode_images([options.data / image for image in images])),
        "text_embeddings": np.asarray(model.encode_texts([row["caption"] for row in rows])),
        "image_ids": np.array(images),
        "text_image_ids": np.array([row["image"] for row in rows]),
    }


def recalls(embeddings: dict[str, np.ndarray]) -> dict[str, float]:
    """Retrieval both ways; a caption belongs to its image."""
    from likewise.metrics.retrieval import retrieval

    numbers = {name: number for number, name in enumerate(embeddings["image_ids"].tolist())}
    return retrieval(
        embeddings["image_embeddings"],
        embeddings["text_embeddings"],
        np.arange(len(numbers)),
        np.array([numbers[name] for name in embeddings["text_image_ids"].tolist()]),
    )


def measure_quality(options: Options, promised_rate: float) -> list[dict[str, object]]:
    """Long trainings, ours first, then each precision of open_clip for the same seconds."""
    rows: list[dict[str, object]] = []
    for seed in options.seeds:
        out = options.out / f"ours-{seed}"
        steps = max(1, round(options.seconds * promised_rate / options.batch_size))
        run(
            likewise_command(options, out, precision="auto", steps=steps, seed=seed),
            options.out / f"{out.name}.log",
        )
        ours = likewise_measured(out, options.batch_size)
        rows.append(quality_row("ours, default", seed, ours, recalls(embed_validation(options, out))))
        for name, precision in THEIRS.items():
            if precision not in options.quality_precisions:
                continue
            out = options.out / f"open_clip-{precision}-{seed}"
            command = open_clip_command(
                options, out, precision=precision, seconds=ours.seconds, seed=seed, evaluate=True
            )
            run(command, options.out / f"{out.name}.log")
            with np.load(out / "embeddings.npz") as embeddings:
                rows.append(quality_row(name, seed, peer_measured(out), recalls(dict(embeddings))))
    return rows


def quality_row(name: str, seed: int, measured: Measured, metrics: dict[str, float]) -> dict[str, object]:
    """One line of the second table."""
    row: dict[str, object] = {
        "contender": name,
        "seed": seed,
        "seconds": measured.seconds,
        "steps": measured.steps,
    }
    row |= {"images/s": measured.images_per_second, "waiting": f"{measured.waiting_share:.1%}"}
    row |= {label: metrics[metric] for metric, label in METRICS.items()}
    print(row, flush=True)
    return row


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    # The folders of an earlier run would be resumed or refused.
    options = replace(options, out=output_folder(options.out, new=True))
    rates = measure_rates(options)
    parts = rate_tables(rates, [pair for pair in PAIRS if pair[1] in rates])
    quality = []
    if options.seconds > 0:
        rate = statistics.median(one.steady_images_per_second for one in rates["ours, default"])
        quality = measure_quality(options, rate)
        parts.append(markdown_table(quality))
    write_results(options.out, asdict(options), rates, quality, parts)


if __name__ == "__main__":
    main()
