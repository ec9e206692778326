"""`likewise explain MODEL IMAGE [TEXT]`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from likewise.cli.files.output_paths import check_place
from likewise.errors import ConfigError, DataError
from likewise.messages import printed_line
from likewise.model.explanations.explain import explain_images, kind_of_explanation
from likewise.model.explanations.explanation import Explanation
from likewise.model.explanations.phrases import phrase_maps, unread_words
from likewise.option_flags import parse_flags
from likewise.reporting.sheets.explanation_sheet import draw_comparison, draw_explanation
from likewise.runs.open import open_model

__all__ = ["ExplainCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class ExplainCommand:
    """Show the image regions behind a match with a text, a similarity or a generated caption.

    Models with a fusion encoder (tcl) have a map for each word of the text, other models of images and texts
    (clip) one for the whole text, captioners one for each word that they write, and models of images one for
    the similarity to another image.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """A run's folder, a model folder or a hub name."""

    image: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="IMAGE")]
    """An image file."""

    text: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[TEXT]")] = None
    """A text to compare the image with; a captioner's own caption when not given."""

    other_image: str | None = None
    """Another image file to compare with, in place of a text."""

    phrase: tuple[str, ...] = ()
    """Words that stand side by side in the text and get one map, such as "red circle"; one or more."""

    out: str = "explanation.png"
    """The image file to write: the image, then the maps of the whole text, each phrase and each word."""

    layer: int | None = None
    """Index of the fusion layer, from 0; the middle one by default."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        """Check what can be checked without the model."""
        if self.text is not None and self.other_image is not None:
            raise ConfigError("the image is compared with a text or with --other-image; give one of the two.")
        if self.text is not None and not self.text.strip():
            raise DataError("the text is empty.")
        if Path(self.out).suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp", ".svg", ".pdf"):
            raise ConfigError(f"--out {self.out}: expected an image file, such as explanation.png.")


def run(arguments: Sequence[str]) -> None:
    """Explain one image and write the sheet."""
    options = parse_flags(ExplainCommand, arguments, prog="likewise explain")
    path = Path(options.out)
    check_place("--out", path, such_as="explanation.png", inputs=[options.image, options.other_image])
    model = open_model(options.model, options.device)
    comparing = options.other_image is not None
    kind = kind_of_explanation(model, of_texts=options.text is not None, of_images=comparing)
    if options.phrase and kind not in ("match", "caption"):
        raise ConfigError("--phrase: this model has one map for the whole text, none for its words.")
    if options.layer is not None and kind != "match":
        raise ConfigError("--layer: this model has no fusion layers to choose from.")
    images = [options.image] if options.other_image is None else [options.image, options.other_image]
    stored = model.stored_squares(images)
    try:
        found = explain_images(
            model,
            stored,
            texts=None if options.text is None else [options.text],
            others=stored.flip(0) if comparing else None,
            layer=options.layer,
        )
    except ValueError as error:
        raise ConfigError(f"--layer: {error}.") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    if comparing:
        remarks = draw_comparison(list(stored.numpy()), found, path)
    else:
        assert model.tokenizer is not None  # of a model that reads or writes texts
        phrases = phrase_maps(model.tokenizer, found[0], options.phrase)
        remarks = unread_words(model.tokenizer, found[0].text or "")
        remarks += draw_explanation(stored[0].numpy(), found[0], path, phrases=phrases)
    print(printed_line(f"{_said(found[0])}; wrote {path}"))
    for remark in remarks:
        print(printed_line(remark))


def _said(found: Explanation) -> str:
    """What is explained, in words."""
    if found.probability is not None:
        return f"they belong together with probability {found.probability:.3f}"
    return f"caption: {found.text}" if found.cosine is None else f"their cosine is {found.cosine:.3f}"
