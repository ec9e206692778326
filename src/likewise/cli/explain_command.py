"""`likewise explain MODEL IMAGE TEXT`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from likewise.cli.output_paths import check_place
from likewise.errors import ConfigError, DataError
from likewise.model.grad_cam import Explanation, explain
from likewise.model.model import Model
from likewise.option_flags import parse_flags
from likewise.reporting.sheets.explanation_sheet import draw_explanation
from likewise.runs.open import open_model

__all__ = ["ExplainCommand", "left_out", "maps_of_phrases", "run"]


@dataclass(frozen=True, kw_only=True)
class ExplainCommand:
    """Show where each word of a text looks in a picture, and how likely the two belong together."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run's folder, a model folder or a hub name; of a method with a fusion encoder (tcl)."""

    image: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """A picture file."""

    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]
    """A text."""

    phrase: tuple[str, ...] = ()
    """Words that stand side by side in the text, to be shown together, such as "red circle"; one or more."""

    out: str = "explanation.png"
    """The picture that is written: the original, the whole text, each phrase, then word by word."""

    layer: int | None = None
    """Which fusion layer's attention, from 0; the middle one when not given."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Explain one pair, and write the sheet."""
    options = parse_flags(ExplainCommand, arguments, prog="likewise explain")
    if not options.text.strip():
        raise DataError("the text is empty.")
    path = Path(options.out)
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf"):
        raise ConfigError(f"--out {path}: expected a picture's name, such as explanation.png.")
    check_place("--out", path, such_as="explanation.png")
    model = open_model(options.model, options.device)
    stored = model.stored_squares([options.image])
    try:
        found = explain(model, stored, [options.text], layer=options.layer)[0]
    except ValueError as error:
        raise ConfigError(f"--layer: {error}.") from error
    phrases = maps_of_phrases(model, found, options.phrase)
    path.parent.mkdir(parents=True, exist_ok=True)
    remarks = draw_explanation(stored[0].numpy(), found, path, phrases=phrases)
    print(f"they belong together with probability {found.probability:.3f}; wrote {path}")
    for remark in left_out(model, options.text) + remarks:
        print(remark)


def maps_of_phrases(
    model: Model, found: Explanation, phrases: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Where each phrase looks, by the phrase: where its words first stand side by side in the text.

    Args:
        model: reads texts.
        found: the explanation of the text.
        phrases: words of the text, in any case.

    Returns:
        (g, g) maps, the means over the phrases' words.

    Raises:
        ConfigError: the words of a phrase do not stand side by side in what was read of the text.
    """
    assert model.tokenizer is not None
    tokenizer = model.tokenizer.uncut()
    read = [word.casefold() for word in found.words]
    maps = {}
    for phrase in phrases:
        words = [word.casefold() for word, _ in tokenizer.word_spans(phrase)]
        starts = [start for start in range(len(read)) if words and read[start : start + len(words)] == words]
        if not starts:
            raise ConfigError(
                f"--phrase {phrase!r}: these words do not stand side by side in the text. Name some of those "
                f"that the model read: {' '.join(found.words)}"
            )
        maps[phrase] = found.phrase(starts[0], starts[0] + len(words) - 1)
    return maps


def left_out(model: Model, text: str) -> list[str]:
    """A remark where a text is longer than what the model reads of it, else none.

    Args:
        model: reads texts.
        text: the whole of it.
    """
    tokenizer = model.tokenizer
    assert tokenizer is not None
    if len(tokenizer.encode([text])[0]) < tokenizer.max_tokens:
        return []
    whole, read = tokenizer.uncut().word_spans(text), tokenizer.word_spans(text)
    # The last word that is read may have lost some of its tokens.
    count = len(whole) - sum(first == second for first, second in zip(whole, read, strict=False))
    if count == 0:
        return []
    last = "the last word was" if count == 1 else f"the last {count:,} words were"
    return [f"the model reads {tokenizer.max_tokens:,} tokens; {last} left out"]
