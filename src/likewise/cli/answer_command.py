"""`likewise answer RUN photo.jpg "how many dogs?"`, `likewise answer RUN questions.csv --out answers.csv`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from likewise.cli.files.answer_files import Answered, write_answers_file
from likewise.cli.files.image_records import say_set_aside, square_batches, tracked
from likewise.cli.files.row_files import check_out
from likewise.data import DataConfig, open_source
from likewise.data.columns import Needs
from likewise.data.record import BadRecord, Record
from likewise.errors import ConfigError, DataError
from likewise.messages import plain_warnings, printed_line
from likewise.model.answers import Score
from likewise.model.model import Model
from likewise.option_flags import check_counts, parse_flags
from likewise.runs.open import open_model

__all__ = ["AnswerCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class AnswerCommand:
    """Answer questions about images with a trained model of vqa."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """An image, a folder of images, or any source that `likewise data` reads; with no question on the line, a
    table of images and questions."""

    questions: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[QUESTION...]")] = ()
    """What to ask of every image."""

    images: str | None = None
    """Table of the images, where the table of questions names them by a key (as --data.images)."""

    answers: tuple[str, ...] = ()
    """Answers to choose from, such as `--answers yes no`; those of the training data when not given."""

    free: bool = False
    """Write answers word by word instead of choosing among known ones."""

    score: Score = "sum"
    """Rank answers by the sum of their tokens' log-likelihoods, or by the mean, which does not prefer short
    ones."""

    num_answers: int = 3
    """Answers to each question, the likeliest first."""

    out: str | None = None
    """File for the answers: .csv, .jsonl or .parquet, a row for each answer. Printed when not given."""

    batch_size: int = 64
    """Images at a time."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    quiet: bool = False
    """Show no progress."""


def run(arguments: Sequence[str]) -> None:
    """Answer, and print or write."""
    options = parse_flags(AnswerCommand, arguments, prog="likewise answer")
    check_out(options.out, such_as="answers")
    check_counts(options, "batch_size", "num_answers")
    for place, question in enumerate(options.questions):
        if not question.strip():
            raise ConfigError(f"question {place} is empty.")
    model = open_model(options.run, options.device)
    model.needs("answer")  # before any source is opened
    asks = not options.questions
    source = open_source(
        DataConfig(source=options.source, images=options.images),
        Needs("image", "text") if asks else Needs("image"),
    )
    bad = [problem.bad for problem in source.problems if asks or problem.part != "text"]
    if asks and not any(record.texts for record in source.records):
        raise ConfigError(
            f"no question: give one after {options.source}, or a table with a column of questions."
        )
    with plain_warnings():
        found = list(_answered(model, source.records, options, bad))
    if options.out is None:
        for one in found:
            answers = ", ".join(f"{answer.text} ({100 * answer.probability:.0f} %)" for answer in one.answers)
            print("\t".join(map(printed_line, (one.image, one.question, answers))))
    else:
        write_answers_file(options.out, found)
        print(f"wrote answers to {len(found):,} questions to {printed_line(options.out)}")
    say_set_aside(bad, "records")
    if not found:
        raise DataError("no question could be answered, for the reasons above.")


def _answered(
    model: Model, records: list[Record], options: AnswerCommand, bad: list[BadRecord]
) -> Iterator[Answered]:
    """Each question of each readable image with its answers; other records are added to `bad`."""
    batches = square_batches(model, records, batch_size=options.batch_size)
    shown = tracked(batches, len(records), options.batch_size, "answering", quiet=options.quiet)
    for batch in shown:
        bad += batch.bad
        asked = [
            (row, question)
            for row, record in enumerate(batch.records)
            for question in options.questions or record.texts
        ]
        pieces = [asked[at : at + options.batch_size] for at in range(0, len(asked), options.batch_size)]
        for piece in pieces:
            ranked = model.answer_stored(
                [batch.images[[row for row, _ in piece]]],
                [question for _, question in piece],
                options.answers or None,
                free=options.free,
                score=options.score,
                num_answers=options.num_answers,
            )
            for (row, question), answers in zip(piece, ranked, strict=True):
                yield Answered(_name(batch.records[row], options), question, answers)


def _name(record: Record, options: AnswerCommand) -> str:
    """A joined image is known by its key, not by the first question about it."""
    return record.group if options.images is not None and record.group is not None else record.id
