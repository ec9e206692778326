"""One-shot recognition of characters from new alphabets: siamese, triplet and supcon on Omniglot.

    python benchmarks/omniglot.py

Trains on the 30 training alphabets and measures on the 20 evaluation ones, which are used for nothing else.
To choose settings, `--tune` trains on 25 of the training alphabets and measures on the other 5.

1. 20-way one-shot within an alphabet: one image of each of 20 characters by one drawer, to be recognized
among
   the same by another drawer. Lake's protocol (Lake 2015, Science 350(6266)) has 400 fixed trials; here
   episodes are drawn at random from all alphabets with 20 characters, so figures are not comparable with
   published ones. Once more with the embeddings of an image in all eight orientations concatenated.
2. The same across alphabets: 20 characters of any alphabets (easier, and what many papers report).
3. Verification: do two images show the same character? Accuracy at a threshold chosen on other characters,
   ROC-AUC and equal error rate; first with images of any alphabets, then of one.

`interval` is half the 95 % interval over the episodes of one training; ± is the deviation over seeds. The
baseline `untrained` is the same network with its initial weights (its BatchNorm has statistics of the
images). Finished trainings leave their figures in --out; a second call does only what is missing.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import tyro
from PIL import Image, ImageOps
from side_by_side import REPOSITORY, option_flags, output_folder
from trainings import Record, check_names, encoded_images, kept, quality_rows, report, train_likewise

LONGEST_MINUTES = 20  # of training on two cores: what this benchmark allows itself
TUNING_ALPHABETS = 5  # of the training alphabets that --tune measures on
MARGIN = 0.05  # around the strokes, of their longer side
WAYS = 20

# Further characters: what they are called, mirrored or not, degrees.
POSITIONS = [
    (f"mirrored, turned by {degrees}" if mirrored else f"turned by {degrees}", mirrored, degrees)
    for mirrored in (False, True)
    for degrees in (0, 90, 180, 270)
    if mirrored or degrees
]

# No random views: so few steps do not overfit, and views only slow learning down.
VIEWS: dict[str, object] = {
    "views.crop-scale": (1.0, 1.0),
    "views.crop-ratio": (1.0, 1.0),
    "views.rotation-degrees": 0,
    "views.flip": 0.0,
    "views.jitter": 0.0,
    "views.grey": 0.0,
    "views.blur": 0.0,
}

# The flags of each contender besides those that all share, its method first.
CONTENDERS: dict[str, tuple[str, dict[str, object]]] = {
    "untrained": ("siamese", {"training.learning-rate": 1e-12, "training.steps": 50}),
    # All pairs of a batch, most of them of two characters: a margin that asks only the nearest apart.
    "siamese": (
        "siamese",
        {
            "method.pairs": "batch",
            "method.margin": 0.35,
            "training.order": "classes",
            "training.examples-per-class": 4,
        },
    ),
    "triplet": (
        "triplet",
        {"method.mining": "semihard", "training.examples-per-class": 4},
    ),
    # One view of each image, compared with the others of its class: two views cost twice as much.
    "supcon": (
        "supcon",
        {
            "method.temperature": 0.03,
            "method.num-views": 1,
            "method.embedding-dim": 128,
            "training.examples-per-class": 4,
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings of all contenders."""

    data: Path = REPOSITORY / "../shared/data/omniglot"
    """Folder with train.parquet and evaluation.parquet (columns image, alphabet, label, drawer)."""
    out: Path = Path("runs/benchmark-omniglot")
    """Folder for the runs, their figures and table.md; finished trainings are reused."""
    only: tuple[str, ...] = ()
    """Contenders to train; all by default."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """One training of each contender per seed."""
    tune: bool = False
    """Choose settings: train on 25 of the training alphabets and measure on the other 5."""
    all_positions: bool = True
    """Learn each character also turned by 90, 180 and 270 degrees, and mirrored, as further characters."""
    around_strokes: bool = True
    """Crop each image to a square around its strokes, which fill two thirds of it."""
    image_size: int = 28
    """Side of the images in pixels; they are stored with 105."""
    depth: int = 10
    """Layers of the ResNet."""
    width: int = 16
    """Channels of its first stage; 64 is the paper's."""
    batch_size: int = 512
    """Pictures a step."""
    learning_rate: float = 5e-3
    """Of AdamW."""
    weight_decay: float = 1e-4
    """Of AdamW."""
    steps: int = 2600
    """Steps of each training."""
    episodes: int = 2000
    """One-shot episodes of each kind."""
    max_records: int | None = None
    """Limit of images of each split, for a quick test."""


