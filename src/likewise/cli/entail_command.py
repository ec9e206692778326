"""`likewise entail RUN photo.jpg "a dog runs"`, `likewise entail RUN statements.csv --out verdicts.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from likewise.cli.files.row_files import check_out
from likewise.cli.files.source_rows import Finding, RowOptions, Rows, finish, open_rows, squares_of
from likewise.data.columns import STATEMENT, Needs
from likewise.messages import counted, plain_warnings
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.runs.open import open_model

__all__ = ["EntailCommand", "judged", "run", "verdict"]


@dataclass(frozen=True, kw_only=True)
class EntailCommand(RowOptions):
    """Judge statements about images with a trained model of entailment."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """An image, a folder of images, or any source that `likewise data` reads; with no statement on the line,
    a table of images and statements."""

    statements: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[STATEMENT...]")] = ()
    """Statements about every image."""

    out: str | None = None
    """File for the verdicts: .csv, .jsonl or .parquet, a row for each. Printed when not given."""


def run(arguments: Sequence[str]) -> None:
    """Judge, and print or write."""
    options = parse_flags(EntailCommand, arguments, prog="likewise entail")
    check_out(options.out, such_as="verdicts", inputs=(options.source, options.images))
    check_counts(options, "batch_size")
    model = open_model(options.run, options.device)
    model.needs("entail")  # before any source is opened
    needs = Needs("image", text=STATEMENT)
    rows = open_rows(options, options.source, needs, noun="statement", words=options.statements)
    found = judged(model, rows, options, model.entail)
    finish(found, rows, options.out, f"verdicts on {counted(len(found), 'statement')}")


def judged(model: Model, rows: Rows, options: RowOptions, judge: Any) -> list[Finding]:
    """The verdicts on all statements.

    Args:
        model: the one that judges.
        rows: images with statements.
        options: of the command.
        judge: takes each column of images, and the statements: `model.entail` or `model.compare`.
    """
    found: list[Finding] = []
    with plain_warnings():
        for batch in rows.batches(squares_of(model), options, "judging"):
            said = [(row, text) for row in batch for text in row.texts]
            if said:
                images = zip(*(row.images for row, _ in said), strict=True)
                texts = [text for _, text in said]
                verdicts = judge(*map(list, images), texts, batch_size=options.batch_size)
                found += [
                    verdict(rows.named(row.record), text, one)
                    for (row, text), one in zip(said, verdicts, strict=True)
                ]
    return found


def verdict(names: dict[str, str], statement: str, found: Any) -> Finding:
    """A verdict: the label, its probability, and those of all classes."""
    probabilities = {f"p({name})": round(value, 6) for name, value in found.probabilities.items()}
    shares = ", ".join(f"{name} {value:.1%}" for name, value in found.probabilities.items())
    images = [name for column, name in names.items() if column != "row"]
    return Finding(
        [{**names, "statement": statement, "label": found.label, **probabilities}],
        [*images, statement, found.label, f"({shares})"],
    )
