"""Tables of NLVR for grounding: true statements to learn from, and phrases with boxes of other images.

    python benchmarks/nlvr_tables.py --out runs/nlvr
    likewise train tcl --data runs/nlvr/true.parquet --data.fit squash ... --out runs/nlvr/tcl
    likewise evaluate runs/nlvr/tcl grounding --data runs/nlvr/boxes.parquet

`true.parquet` has the rows of the development part whose statement is true, of three quarters of the distinct
statements, as captions of the whole row of three boxes. `boxes.parquet` has the images of the other
statements, each with the box of every object and what it is called ("yellow square"). No statement and no
image is in both. A statement comes with six orders of its three boxes, and the table says what is in them in
one order only: the order of each image is found by the colors at the objects' middles; images for which none
fits are left out.
"""

from __future__ import annotations

import io
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tyro
from PIL import Image
from side_by_side import REPOSITORY, output_folder

COLORS = {
    "#0099ff": ("blue", (0, 153, 255)),
    "yellow": ("yellow", (255, 255, 0)),
    "black": ("black", (0, 0, 0)),
}
LEFT_EDGES = (0, 150, 300)  # of the three boxes in a row of 400 x 100 pixels


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings."""

    data: Path = REPOSITORY / "../shared/data/nlvr/dev.parquet"
    """The development part: image, sentence, label, boxes."""
    out: Path = Path("runs/nlvr")
    """Folder for the two tables."""
    learned_share: float = 0.75
    """Share of the distinct statements that are learned from."""
    seed: int = 0
    """Of that choice."""


def main() -> None:
    """Write both tables."""
    options = tyro.cli(Options, description=__doc__)
    out = output_folder(options.out)
    rows = pq.read_table(options.data).to_pylist()
    sentences = sorted({row["sentence"] for row in rows})
    order = np.random.default_rng(options.seed).permutation(len(sentences))
    learned = {sentences[place] for place in order[: round(options.learned_share * len(sentences))]}
    true = [
        {"image": row["image"], "text": row["sentence"]}
        for row in rows
        if row["sentence"] in learned and row["label"]
    ]
    seen = {row["image"]["bytes"] for row in rows if row["sentence"] in learned}
    boxes, done, num_left_out = [], set(seen), 0
    for row in rows:
        if row["image"]["bytes"] not in done:
            done.add(row["image"]["bytes"])
            found = phrases(row["image"]["bytes"], json.loads(row["boxes"]))
            if found is None:
                num_left_out += 1
            else:
                boxes.append({"image": row["image"], "boxes": json.dumps(found)})
    for name, listed in (("true", true), ("boxes", boxes)):
        pq.write_table(pa.Table.from_pylist(listed), out / f"{name}.parquet")
        print(f"{out / name}.parquet: {len(listed):,} rows")
    print(f"{num_left_out:,} images left out: the objects are in none of the six orders")


def phrases(image: bytes, three: list[list[dict[str, Any]]]) -> list[dict[str, Any]] | None:
    """The objects of three boxes in a row, as phrases with boxes in pixels of the whole row.

    Args:
        image: the encoded row.
        three: what is in each box, in another order perhaps.

    Returns:
        None where no order fits the image.
    """
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB")).astype(int)
    for order in itertools.permutations(three):
        placed = [
            (left + thing["x_loc"], thing)
            for left, things in zip(LEFT_EDGES, order, strict=True)
            for thing in things
        ]
        if all(_shows(pixels, x, thing) for x, thing in placed):
            return [
                {
                    "phrase": f"{COLORS[thing['color'].lower()][0]} {thing['type']}",
                    "box": [x, thing["y_loc"], thing["size"], thing["size"]],
                }
                for x, thing in placed
            ]
    return None


def _shows(pixels: Any, x: int, thing: dict[str, Any]) -> bool:
    """Whether an object's color is in the middle of its box."""
    half, color = thing["size"] // 2, COLORS[thing["color"].lower()][1]
    row, column = thing["y_loc"] + half, x + half
    inside = row < pixels.shape[0] and column < pixels.shape[1]
    return inside and bool(np.abs(pixels[row, column] - color).max() < 40)


if __name__ == "__main__":
    main()