def settings_of(options: Options, name: str, seed: int) -> dict[str, object]:
    """The flags of one training, without its data."""
    named = (
        "image_size",
        "depth",
        "width",
        "steps",
        "batch_size",
        "learning_rate",
        "weight_decay",
        "max_records",
    )
    fixed = {"data.domain-column": "alphabet", "image.architecture": "resnet", "training.seed": seed}
    return option_flags(options, *named) | fixed | VIEWS | CONTENDERS[name][1]


def tables(options: Options) -> tuple[pyarrow.Table, pyarrow.Table]:
    """The training and the evaluation table, of different alphabets."""

    def part(name: str) -> pyarrow.Table:
        table = pyarrow.parquet.read_table(options.data / f"{name}.parquet")
        return around_strokes(table) if options.around_strokes else table

    train = part("train")
    if not options.tune:
        return train, part("evaluation")
    alphabets = np.array(train["alphabet"].to_pylist())
    characters = np.array(train["label"].to_pylist())
    names = np.unique(alphabets)
    able = [name for name in names if len(np.unique(characters[alphabets == name])) >= WAYS]
    chosen = np.random.default_rng(0).choice(able, TUNING_ALPHABETS, replace=False)
    held_out = np.isin(alphabets, chosen)
    return train.filter(pyarrow.array(~held_out)), train.filter(pyarrow.array(held_out))


def images_of(table: pyarrow.Table) -> list[Image.Image]:
    """Decoded at first use."""
    return [Image.open(io.BytesIO(encoded)) for encoded in encoded_images(table)]


def image_column(images: Iterable[Image.Image], table: pyarrow.Table) -> pyarrow.Array:
    """The images in the table's own form."""
    cells = []
    for image in images:
        buffer = io.BytesIO()
        image.save(buffer, format="PNG")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    return pyarrow.array(cells, table.schema.field("image").type)


def around_strokes(table: pyarrow.Table) -> pyarrow.Table:
    """The table with each image cropped to a square around its strokes, with a margin."""

    def cut(image: Image.Image) -> Image.Image:
        left, upper, right, lower = ImageOps.invert(image.convert("L")).getbbox() or (0, 0, *image.size)
        half = round(max(right - left, lower - upper) * (0.5 + MARGIN))
        x, y = (left + right) // 2, (upper + lower) // 2
        square = Image.new("L", (2 * half, 2 * half), 255)
        square.paste(image, (half - x, half - y))
        return square

    column = table.schema.get_field_index("image")
    return table.set_column(
        column, table.schema.field("image"), image_column(map(cut, images_of(table)), table)
    )


def oriented(image: Image.Image, mirrored: bool, degrees: int) -> Image.Image:
    """The image, mirrored if `mirrored`, then rotated."""
    return (ImageOps.mirror(image) if mirrored else image).rotate(degrees)


def in_all_positions(table: pyarrow.Table) -> pyarrow.Table:
    """The table, then each image rotated by 90, 180 and 270 degrees, and the same four mirrored, each as a
    further character."""
    parts = [table]
    images = images_of(table)
    for position, mirrored, degrees in POSITIONS:
        turned = (oriented(one, mirrored, degrees) for one in images)
        labels = [f"{label}, {position}" for label in table["label"].to_pylist()]
        columns = {"image": image_column(turned, table), "label": labels}
        parts.append(
            pyarrow.table(
                {name: columns.get(name, table[name]) for name in table.column_names}, schema=table.schema
            )
        )
    return pyarrow.concat_tables(parts)


