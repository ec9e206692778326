"""A pre-trained text tower beside an image tower: how much of it should be trained, at equal wall time.

    python benchmarks/tuned_towers.py --text MINILM --minutes 8
    python benchmarks/tuned_towers.py --text MINILM --image IMAGES --minutes 8

MINILM is a folder of sentence-transformers, such as all-MiniLM-L6-v2. Each contender trains CLIP on Flickr8k
with the same new ViT (or the image encoder in the folder IMAGES, as `likewise export RUN --format
transformers` writes it) and another share of the text tower: none (locked), its last two layers, low-rank
updates (LoRA), all of it, and all of it at the rate of the image tower. A text tower of the same kind of
training from random weights stands beside them.

1. Rates: rounds of short trainings, every contender once a round. The median of the rounds' seconds a step,
   without the first steps, gives the number of steps in `--minutes`.
2. Recall on the validation split (1,000 photos, 5,000 captions) by the published protocol, both ways.
3. STS-B (Spearman's correlation on its validation part) of the embeddings in the shared space, and of the
   text tower alone, before its new projection: what it has kept of what it knew.

Finished trainings leave their figures in --out; a second call does only what is missing.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from side_by_side import REPOSITORY, markdown_table, output_folder
from trainings import Record, check_names, kept, records_of, train_likewise

RECALLS = {
    f"published_{way}_r{k}": f"{label} R@{k}"
    for way, label in (("image_to_text", "image to text"), ("text_to_image", "text to image"))
    for k in (1, 5, 10)
}
CONTENDERS: dict[str, dict[str, object]] = {
    "locked": {"text.tune": "frozen"},
    "last-2": {"text.tune": "last-2", "text.rate-factor": 0.05},
    "lora": {"text.tune": "lora", "text.rate-factor": 1.0},
    "full": {"text.rate-factor": 0.05},
    "full, fast": {},
    "new": {},
}
"""Flags of each; `new` has no pre-trained tower. The rate of the image tower is 5e-4, a twentieth of it
the usual one of fine-tuning MiniLM."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the comparison."""

    text: Path
    """Folder of the pre-trained text tower."""
    image: Path | None = None
    """Folder of a pre-trained image tower; a new ViT unless given."""
    data: Path = REPOSITORY / "../shared/data/flickr8k"
    """Folder with captions.csv and images/."""
    sts: Path = REPOSITORY / "../shared/data/text/stsb_validation.tsv"
    """Pairs of sentences with scores."""
    out: Path = Path("runs/benchmark-tuned-towers")
    """Folder for the runs, their figures and table.md."""
    only: tuple[str, ...] = ()
    """Contenders to train in this call; all unless given."""
    seeds: tuple[int, ...] = (0,)
    """One training of each contender per seed."""
    minutes: float = 8.0
    """Wall time of each training."""
    rate_rounds: int = 2
    """Rounds of short trainings."""
    rate_steps: int = 15
    """Steps of a short training; the first three are left out of its rate."""
    batch_size: int = 128
    """Pairs a step."""
    max_records: int | None = None
    """Limit of images of each split, for a quick test."""


def settings_of(options: Options, name: str, seed: int, *, steps: int) -> dict[str, object]:
    """The flags of one training."""
    if name == "new":
        tower: dict[str, object] = {"text.architecture": "bert", "text.width": 384, "text.depth": 6}
    else:
        tower = {"text.pretrained": options.text}
    image = {} if options.image is None else {"image.pretrained": options.image}
    limit = {} if options.max_records is None else {"data.max-records": options.max_records}
    return {
        "data": options.data / "captions.csv",
        "image.image-size": 64,
        "text.max-tokens": 32,
        "training.batch-size": options.batch_size,
        "training.learning-rate": 5e-4,
        "training.steps": steps,
        "training.seed": seed,
        **tower,
        **image,
        **CONTENDERS[name],
        **limit,
    }


def seconds_a_step(options: Options, names: Sequence[str]) -> dict[str, float]:
    """By contender, the median over rounds of short trainings; rounds found in --out are read."""
    for number in range(options.rate_rounds):
        for name in names:
            settings = settings_of(options, name, number, steps=options.rate_steps)

            def work(folder: Path, settings: Mapping[str, object] = settings) -> Record:
                measured = train_likewise("clip", settings, folder)
                seconds = options.batch_size / measured["steady_images_per_second"]
                return {"training": measured, "figures": {"seconds a step": seconds}}

            kept(options.out, f"rate: {name}", number, settings, work)
    return {
        name: statistics.median(
            one["figures"]["seconds a step"] for one in records_of(options.out, f"rate: {name}")
        )
        for name in names
    }


def train_and_measure(options: Options, settings: Mapping[str, object], folder: Path) -> Record:
    """One whole training, with the figures of its model."""
    from likewise.runs.folder import RunFolder

    measured = train_likewise("clip", settings, folder)
    results = RunFolder(folder).read_results().own["retrieval"]
    recalls = {title: float(results[key]) for key, title in RECALLS.items()}
    return {"training": measured, "figures": recalls | sts_figures(options.sts, folder)}


def sts_figures(pairs: Path, path: Path) -> dict[str, float]:
    """Rank correlation of a run's embeddings of texts, and of its text tower alone, with people's scores."""
    from likewise.data import DataConfig
    from likewise.evaluation.context import Context
    from likewise.evaluation.registry import evaluate, needs_of_tasks
    from likewise.model.model import Model, load
    from likewise.networks.text import TextNetwork
    from likewise.runs.unseen_rows import open_measured

    whole = load(path)
    tower = Model.trained(
        TextNetwork(whole.network.text),
        tokenizer=whole.tokenizer,
        method="clip",
        fit="crop",
        store_size=None,
        trained_on={},
    )
    needs = needs_of_tasks(whole, "sts")
    measured = open_measured(whole, str(path), DataConfig(source=str(pairs)), needs=needs, progress=False)
    return {
        name: float(evaluate(Context(model, measured.whole), "sts")["spearman"])
        for name, model in (("STS-B", whole), ("STS-B, tower", tower))
    }


def rows_of(out: Path, names: Sequence[str]) -> list[dict[str, object]]:
    """A row for each finished training."""
    return [
        {
            "text tower": name,
            "steps": one["training"]["steps"],
            "images/s": one["training"]["steady_images_per_second"],
            "peak MiB": round(one["training"]["peak_mib"]),
            **{title: f"{100 * one['figures'][title]:.1f}" for title in RECALLS.values()},
            "STS-B": f"{one['figures']['STS-B']:.3f}",
            "STS-B, tower": f"{one['figures']['STS-B, tower']:.3f}",
            "minutes": f"{one['training']['seconds'] / 60:.1f}",
            "seed": one["seed"],
        }
        for name in names
        for one in records_of(out, name)
    ]


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    options = replace(options, out=output_folder(options.out))
    names = check_names(options.only, list(CONTENDERS))
    promised = seconds_a_step(options, names)
    for seed in options.seeds:
        for name in names:
            steps = max(1, round(60 * options.minutes / promised[name]))
            settings = settings_of(options, name, seed, steps=steps)

            def work(folder: Path, settings: Mapping[str, object] = settings) -> Record:
                return train_and_measure(options, settings, folder)

            kept(options.out, name, seed, settings, work)
    table = markdown_table(rows_of(options.out, list(CONTENDERS)))
    (options.out / "table.md").write_text(table + "\n", encoding="utf-8")
    print(f"\n{table}")


if __name__ == "__main__":
    main()
