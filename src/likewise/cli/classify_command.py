"""`likewise classify RUN IMAGE... [--out classes.csv]`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Protocol

import tyro

from likewise.cli.files.class_folders import check_folder, copy_into_class
from likewise.cli.files.image_records import list_images, say_set_aside, square_batches
from likewise.cli.files.row_files import check_out, write_rows
from likewise.data.record import BadRecord, Record
from likewise.errors import AbilityError, ConfigError, DataError, ModelError
from likewise.messages import first_names, printed_line
from likewise.model.classes import class_probabilities
from likewise.model.classifiers.probe import Probe
from likewise.model.classifiers.zero_shot import ZeroShotClassifier
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.reporting.formatting import format_percent, format_plain
from likewise.runs.open import open_model
from likewise.runs.probes import open_probe, saved_probes
from likewise.search.index import open_index
from likewise.search.neighbours import NeighbourClassifier

__all__ = ["ClassifyCommand", "run"]

Row = dict[str, Any]


class _Classifier(Protocol):
    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the C classes."""

    def probabilities(self, vectors: Any) -> Any:
        """(N, C) of the vectors (N, D) of images."""


@dataclass(frozen=True, kw_only=True)
class ClassifyCommand:
    """Name the classes of images: by a trained classifier, by the names of the classes alone (--labels), by
    the nearest labelled rows of an index (--index), or by a saved probe (--probe)."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    images: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="IMAGES...")] = ()
    """Image files, folders of images, tables, shards: any source that `likewise data` reads."""

    labels: str | None = None
    """Names of the classes with commas between, such as dog,cat, for a model that reads texts."""

    templates: str = "photo"
    """With --labels: the sentences around a name: a set (photo, plain, ...) or a sentence with one {}."""

    temperature: float | None = None
    """With --labels: divides the cosines; smaller values give surer answers. The model's own when not given,
    0.07 where it keeps none."""

    index: str | None = None
    """An index with labels: the nearest of its rows decide."""

    neighbours: int = 20
    """With --index: how many of them."""

    probe: str | None = None
    """A linear classifier that `likewise evaluate RUN probe --save-probe NAME` fitted: its NAME or file."""

    list_probes: bool = False
    """List the run's saved probes, and classify nothing."""

    abstain_below: float | None = None
    """Give no class where the likeliest has a probability below this."""

    out: str | None = None
    """File for the classes: .csv, .jsonl or .parquet, a row for each image and class. Printed when not
    given."""

    sort_into: str | None = None
    """Copy each image into FOLDER/CLASS/, or FOLDER/_unsure/ where it is given no class."""

    num_classes: int = 1
    """The likeliest so many classes of each image."""

    image_root: str | None = None
    """Folder that the paths in tables are relative to; the table's own folder (or its images/) when not
    given."""

    batch_size: int = 256
    """Images per forward pass."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Classify, and print or write."""
    options = parse_flags(ClassifyCommand, arguments, prog="likewise classify")
    if options.list_probes:
        _refuse_beside_list(options)
        _list_probes(options.run)
        return
    _check(options)
    model = open_model(options.run, options.device)
    classifier = _classifier(model, options)  # before any source is opened
    records, bad = list_images(options.images, image_root=options.image_root)
    rows = _classified(model, classifier, records, options, bad)
    say_set_aside(bad, "images")
    if not rows:
        raise DataError("no image could be read, for the reasons above." if bad else "there are no images.")
    if options.out is not None:
        write_rows(Path(options.out), rows)
        print(printed_line(f"wrote {len(rows):,} rows to {options.out}"))
    elif options.sort_into is None:
        for row in rows:
            words = (row["image"], row["class"] or "(unsure)", f"{row['probability']:.4f}")
            print("\t".join(map(printed_line, words)))
    if options.sort_into is not None:
        print(printed_line(f"copied {sum(row['rank'] == 1 for row in rows):,} images to {options.sort_into}"))


def _check(options: Any) -> None:
    check_counts(options, "num_classes", "batch_size", "neighbours")
    check_out(options.out, such_as="classes", inputs=options.images)
    if options.sort_into is not None:
        check_folder(options.sort_into)
    if not options.images:
        raise ConfigError("no IMAGES were given: name image files, folders of images or a table.")
    ways = [f"--{name}" for name in ("labels", "index", "probe") if getattr(options, name) is not None]
    if len(ways) > 1:
        raise ConfigError(f"{' and '.join(ways)} are {len(ways)} ways to classify; give one of them.")
    if options.abstain_below is not None and not 0 < options.abstain_below <= 1:
        raise ConfigError(f"--abstain-below is {options.abstain_below}; expected above 0, and at most 1.")


