"""What IMC and LMI add to ALBEF: the four settings of TCL's ablation, three seeds, the same steps for each.

    python benchmarks/tcl_ablation.py --dataset scenes
    python benchmarks/tcl_ablation.py --dataset flickr8k

The settings differ only in the weights of two losses: `cma+itm+mlm (ALBEF)` has neither, `+ imc` and `+ lmi`
have one of them, `all` is TCL (Yang 2022, arXiv 2202.10401). Scenes are generated when a training starts, the
same ones every time. Recall is on the validation split, both ways, by cosine and after re-ranking the best k
of each query. The steps are equal, not the time; the table has the minutes. ± is the deviation over seeds.

Finished trainings leave their figures in --out/DATASET; a second call does only what is missing.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from side_by_side import REPOSITORY, mean_and_deviation, option_flags, output_folder
from trainings import Record, check_names, kept, records_of, report, train_likewise

__all__ = [
    "LABELS",
    "RECALLS",
    "SETTINGS",
    "Options",
    "TclSettings",
    "flat",
    "judged_once",
    "retrieval_figures",
    "settings_of",
    "table_rows",
]

Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From places of images and of texts, (p,) each, to (p,) scores."""

# Which of the two parts each setting has; CMA, ITM and MLM are in all.
SETTINGS: dict[str, tuple[str, ...]] = {"albef": (), "imc": ("imc",), "lmi": ("lmi",), "all": ("imc", "lmi")}
LABELS = {"albef": "cma+itm+mlm (ALBEF)", "imc": "+ imc", "lmi": "+ lmi", "all": "all"}

STEPS = {"scenes": 1200, "flickr8k": 2400}  # Flickr8k's photos tell more slowly what belongs together

RECALLS = {
    f"{way}_r{k}": f"{label} R@{k}"
    for way, label in (("image_to_text", "image to text"), ("text_to_image", "text to image"))
    for k in (1, 5, 10)
}


@dataclass(frozen=True, kw_only=True)
class TclSettings:
    """TCL from scratch on a few thousand images.

    The paper's weights are 1 and its momentum 0.995, with 65,536 keys in each queue; it starts from
    pre-trained encoders. Encoders trained from scratch drift so fast that old keys are recognized by their
    age, which teaches nothing: no queue, and a low EMA momentum. IMC and LMI are learned quickly and MLM has
    large gradients: with weights of 1 they dominate CMA, on which retrieval depends.
    """

    imc: float = 0.25
    """Weight of intra-modal contrast, if used."""
    lmi: float = 0.25
    """Weight of local mutual information, if used."""
    mlm: float = 0.3
    """Weight of masked language modelling."""
    queue_size: int = 0
    """Keys in each queue."""
    ema_momentum: float = 0.9
    """Momentum of the EMA encoders."""
    distillation: float = 0.4
    """Share of the EMA encoders' output in the targets."""
    least_crop: float = 0.6
    """Minimum share of an image's area in a crop."""

    def flags(self, parts: Sequence[str]) -> dict[str, object]:
        """The flags of a training with these parts besides CMA, ITM and MLM.

        Args:
            parts: of imc and lmi.
        """
        return {
            "method.imc": self.imc if "imc" in parts else 0.0,
            "method.lmi": self.lmi if "lmi" in parts else 0.0,
            "method.mlm": self.mlm,
            "method.queue-size": self.queue_size,
            "method.ema-momentum": self.ema_momentum,
            "method.distillation": self.distillation,
            "views.crop-scale": (self.least_crop, 1.0),
            "views.randaugment": 0,
        }


@dataclass(frozen=True, kw_only=True)
class Options(TclSettings):
    """Settings that hold for all four."""

    dataset: Literal["scenes", "flickr8k"] = "scenes"
    """What is trained and measured on."""
    data: Path = REPOSITORY / "../shared/data/flickr8k"
    """Folder with captions.csv and images/, for flickr8k."""
    out: Path = Path("runs/benchmark-tcl-ablation")
    """Folder for the runs, their figures and table.md, each dataset in its own; what is there already is not
    trained again."""
    only: tuple[str, ...] = ()
    """Settings to train in this call, of albef, imc, lmi and all; all four unless given."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training of each setting per seed."""
    steps: int | None = None
    """Steps of each training; by default 1,200 on scenes and 2,400 on Flickr8k."""
    num_judged: tuple[int, ...] = (16,)
    """k: candidates of each query to re-rank; a line of the table each."""
    train_scenes: int = 4000
    """Scenes to train on."""
    validation_scenes: int = 1000
    """Scenes to measure on."""
    image_size: int = 64
    """Side of the images in pixels."""
    width: int = 128
    """Width of all Transformers."""
    depth: int = 4
    """Layers of the ViT."""
    text_depth: int = 4
    """Layers of the BERT, half of which fuse."""
    max_tokens: int = 32
    """Longest caption."""
    batch_size: int = 64
    """Pairs a step."""
    learning_rate: float = 5e-4
    """Peak learning rate, of AdamW."""
    max_records: int | None = None
    """Limit of images of each split, for a quick test."""


