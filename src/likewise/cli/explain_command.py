"""`likewise explain MODEL IMAGE TEXT`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from likewise.cli.output_paths import check_place
from likewise.errors import ConfigError, DataError
from likewise.messages import printed_line
from likewise.model.grad_cam import explain
from likewise.model.phrases import phrase_maps, unread_words
from likewise.option_flags import parse_flags
from likewise.reporting.sheets.explanation_sheet import draw_explanation
from likewise.runs.open import open_model

__all__ = ["ExplainCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class ExplainCommand:
    """Show the image regions that each word of a text attends to, and the probability that the two match."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run's folder, a model folder or a hub name; of a method with a fusion encoder (tcl)."""

    image: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """An image file."""

    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]
    """A text."""

    phrase: tuple[str, ...] = ()
    """Words that stand side by side in the text and get one map, such as "red circle"; one or more."""

    out: str = "explanation.png"
    """The image file to write: the image, then the maps of the whole text, each phrase and each word."""

    layer: int | None = None
    """Index of the fusion layer, from 0; the middle one by default."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Explain one pair and write the sheet."""
    options = parse_flags(ExplainCommand, arguments, prog="likewise explain")
    if not options.text.strip():
        raise DataError("the text is empty.")
    path = Path(options.out)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf"):
        raise ConfigError(f"--out {path}: expected an image file, such as explanation.png.")
    check_place("--out", path, such_as="explanation.png")
    model = open_model(options.model, options.device)
    stored = model.stored_squares([options.image])
    try:
        found = explain(model, stored, [options.text], layer=options.layer)[0]
    except ValueError as error:
        raise ConfigError(f"--layer: {error}.") from error
    assert model.tokenizer is not None  # `explain` needs one
    phrases = phrase_maps(model.tokenizer, found, options.phrase)
    path.parent.mkdir(parents=True, exist_ok=True)
    remarks = draw_explanation(stored[0].numpy(), found, path, phrases=phrases)
    print(f"they belong together with probability {found.probability:.3f}; wrote {printed_line(path)}")
    for remark in unread_words(model.tokenizer, options.text) + remarks:
        print(printed_line(remark))
