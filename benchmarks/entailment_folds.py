"""Visual entailment in folds: every statement is judged by a model that has not seen its image.

    python benchmarks/entailment_folds.py                                    # Flickr8k, 205 photos
    python benchmarks/entailment_folds.py --data nlvr/dev.parquet --image-column image \\
        --group-column sentence --fit squash

The rows of a table are divided into folds by a column (the photo, or the statement), one model is trained for
each fold on the others, and the table has mean and deviation over folds of the accuracy, beside what can be
told without the images. Finished folds are not trained again.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import tyro
from side_by_side import REPOSITORY, output_folder

from likewise.methods.catalog import find_method
from likewise.training.engine import train

FIGURES = {
    "accuracy": "accuracy",
    "text_only_accuracy": "text alone",
    "shuffled_accuracy": "other images",
    "majority_accuracy": "majority",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of the benchmark."""

    data: Path = REPOSITORY / "../shared/data/flickr8k/entailment.tsv"
    """Table of images, statements and labels: TSV, CSV or Parquet."""
    image_root: Path | None = REPOSITORY / "../shared/data/flickr8k/images"
    """Folder of the images that it names; ignored for Parquet."""
    image_column: str = "flickr8k_image"
    """Column of the images."""
    group_column: str = "flickr8k_image"
    """Rows that are equal here stay in one fold."""
    num_folds: int = 3
    """Folds."""
    out: Path = Path("runs/entailment-folds")
    """Folder for tables and runs."""
    start_from: str | None = None
    """A model to start from, of tcl or clip."""
    preset: str = "tiny"
    """Preset of the method."""
    steps: int = 500
    """Steps of each training."""
    batch_size: int = 64
    """Rows a step."""
    learning_rate: float = 5e-4
    """Peak learning rate."""
    image_size: int = 64
    """Side of the images in pixels; ignored with `start_from`."""
    fit: str = "crop"
    """How images become square."""
    seed: int = 0
    """Of the division into folds and of the trainings."""


def main() -> None:
    """Train every fold and print the table."""
    options = tyro.cli(Options, description=__doc__)
    output_folder(options.out)
    table = _read(options.data)
    groups = table.column(options.group_column).to_pylist()
    names = sorted(set(groups))
    places = np.random.default_rng(options.seed).permutation(len(names)) % options.num_folds
    fold_of = dict(zip(names, places.tolist(), strict=True))
    found = []
    for fold in range(options.num_folds):
        split = ["validation" if fold_of[group] == fold else "train" for group in groups]
        found.append(_train(options, table, split, fold))
    print(f"{len(groups):,} statements, {len(names):,} groups, {options.num_folds} folds")
    print("| figure | mean | deviation | folds |\n|---|---|---|---|")
    for key, title in FIGURES.items():
        values = [100 * figures[key] for figures in found]
        each = ", ".join(f"{value:.1f}" for value in values)
        print(f"| {title} | {statistics.mean(values):.1f} | {statistics.stdev(values):.1f} | {each} |")


def _read(path: Path) -> Any:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    tabs = pc.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
    return pc.read_csv(path, parse_options=tabs)


def _train(options: Options, table: Any, split: list[str], fold: int) -> dict[str, float]:
    """Figures of one fold."""
    run = options.out / f"fold-{fold}"
    if not (run / "results.json").is_file():
        file = options.out / f"fold-{fold}.parquet"
        own = table.drop_columns([name for name in ("split",) if name in table.column_names])
        pq.write_table(own.append_column("split", pa.array(split)), file)
        preset = find_method("entailment").presets[options.preset]
        given: dict[str, Any] = {
            f"{section}.{name}": value
            for section, values in preset.items()
            for name, value in values.items()
            if options.start_from is None or section not in ("image", "text")
        }
        given |= {
            "data.image_column": options.image_column,
            "data.fit": options.fit,
            "training.steps": options.steps,
            "training.batch_size": options.batch_size,
            "training.learning_rate": options.learning_rate,
            "training.seed": options.seed,
            "training.evaluate_every": 0,
        }
        if options.data.suffix != ".parquet" and options.image_root is not None:
            given["data.image_root"] = str(options.image_root.resolve())
        if options.group_column != options.image_column:
            given["data.group_column"] = options.group_column
        if options.start_from is None:
            given["image.image_size"] = options.image_size
        else:
            given["training.start_from"] = options.start_from
        print(f"fold {fold}", file=sys.stderr)
        train(method="entailment", data=str(file), out=run, options=given)
    figures: dict[str, float] = json.loads((run / "results.json").read_text())["entailment"]
    return figures


if __name__ == "__main__":
    main()
