"""`likewise compare RUN left.jpg right.jpg "both show a dog"`, `likewise compare RUN pairs.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from likewise.cli.entail_command import verdict_cells, verdict_row
from likewise.cli.files.row_files import check_out
from likewise.cli.files.statement_rows import finish, open_rows
from likewise.errors import ConfigError
from likewise.messages import plain_warnings
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.runs.open import open_model

__all__ = ["CompareCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class CompareCommand:
    """Judge statements about two images with a trained model of nlvr."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LEFT RIGHT STATEMENT...")]
    """Two images and statements about both; or a table of pairs of images with statements, alone."""

    out: str | None = None
    """File for the verdicts: .csv, .jsonl or .parquet, a row for each. Printed when not given."""

    batch_size: int = 64
    """Pairs at a time."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    quiet: bool = False
    """Show no progress."""


def run(arguments: Sequence[str]) -> None:
    """Judge, and print or write."""
    options = parse_flags(CompareCommand, arguments, prog="likewise compare")
    check_out(options.out, such_as="verdicts")
    check_counts(options, "batch_size")
    if len(options.inputs) == 2:
        raise ConfigError(
            f"{options.inputs[0]} and {options.inputs[1]} are two images without a statement; add one, such "
            'as "both show a dog". For a table of pairs name the table alone.'
        )
    model = open_model(options.run, options.device)
    model.needs("compare")  # before any source is opened
    if len(options.inputs) > 2:
        left, right, *statements = options.inputs
        found, bad = _judged(model, [((left, right), [left, right], statements)]), []
    else:
        rows, found = open_rows(options.inputs[0], ("image", "image_2"), "text"), []
        for piece in rows.batches(options.batch_size, "judging", quiet=options.quiet):
            found += _judged(
                model,
                [
                    ((_name(record, "image"), _name(record, "image_2")), images, record.texts)
                    for record, images in piece
                ],
            )
        bad = rows.bad
    finish(found, bad, options.out, verdict_cells)


def _name(record: Any, column: str) -> str:
    """The path of a record's image; its id where it has none."""
    return str(getattr(record.values[column], "path", record.id))


def _judged(
    model: Model, given: Sequence[tuple[tuple[str, str], list[Any], Sequence[str]]]
) -> list[dict[str, Any]]:
    triples = [(names, *images, text) for names, images, texts in given for text in texts]
    if not triples:
        return []
    names, left, right, texts = (list(column) for column in zip(*triples, strict=True))
    with plain_warnings():
        verdicts = model.compare(left, right, texts)
    return [
        verdict_row({"image": first, "image_2": second}, text, verdict)
        for (first, second), text, verdict in zip(names, texts, verdicts, strict=True)
    ]
