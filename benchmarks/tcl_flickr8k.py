"""TCL on Flickr8k beside CLIP and ALBEF with the same encoders, after the same wall time.

    python benchmarks/tcl_flickr8k.py --minutes 90

1. Rates: rounds of short trainings, every contender once a round. The median of the rounds' seconds a step,
   without the first steps, gives the number of steps in `--minutes`.
2. Each contender trains for its number of steps on the training split, with a schedule of that length. On a
   busier machine a training takes longer than planned; the table has the actual time. Evaluations do not
   count.
3. Recall on the validation split (1,000 photos, 5,000 captions), both ways, by cosine, and for ALBEF and TCL
   after re-ranking the best k of each query.

All have the same ViT and a BERT of the same depth: CLIP uses all of it, ALBEF and TCL use its upper half for
fusion. CLIP has its own mild crops, ALBEF and TCL the views of TCL.

curves.png shows the validation recall over minutes at the measured rates, which were taken in turns, so that
a slow hour does not set a contender back. Finished trainings leave their figures in --out; a second call does
only what is missing.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from side_by_side import REPOSITORY, option_flags, output_folder
from tcl_ablation import RECALLS, SETTINGS, TclSettings, retrieval_figures, table_rows
from trainings import Record, check_names, kept, records_of, report, train_likewise

# The method of each contender, and what TCL has besides CMA, ITM and MLM.
CONTENDERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CLIP": ("clip", ()),
    "ALBEF": ("tcl", SETTINGS["albef"]),
    "TCL": ("tcl", SETTINGS["all"]),
}
COLOURS = {"CLIP": "#2a58c5", "ALBEF": "#c2540a", "TCL": "#14804a"}  # the report's first three


@dataclass(frozen=True, kw_only=True)
class Options(TclSettings):
    """Settings of the comparison; those without a method's name are for all."""

    data: Path = REPOSITORY / "../shared/data/flickr8k"
    """Folder with captions.csv and images/."""
    out: Path = Path("runs/benchmark-tcl")
    """Folder for the runs, their figures, table.md and curves.png; what is there already is not trained
    again."""
    only: tuple[str, ...] = ()
    """Contenders to train in this call, of CLIP, ALBEF and TCL; all unless given."""
    seeds: tuple[int, ...] = (0,)
    """One training of each contender per seed."""
    minutes: float = 90.0
    """Wall time of each training."""
    rate_rounds: int = 3
    """Rounds of short trainings."""
    rate_steps: int = 15
    """Steps of a short training; the first three are left out of its rate."""
    looks: int = 15
    """Evaluations in a training: points of its curve."""
    num_judged: tuple[int, ...] = (16, 64, 128)
    """k: candidates of each query that ALBEF and TCL re-rank; a line of the table each."""
    image_size: int = 96
    """Side of the images in pixels."""
    patch_size: int = 12
    """Side of a ViT's patch."""
    width: int = 192
    """Width of all Transformers."""
    depth: int = 6
    """Layers of the ViT."""
    text_depth: int = 4
    """Layers of the BERT."""
    text_dropout: float = 0.1
    """Dropout in the BERT."""
    max_tokens: int = 32
    """Longest caption."""
    batch_size: int = 128
    """Pairs a step."""
    clip_learning_rate: float = 5e-4
    """Peak learning rate of CLIP."""
    fusion_learning_rate: float = 5e-4
    """Peak learning rate of ALBEF and TCL."""
    max_records: int | None = None
    """Limit of images of each split, for a quick test."""


def settings_of(options: Options, name: str, seed: int, *, steps: int) -> dict[str, object]:
    """The flags of one training, without its data."""
    method, parts = CONTENDERS[name]
    image = ("image_size", "patch_size", "width", "depth")
    text = ("text_depth", "text_dropout", "max_tokens")
    settings = option_flags(options, *image, *text, "batch_size", "max_records") | {
        "text.architecture": "bert",
        "text.width": options.width,
        "training.steps": steps,
        "training.seed": seed,
    }
    if method == "clip":
        return settings | {"training.learning-rate": options.clip_learning_rate}
    return settings | {"training.learning-rate": options.fusion_learning_rate} | options.flags(parts)


def steps_within(minutes: float, seconds_a_step: float) -> int:
    """Number of steps in a wall time; at least one."""
    return max(1, round(60 * minutes / seconds_a_step))


