"""Files of answers: CSV, JSONL or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from likewise.cli.files.output_paths import check_place
from likewise.cli.files.row_files import ROW_SUFFIXES, write_rows
from likewise.errors import ConfigError
from likewise.model.answers import Answer

__all__ = ["Answered", "check_out", "write_answers_file"]


class Answered(NamedTuple):
    """A question about an image, with its answers, best first."""

    image: str
    question: str
    answers: list[Answer]


def check_out(out: str | None) -> None:
    """Reject a place that cannot be written to, before any work.

    Raises:
        ConfigError: another ending, or a folder that is not there.
    """
    if out is None:
        return
    if Path(out).suffix not in ROW_SUFFIXES:
        raise ConfigError(f"--out {out}: expected a name that ends in {', '.join(ROW_SUFFIXES)}.")
    check_place("--out", Path(out), such_as=f"answers{Path(out).suffix}")


def write_answers_file(out: str, found: list[Answered]) -> None:
    """Write a row for each answer, whole or not at all."""
    write_rows(
        Path(out),
        [
            {
                "image": one.image,
                "question": one.question,
                "answer": answer.text,
                "rank": rank,
                "probability": answer.probability,
                "log_prob": answer.log_prob,
            }
            for one in found
            for rank, answer in enumerate(one.answers, start=1)
        ],
    )
