"""Files of answers: CSV, JSONL or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from likewise.cli.files.row_files import write_rows
from likewise.model.answers import Answer

__all__ = ["Answered", "write_answers_file"]


class Answered(NamedTuple):
    """A question about an image, with its answers, best first."""

    image: str
    question: str
    answers: list[Answer]


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