def seconds_a_step(options: Options, names: Sequence[str]) -> dict[str, float]:
    """By contender, the median over rounds of short trainings; rounds found in --out are read."""
    for number in range(options.rate_rounds):
        for name in names:
            settings = settings_of(options, name, number, steps=options.rate_steps)

            def work(folder: Path, name: str = name, settings: dict[str, object] = settings) -> Record:
                measured = train(options, name, settings, folder)
                seconds = options.batch_size / measured["steady_images_per_second"]
                return {"training": measured, "figures": {"seconds a step": seconds}}

            kept(options.out, f"rate: {name}", number, settings, work)
    found = {}
    for name in names:
        rounds = records_of(options.out, f"rate: {name}")
        found[name] = statistics.median(one["figures"]["seconds a step"] for one in rounds)
    return found


def train(options: Options, name: str, settings: Mapping[str, object], folder: Path) -> Record:
    """One training by our command line."""
    return train_likewise(
        CONTENDERS[name][0], {"data": options.data / "captions.csv"} | dict(settings), folder
    )


def train_and_measure(options: Options, name: str, settings: Mapping[str, object], folder: Path) -> Record:
    """One whole training, its curve, and the recalls of its model."""
    measured = train(options, name, settings, folder)
    num_judged = () if CONTENDERS[name][0] == "clip" else options.num_judged
    measured["seconds_a_step"] = measured["seconds"] / measured["steps"]
    return {
        "training": measured,
        "figures": retrieval_figures(folder, num_judged),
        "curve": curve_of(folder / "metrics.jsonl"),
    }


def curve_of(metrics: Path) -> list[dict[str, float]]:
    """The evaluations of a run: step, seconds of training before it, recalls as shares."""
    seconds, points = 0.0, []
    for line in map(json.loads, metrics.read_text(encoding="utf-8").splitlines()):
        if line["kind"] == "train":
            seconds += line["seconds"]
        else:
            recalls = {name: line[f"retrieval/{name}"] for name in RECALLS}
            points.append({"step": line["step"], "seconds": seconds, **recalls})
    return points


def draw_curves(
    records: Mapping[str, Sequence[Record]], seconds_a_step: Mapping[str, float], path: Path
) -> None:
    """Validation recall over planned time, a plot for each way and k; a line for each seed.

    Args:
        records: of the trainings, by contender. A diamond marks the recall after re-ranking with the
            largest k.
        seconds_a_step: by contender.
        path: of the figure.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(2, 3, figsize=(11, 6.4), sharex=True, layout="constrained")
    for axis, (metric, column) in zip(grid.flat, RECALLS.items(), strict=True):
        for name, runs in records.items():
            for place, one in enumerate(runs):
                _draw_run(axis, one, seconds_a_step[name], metric, column, name if place == 0 else None)
        axis.set_title(column, fontsize=10)
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    grid[0, 0].legend(frameon=False)
    figure.supxlabel("minutes of training, at the rates measured in turns", fontsize=10)
    figure.supylabel("validation, %", fontsize=10)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_run(
    axis: Any, record: Record, seconds_a_step: float, metric: str, column: str, label: str | None
) -> None:
    """The curve of one training, and its end after re-ranking."""
    colour = COLOURS[record["contender"]]
    minutes = [look["step"] * seconds_a_step / 60 for look in record["curve"]]
    axis.plot(minutes, [100 * look[metric] for look in record["curve"]], color=colour, label=label)
    judged = {
        int(key.removeprefix("re-ranked, k = ").split(":")[0]): value
        for key, value in record["figures"].items()
        if key.startswith("re-ranked") and key.endswith(f": {column}")
    }
    if judged:
        axis.plot(minutes[-1], 100 * judged[max(judged)], "D", color=colour)


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    options = replace(options, out=output_folder(options.out))
    names = check_names(options.only, list(CONTENDERS))
    promised = seconds_a_step(options, names)
    for seed in options.seeds:
        for name in names:
            steps = steps_within(options.minutes, promised[name])
            settings = settings_of(options, name, seed, steps=steps)
            settings["training.evaluate-every"] = max(1, steps // options.looks)

            def work(folder: Path, name: str = name, settings: dict[str, object] = settings) -> Record:
                return train_and_measure(options, name, settings, folder)

            kept(options.out, name, seed, settings | {"num_judged": options.num_judged}, work)
    rows = table_rows(options.out, {name: name for name in CONTENDERS}, "contender")
    report(options.out, list(CONTENDERS), options.seeds, rows)
    draw_curves({name: records_of(options.out, name) for name in names}, promised, options.out / "curves.png")


if __name__ == "__main__":
    main()