def settings_of(options: Options, name: str, seed: int) -> dict[str, object]:
    """The flags of one training, without Flickr8k's folder."""
    named = (
        "image_size",
        "width",
        "depth",
        "text_depth",
        "max_tokens",
        "batch_size",
        "learning_rate",
        "max_records",
    )
    settings = option_flags(options, *named) | {
        "text.width": options.width,
        "training.steps": options.steps or STEPS[options.dataset],
        "training.seed": seed,
    }
    if options.dataset == "scenes":
        counts = f"train={options.train_scenes},validation={options.validation_scenes}"
        settings["data"] = f"scenes:{counts},seed=0,size={options.image_size}"
    return settings | options.flags(SETTINGS[name])


def judged_once(judge: Judge, *, num_images: int, num_texts: int) -> Judge:
    """The same judge with a cache: each pair is scored once for both ways and every k."""
    known = np.full((num_images, num_texts), np.nan, np.float32)

    def ask(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        new = np.isnan(known[images, texts])
        if new.any():
            known[images[new], texts[new]] = judge(images[new], texts[new])
        return known[images, texts]

    return ask


def retrieval_figures(run: Path, num_judged: Sequence[int]) -> dict[str, float]:
    """Recalls and their sum on a run's whole validation part, by each ranking.

    Args:
        run: folder of a finished training.
        num_judged: each k to re-rank with; none for cosine alone.

    Returns:
        Shares (of the sum: up to 6) by "RANKING: COLUMN".
    """
    from likewise.data.columns import Needs
    from likewise.evaluation.context import Context
    from likewise.evaluation.tasks.retrieval import RetrievalOptions, pair_judge
    from likewise.metrics.reranking import reranked_retrieval
    from likewise.metrics.retrieval import retrieval
    from likewise.runs.open import open_data, open_model

    model = open_model(str(run))
    embedded = Context(model, open_data(model, run, None, needs=Needs("image", "text"))[0])
    groups = embedded.validation.groups
    given = (embedded.images, embedded.texts, groups, groups[embedded.caption_rows])
    rankings = {"cosine": retrieval(*given)}
    if num_judged:
        judge = judged_once(
            pair_judge(embedded, RetrievalOptions()), num_images=len(given[0]), num_texts=len(given[1])
        )
        for k in num_judged:
            figures = reranked_retrieval(*given, judge=judge, num_judged=k)
            rankings[f"re-ranked, k = {k}"] = {
                name.removeprefix("reranked_"): value for name, value in figures.items()
            }
    return flat(rankings)


def flat(rankings: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """By "RANKING: COLUMN": the recalls of each ranking, and their sum."""
    found = {}
    for ranking, figures in rankings.items():
        recalls = {column: figures[name] for name, column in RECALLS.items()}
        recalls["sum"] = sum(recalls.values())
        found |= {f"{ranking}: {column}": value for column, value in recalls.items()}
    return found


def table_rows(out: Path, labels: Mapping[str, str], heading: str) -> list[dict[str, object]]:
    """A row for each contender that has a finished training, and each of its rankings; in percent.

    Args:
        out: where the records are.
        labels: the contenders, and how they are called in the table.
        heading: of the column with these.
    """
    rows = []
    for name, label in labels.items():
        records = records_of(out, name)
        if not records:
            continue
        minutes = f"{statistics.mean(one['training']['seconds'] for one in records) / 60:.1f}"
        steps = " ".join(sorted({str(one["training"]["steps"]) for one in records}))
        rankings: dict[str, dict[str, str]] = {}
        for key in records[0]["figures"]:
            ranking, column = key.split(": ")
            cell = mean_and_deviation([100 * one["figures"][key] for one in records])
            rankings.setdefault(ranking, {})[column] = cell
        seeds = " ".join(str(one["seed"]) for one in records)
        rows += [
            {heading: label, "ranking": ranking, "seeds": seeds, **cells, "steps": steps, "minutes": minutes}
            for ranking, cells in rankings.items()
        ]
    return rows


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    names = check_names(options.only, list(SETTINGS))
    out = output_folder(options.out / options.dataset)
    place = {"data": options.data / "captions.csv"} if options.dataset == "flickr8k" else {}
    for seed in options.seeds:
        for name in names:
            settings = settings_of(options, name, seed)

            def work(folder: Path, settings: dict[str, object] = settings) -> Record:
                measured = train_likewise("tcl", place | settings, folder)
                return {"training": measured, "figures": retrieval_figures(folder, options.num_judged)}

            kept(out, name, seed, settings | {"num_judged": options.num_judged}, work)
    report(out, list(SETTINGS), options.seeds, table_rows(out, LABELS, "setting"))


if __name__ == "__main__":
    main()
