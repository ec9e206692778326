"""The section of generated captions: which are shown, and their lengths."""

from __future__ import annotations

import re

import numpy as np

from likewise.metrics.texts.captions import cider_per_image
from likewise.model.explanations.explanation import Explanation
from likewise.reporting.examples.generated_captions import chosen_captions, length_histogram
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.page import render_report

REFERENCES = [
    [f"a {colour} dog runs over the {place}"] for colour in ("red", "blue") for place in "abcdefghij"
]
CAPTIONS = [texts[0] if number % 3 else "a cat" for number, texts in enumerate(REFERENCES)]


def test_the_best_and_the_worst_are_those_of_the_scores() -> None:
    scores = np.asarray(cider_per_image(CAPTIONS, REFERENCES))
    chosen = chosen_captions(CAPTIONS, REFERENCES)
    assert list(chosen) == ["best", "typical", "worst"]
    assert scores[chosen["best"]].tolist() == sorted(scores, reverse=True)[:4]
    worst = [CAPTIONS[row] for row in chosen["worst"]]
    assert worst.count("a cat") == 1  # seven images of score 0 have this caption
    assert scores[chosen["worst"]].tolist() == sorted(scores[chosen["worst"]])
    rows = [row for several in chosen.values() for row in several]
    assert len(rows) == len(set(rows))


def test_the_page_shows_captions_references_and_maps() -> None:
    maps = np.random.default_rng(0).random((2, 4, 4), np.float32)
    found = Explanation(words=["a", "<b>dog"], maps=maps, whole=maps[0], text="a <b>dog")
    captions = ["a <b>dog", *CAPTIONS[1:]]
    row = next(row for rows in chosen_captions(captions, REFERENCES).values() for row in rows)
    page = render_report(
        ReportInputs(
            title="captions",
            thumbnails=np.zeros((len(captions), 3, 8, 8), np.uint8),
            generated_captions=captions,
            references=REFERENCES,
            caption_maps={row: found},
        )
    )
    assert '<section id="captions"' in page
    assert "Where it looked" in page
    assert "<b>dog" not in page
    assert "&lt;b&gt;dog" in page
    without = render_report(ReportInputs(title="none"))
    assert "It needs a model that writes captions" in without


def test_bars_are_the_shares_of_the_lengths() -> None:
    chart = str(length_histogram(["a b", "a b", "a b c", ""], ["a b c", "a b c"]))
    bars = re.findall(
        r'<rect class="c(\d) fill" x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', chart
    )
    heights = {(kind, float(height)) for kind, height in bars}
    full = max(height for _, height in heights)
    assert {(kind, round(height / full, 2)) for kind, height in heights} == {
        ("0", 0.25),
        ("0", 0.5),
        ("1", 1.0),
    }
    assert "generated, mean <b>1.8</b>" in chart
