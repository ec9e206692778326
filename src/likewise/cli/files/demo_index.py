"""The demo's index: its validation scenes, and what it answers to a text, an image and both together."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

from likewise.cli.files.hits import found_hits, hit_picture
from likewise.model.model import Model
from likewise.reporting.sheets.thumbnail_sheet import draw_thumbnails
from likewise.search.build import IndexOptions, update_index
from likewise.search.terms import Term, query_vector

__all__ = ["answer_by_index"]

_NUM_SHOWN = 6
_ADDED = "a green star"


def answer_by_index(
    model: Model, source: str, query: str, *, index: Path, sheet: Path, model_path: Path
) -> tuple[int, list[str]]:
    """Index the scenes that a demo was not trained on, and draw what three queries find.

    Args:
        model: of the demo.
        source: its scenes.
        query: a text.
        index: the folder of the index.
        sheet: the image file to draw.
        model_path: where the model lies.

    Returns:
        How many scenes there are, and remarks for the user.
    """
    unseen = re.sub(r"train=\d+", "train=1", source)  # the other scenes are the same, however many train
    options = IndexOptions(approximate="never")
    built = update_index(model, unseen, index, options, model_path=str(model_path.absolute())).index
    rows = built.matching({"split": "validation"})
    found = SimpleNamespace(top=_NUM_SHOWN, rerank=0, min_score=None, collapse=False)
    text = [Term(text=query)]
    best = built.search(query_vector(model, text)[None], top=1, rows=rows).rows[0, 0]
    image = Term(image=built.thumbnail(int(best)))
    queries = {
        f"“{query}”": text,
        f"images like the first of them ({built.records([best])[0]['id']})": [image],
        f"that image + “{_ADDED}”": [image, Term(text=_ADDED)],
    }
    sections = []
    for title, terms in queries.items():
        hits = found_hits(built, query_vector(model, terms), terms, found, rows=rows)
        pictures = [
            hit_picture(hit, built.thumbnail(hit.row), rank) for rank, hit in enumerate(hits, start=1)
        ]
        sections.append((title, pictures))
    return len(rows), draw_thumbnails(sections, sheet)
