"""Generated captions to check by eye: the best, typical and worst of them, their attention, their lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from likewise.metrics.texts.captions import cider_per_image, tokenize
from likewise.reporting.axes import Axes, nice_ticks
from likewise.reporting.examples.attention_maps import word_overlays
from likewise.reporting.examples.galleries import image_uri
from likewise.reporting.inputs import ReportInputs

__all__ = ["CaptionRow", "chosen_captions", "find_captions", "length_histogram"]

_COUNT = 4
_MAX_REFERENCES = 5


@dataclass(frozen=True)
class CaptionRow:
    """An image with its generated caption and what people wrote."""

    image: str
    """A data URI."""
    caption: str
    cider: float
    references: list[str]
    words: list[tuple[str, str]]
    """Words with their attention maps as data URIs; none where these were not computed."""


def chosen_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Images with the best, typical and worst captions by CIDEr-D: at most four each, of different captions.

    Typical ones are nearest to the median. Among equal scores, as many have none, images are evenly spread.

    Args:
        captions: N.
        references: of each image one or more.

    Returns:
        Rows by "best", "typical" and "worst"; an image is in one of these.
    """
    scores = np.asarray(cider_per_image(captions, references))
    spread = np.argsort(np.arange(len(scores)) * 0.6180339887 % 1)  # neighbours in a source are often alike
    taken: set[int] = set()
    chosen = {}
    for name, distance in (
        ("best", -scores),
        ("worst", scores),
        ("typical", np.abs(scores - np.median(scores))),
    ):
        rows: list[int] = []
        said: set[str] = set()
        for row in spread[np.argsort(distance[spread], kind="stable")].tolist():
            if len(rows) < _COUNT and row not in taken and captions[row] not in said:
                rows.append(row)
                said.add(captions[row])
        chosen[name] = rows
        taken |= {*rows}
    return {name: chosen[name] for name in ("best", "typical", "worst")}


def find_captions(inputs: ReportInputs) -> dict[str, Any]:
    """The rows of each kind, the histogram of lengths and how many captions there are.

    Raises:
        ValueError: the model writes no captions, or the data has none to compare with.
    """
    captions, references = inputs.generated_captions, inputs.references
    if not captions or not references:
        raise ValueError("It needs a model that writes captions, and data with captions.")
    thumbnails, scores = inputs.shown_thumbnails(), cider_per_image(captions, references)

    def row(place: int) -> CaptionRow:
        found = inputs.caption_maps.get(place)
        return CaptionRow(
            image=image_uri(thumbnails[place]),
            caption=captions[place],
            cider=scores[place],
            references=list(references[place][:_MAX_REFERENCES]),
            words=[] if found is None else word_overlays(thumbnails[place], found),
        )

    chosen = chosen_captions(captions, references)
    return {
        "kinds": {name: [row(place) for place in places] for name, places in chosen.items()},
        "lengths": length_histogram(captions, [text for texts in references for text in texts]),
        "count": len(captions),
        "distinct": len(set(captions)),
    }


def length_histogram(captions: Sequence[str], references: Sequence[str]) -> Markup:
    """A `<figure>`: the share of generated captions, and of references, that have so many words."""
    generated, written = (Counter(len(tokenize(text)) for text in texts) for texts in (captions, references))
    low, high = min((*generated, *written)), max((*generated, *written))
    shares = {
        length: (generated[length] / len(captions), written[length] / len(references))
        for length in range(low, high + 1)
    }
    ticks = nice_ticks(0, max(max(pair) for pair in shares.values()))
    axes = Axes(
        width=520,
        height=220,
        margins=(10, 12, 24, 52),
        x_range=(low - 0.5, high + 0.5),
        y_range=(0, ticks[-1]),
    )
    bar = Markup('<rect class="c{} fill" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>')
    width = 0.42 * (axes.x(1) - axes.x(0))
    foot = axes.y(0)
    bars = [
        bar.format(place, axes.x(length) + (place - 1) * width, axes.y(share), width, foot - axes.y(share))
        for length, pair in shares.items()
        for place, share in enumerate(pair)
        if share > 0
    ]
    steps = [tick for tick in nice_ticks(low, high, 8, whole=True) if low <= tick <= high]
    drawn = [
        axes.y_axis(ticks, lambda share: f"{100 * share:.0f} %"),
        *bars,
        axes.x_axis(steps, "{:.0f}".format),
    ]
    means = [sum(n * count for n, count in one.items()) / one.total() for one in (generated, written)]
    key = Markup(
        '<li><svg class="key" viewBox="0 0 26 6" aria-hidden="true"><rect class="c{} fill" width="26" '
        'height="6"/></svg>{} <b>{:.1f}</b></li>'
    )
    names = ("generated, mean", "references, mean")
    legend = [
        key.format(place, name, mean) for place, (name, mean) in enumerate(zip(names, means, strict=True))
    ]
    said = f"Lengths in words: generated {means[0]:.1f}, references {means[1]:.1f} on average"
    return Markup('<figure class="chart lengths"><h3>{}</h3>{}<ul class="legend">{}</ul></figure>').format(
        "Captions by their number of words", axes.draw(drawn, said), Markup("").join(legend)
    )
