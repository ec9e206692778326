"""`likewise entail RUN photo.jpg "a dog runs"`, `likewise entail RUN statements.csv --out verdicts.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from likewise.cli.files.row_files import check_out
from likewise.cli.files.statement_rows import finish, open_rows
from likewise.messages import plain_warnings
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.runs.open import open_model

__all__ = ["EntailCommand", "run", "verdict_cells", "verdict_row"]


@dataclass(frozen=True, kw_only=True)
class EntailCommand:
    """Judge statements about images with a trained model of entailment."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """An image; with no statement on the line, a table of images and statements."""

    statements: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[STATEMENT...]")] = ()
    """Statements about the image."""

    out: str | None = None
    """File for the verdicts: .csv, .jsonl or .parquet, a row for each. Printed when not given."""

    batch_size: int = 64
    """Images at a time."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    quiet: bool = False
    """Show no progress."""


def run(arguments: Sequence[str]) -> None:
    """Judge, and print or write."""
    options = parse_flags(EntailCommand, arguments, prog="likewise entail")
    check_out(options.out, such_as="verdicts")
    check_counts(options, "batch_size")
    model = open_model(options.run, options.device)
    model.needs("entail")  # before any source is opened
    if options.statements:
        found, bad = _judged(model, [(options.source, [options.source], options.statements)]), []
    else:
        rows, found = open_rows(options.source, ("image",), "text"), []
        for piece in rows.batches(options.batch_size, "judging", quiet=options.quiet):
            found += _judged(model, [(record.id, images, record.texts) for record, images in piece])
        bad = rows.bad
    finish(found, bad, options.out, verdict_cells)


def _judged(model: Model, given: Sequence[tuple[str, list[Any], Sequence[str]]]) -> list[dict[str, Any]]:
    pairs = [(name, images[0], text) for name, images, texts in given for text in texts]
    if not pairs:
        return []
    names, images, texts = (list(column) for column in zip(*pairs, strict=True))
    with plain_warnings():
        verdicts = model.entail(images, texts)
    return [
        verdict_row({"image": name}, text, verdict)
        for name, text, verdict in zip(names, texts, verdicts, strict=True)
    ]


def verdict_row(images: dict[str, str], statement: str, verdict: Any) -> dict[str, Any]:
    """A verdict as a row of a table: the label, its probability, and those of all classes."""
    probabilities = {f"p({name})": round(value, 6) for name, value in verdict.probabilities.items()}
    return {**images, "statement": statement, "label": verdict.label, **probabilities}


def verdict_cells(row: dict[str, Any]) -> list[str]:
    """What is printed of a row: images, statement, label, probabilities of all classes."""
    classes = {name[2:-1]: value for name, value in row.items() if name.startswith("p(")}
    shares = ", ".join(f"{name} {value:.1%}" for name, value in classes.items())
    images = [str(row[name]) for name in ("image", "image_2") if name in row]
    return [*images, row["statement"], row["label"], f"({shares})"]
