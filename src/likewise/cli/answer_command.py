"""`likewise answer RUN photo.jpg "how many dogs?"`, `likewise answer RUN questions.csv --out answers.csv`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro

from likewise.cli.files.row_files import check_out
from likewise.cli.files.source_rows import Finding, Row, RowOptions, Rows, finish, open_rows, squares_of
from likewise.data.columns import QUESTION, Needs
from likewise.errors import ConfigError, SourceError
from likewise.messages import counted, plain_warnings
from likewise.model.answers import Answer, Score
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.runs.open import open_model

__all__ = ["AnswerCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class AnswerCommand(RowOptions):
    """Answer questions about images with a trained model of vqa."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """An image, a folder of images, or any source that `likewise data` reads; with no question on the line, a
    table of images and questions."""

    questions: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[QUESTION...]")] = ()
    """What to ask of every image."""

    out: str | None = None
    """File for the answers: .csv, .jsonl or .parquet, a row for each answer. Printed when not given."""

    answers: tuple[str, ...] = ()
    """Answers to choose from, such as `--answers yes no`, or a file with one a line (`--answers @FILE`);
    those of the training data when not given. Stands after the image and the questions."""

    free: bool = False
    """Write answers word by word instead of choosing among known ones."""

    score: Score = "sum"
    """Rank answers by the sum of their tokens' log-likelihoods, or by the mean, which does not prefer short
    ones."""

    num_answers: int = 3
    """Answers to each question, the likeliest first."""


def run(arguments: Sequence[str]) -> None:
    """Answer, and print or write."""
    options = parse_flags(AnswerCommand, arguments, prog="likewise answer")
    lists = [word.removeprefix("@") for word in options.answers]
    check_out(options.out, such_as="answers", inputs=(options.source, options.images, *lists))
    check_counts(options, "batch_size", "num_answers")
    choices = _choices(options.answers)
    model = open_model(options.run, options.device)
    model.needs("answer")  # before any source is opened
    try:
        rows = open_rows(
            options,
            options.source,
            Needs("image", text=QUESTION),
            noun="question",
            words=options.questions,
        )
    except SourceError as error:
        if not options.answers:
            raise
        raise SourceError(
            f"{error}; --answers takes all words up to the next option: put it after the image and the "
            "questions"
        ) from error
    found: list[Finding] = []
    with plain_warnings():
        for batch in rows.batches(squares_of(model), options, "answering"):
            asked = [(row, question) for row in batch for question in row.texts]
            for start in range(0, len(asked), options.batch_size):
                found += _answered(model, rows, asked[start : start + options.batch_size], choices, options)
    finish(found, rows, options.out, f"answers to {counted(len(found), 'question')}")


def _choices(given: Sequence[str]) -> list[str] | None:
    """The answers to choose from, of the command line or of a file; None where none are given."""
    listed = list(given)
    if len(listed) == 1 and (listed[0].startswith("@") or os.path.isfile(listed[0])):
        try:
            lines = Path(listed[0].removeprefix("@")).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            raise ConfigError(f"--answers {listed[0]} cannot be read: {error}.") from error
        listed = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if given and len(listed) < 2:
        raise ConfigError(
            f"--answers {given[0]}: {counted(len(listed), 'answer')} to choose from; expected two or more, "
            "with spaces between and quotes around those of several words (--answers yes no 'not sure'), or "
            "a file with one a line (--answers @answers.txt)."
        )
    return listed or None


def _answered(
    model: Model,
    rows: Rows,
    asked: Sequence[tuple[Row, str]],
    choices: list[str] | None,
    options: AnswerCommand,
) -> list[Finding]:
    ranked = model.answer_stored(
        [torch.stack([row.images[0] for row, _ in asked])],
        [question for _, question in asked],
        choices,
        free=options.free,
        score=options.score,
        num_answers=options.num_answers,
    )
    return [
        _finding(rows.named(row.record) | {"question": question}, answers)
        for (row, question), answers in zip(asked, ranked, strict=True)
    ]


def _finding(asked: dict[str, str], answers: Sequence[Answer]) -> Finding:
    said = ", ".join(f"{answer.text} ({100 * answer.probability:.0f} %)" for answer in answers)
    return Finding(
        [
            {
                **asked,
                "answer": answer.text,
                "rank": rank,
                "probability": answer.probability,
                "log_prob": answer.log_prob,
            }
            for rank, answer in enumerate(answers, start=1)
        ],
        [asked["image"], asked["question"], said],
    )