def _refuse_beside_list(options: ClassifyCommand) -> None:
    """Reject what would be passed over."""
    heeded = ("run", "list_probes", "device")
    given = [one for one in fields(options) if getattr(options, one.name) != one.default]
    ignored = [one.name for one in given if one.name not in heeded]
    if ignored:
        flags = ["IMAGES" if name == "images" else f"--{name.replace('_', '-')}" for name in ignored]
        raise ConfigError(f"--list-probes classifies nothing; leave {', '.join(flags)} out.")


def _list_probes(run: str) -> None:
    """Print a table of all probes that can be read; ModelError names the others after that."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = saved_probes(run)
    if not found:
        print(
            printed_line(f"{run} has no probes; `likewise evaluate {run} probe --save-probe NAME` fits one")
        )
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("probe", "classes", "fitted on", "rows", "accuracy", "chance"):
        table.add_column(title, justify="right" if title in ("rows", "accuracy", "chance") else "left")
    damaged = []
    for name, path in found.items():
        try:
            probe = Probe.load(path)
        except ModelError as error:
            damaged.append(str(error))
            continue
        figures = probe.figures
        table.add_row(
            *(
                escape(printed_line(one))
                for one in (name, first_names(probe.classes), figures.get("source", ""))
            ),
            _shown(figures.get("num_train"), format_plain),
            *(_shown(figures.get(key), format_percent) for key in ("accuracy", "chance_accuracy")),
        )
    if table.row_count:
        Console().print(table)
    if damaged:
        raise ModelError(" ".join(damaged))


def _shown(figure: Any, show: Callable[[float], str]) -> str:
    """A number; nothing where a probe that others wrote has none."""
    return show(figure) if isinstance(figure, (int, float)) else ""


def _classifier(model: Model, options: Any) -> _Classifier | None:
    """What tells classes apart by the images' vectors; None where the model itself classifies."""
    if any(one is not None for one in (options.labels, options.index, options.probe)):
        model.needs("encode_images")
    if options.labels is not None:
        names = [name.strip() for name in options.labels.split(",") if name.strip()]
        return ZeroShotClassifier(model, names, templates=options.templates, temperature=options.temperature)
    if options.index is not None:
        index = open_index(options.index)
        index.check_model(model)
        return NeighbourClassifier(index, neighbours=options.neighbours)
    if options.probe is not None:
        return open_probe(options.run, options.probe, model)
    if "classify" not in model.abilities and "encode_images" in model.abilities:
        raise AbilityError(
            f"this model ({model.config['method']}) has no classes of its own; add --labels dog,cat where it "
            "reads texts, --index INDEX with labelled images, or --probe NAME."
        )
    model.needs("classify")
    return None


def _classified(
    model: Model, classifier: _Classifier | None, records: list[Record], options: Any, bad: list[BadRecord]
) -> list[Row]:
    """Rows of the readable images; the others are added to `bad`."""
    rows: list[Row] = []
    for batch in square_batches(model, records, batch_size=options.batch_size):
        bad += batch.bad
        if not batch.records:
            continue
        if classifier is None:
            classes, probabilities = model.classes, class_probabilities(model, [batch.images])  # (B, C)
        else:
            classes = classifier.classes
            probabilities = classifier.probabilities(model.encode_squares(batch.images))
        for record, of_image in zip(batch.records, probabilities, strict=True):
            found = _rows_of(record.id, classes, of_image, options)
            if options.sort_into is not None:
                copy_into_class(record, found[0]["class"] or None, Path(options.sort_into))
            rows += found
    return rows


def _rows_of(image: str, classes: Sequence[str], probabilities: Any, options: Any) -> list[Row]:
    """The likeliest classes of an image, or one row without a class."""
    likeliest = (-probabilities).argsort(kind="stable")[: options.num_classes]
    if options.abstain_below is not None and probabilities[likeliest[0]] < options.abstain_below:
        return [{"image": image, "class": "", "rank": 1, "probability": float(probabilities[likeliest[0]])}]
    return [
        {"image": image, "class": classes[number], "rank": rank, "probability": float(probabilities[number])}
        for rank, number in enumerate(likeliest, start=1)
    ]
