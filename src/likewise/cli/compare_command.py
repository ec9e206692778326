"""`likewise compare RUN left.jpg right.jpg "both show a dog"`, `likewise compare RUN pairs.csv`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from likewise.cli.entail_command import judged
from likewise.cli.files.row_files import check_out
from likewise.cli.files.source_rows import RowOptions, finish, open_rows, rows_of_files
from likewise.data.columns import STATEMENT, Needs
from likewise.data.sources.image_folder import is_image
from likewise.errors import ConfigError
from likewise.messages import counted
from likewise.option_flags import check_counts, parse_flags
from likewise.runs.open import open_model

__all__ = ["CompareCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class CompareCommand(RowOptions):
    """Judge statements about two images with a trained model of nlvr."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="LEFT RIGHT STATEMENT...")]
    """Two images and statements about both; or a table of pairs of images with statements, alone."""

    out: str | None = None
    """File for the verdicts: .csv, .jsonl or .parquet, a row for each. Printed when not given."""

    image_2_column: str | None = None
    """Column of the table with the second image; recognised when not given."""


def run(arguments: Sequence[str]) -> None:
    """Judge, and print or write."""
    options = parse_flags(CompareCommand, arguments, prog="likewise compare")
    check_out(options.out, such_as="verdicts", inputs=(*options.inputs[:2], options.images))
    check_counts(options, "batch_size")
    if not options.inputs:
        raise ConfigError("nothing to compare: name two images and a statement, or a table of pairs.")
    if len(options.inputs) == 1 and is_image(options.inputs[0]):
        raise ConfigError(f"{options.inputs[0]} is one image; name two images and a statement about both.")
    if len(options.inputs) == 2:
        raise ConfigError(
            f"{options.inputs[0]} and {options.inputs[1]} are two images without a statement; add one, such "
            'as "both show a dog". For a table of pairs name the table alone.'
        )
    model = open_model(options.run, options.device)
    model.needs("compare")  # before any source is opened
    if len(options.inputs) > 2:
        left, right, *statements = options.inputs
        rows = rows_of_files(options, {"image": left, "image_2": right}, statements)
    else:
        needs = Needs("image", "image_2", text=STATEMENT)
        rows = open_rows(options, options.inputs[0], needs, noun="statement")
    found = judged(model, rows, options, model.compare)
    finish(found, rows, options.out, f"verdicts on {counted(len(found), 'statement')}")