def training_data(options: Options, train: pyarrow.Table, held_out: pyarrow.Table) -> Path:
    """The folder that training reads: the data itself, or one in --out with what the options make of it."""
    kind = [name for name in ("tune", "around_strokes", "all_positions") if getattr(options, name)]
    if not kind:
        return options.data
    # Keyed by the images: another --data with the same --out gets another folder.
    digest = hashlib.blake2b(digest_size=4)
    for encoded in [*encoded_images(train), *encoded_images(held_out)]:
        digest.update(encoded)
    folder = options.out / "-".join(["data", *kind, digest.hexdigest()]).replace("_", "-")
    if not folder.is_dir():
        beside = folder.with_name(f"{folder.name}.writing")
        beside.mkdir(parents=True, exist_ok=True)
        whole = in_all_positions(train) if options.all_positions else train
        pyarrow.parquet.write_table(whole, beside / "train.parquet")
        pyarrow.parquet.write_table(held_out, beside / "evaluation.parquet")
        beside.rename(folder)
    return folder


def numbers(names: list[str]) -> np.ndarray:
    """(N,) integers, equal for equal names."""
    return np.unique(names, return_inverse=True)[1]


def figures_of(model_folder: Path, held_out: pyarrow.Table, episodes: int) -> dict[str, float]:
    """One-shot and verification figures of a model on a table of new alphabets."""
    import likewise
    from likewise.metrics import few_shot, verification

    model = likewise.load(model_folder)
    images = images_of(held_out)
    embeddings = model.encode_images(images)
    parts = [embeddings]
    for _, mirrored, degrees in POSITIONS:
        parts.append(model.encode_images([oriented(one, mirrored, degrees) for one in images]))
    side_by_side = np.concatenate(parts, axis=1)
    characters, alphabets = numbers(held_out["label"].to_pylist()), numbers(held_out["alphabet"].to_pylist())
    # "0709_01.png" is by the first drawer of that alphabet.
    drawers = numbers([Path(name).stem.split("_")[1] for name in held_out["drawer"].to_pylist()])
    within, orienteds = (
        few_shot(vectors, characters, num_ways=WAYS, num_episodes=episodes, within=alphabets, sources=drawers)
        for vectors in (embeddings, side_by_side)
    )
    across = few_shot(embeddings, characters, num_ways=WAYS, num_episodes=episodes)
    anywhere = verification(embeddings, characters)
    inside = verification(embeddings, characters, within=alphabets)
    return {
        "one-shot within": within["accuracy"],
        "interval": within["confidence_interval"],
        "one-shot within, all positions": orienteds["accuracy"],
        "interval (all positions)": orienteds["confidence_interval"],
        "one-shot across": across["accuracy"],
        "interval (across)": across["confidence_interval"],
        "verification": anywhere["accuracy"],
        "ROC-AUC": anywhere["roc_auc"],
        "equal error": anywhere["equal_error_rate"],
        "verification within": inside["accuracy"],
        "ROC-AUC within": inside["roc_auc"],
        "equal error within": inside["equal_error_rate"],
    }


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    options = replace(options, out=output_folder(options.out))
    names = check_names(options.only, list(CONTENDERS))
    train, held_out = tables(options)
    data = training_data(options, train, held_out)

    for seed in options.seeds:
        for name in names:
            settings = settings_of(options, name, seed)

            def work(folder: Path, name: str = name, settings: dict[str, object] = settings) -> Record:
                measured = train_likewise(CONTENDERS[name][0], {"data": data} | settings, folder)
                return {
                    "training": measured,
                    "figures": figures_of(folder / "model", held_out, options.episodes),
                }

            deciding = settings | {
                key: asdict(options)[key] for key in ("tune", "around_strokes", "all_positions", "episodes")
            }
            record = kept(options.out, name, seed, deciding, work)
            if record["training"]["seconds"] > 60 * LONGEST_MINUTES:
                print(f"{name}, seed {seed}: trained for more than {LONGEST_MINUTES} minutes")
    report(options.out, list(CONTENDERS), options.seeds, list(quality_rows(options.out, CONTENDERS).values()))


if __name__ == "__main__":
    main()
