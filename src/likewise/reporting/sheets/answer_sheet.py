"""The images that answer a text query, by cosine and re-ranked, on one sheet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from likewise.data import Dataset
from likewise.metrics import nearest
from likewise.model.model import Model
from likewise.reporting.sheets.sheet import LINE_HEIGHT, Sheet, open_font, save_image, square_image, wrap

__all__ = ["draw_answer"]

_NUM_SHOWN = 6
_SIDE, _GAP, _MAX_LINES = 200, 14, 3


def draw_answer(model: Model, images: Dataset, query: str, path: Path, *, num_candidates: int = 16) -> int:
    """Search images by a text, re-rank the best by match probability, and draw both rankings.

    Args:
        model: encodes images and texts, and scores pairs.
        images: the dataset to search.
        query: the text.
        path: the image file to write.
        num_candidates: images that are re-ranked.

    Returns:
        The row of the best image after re-ranking.
    """
    found = nearest(model.encode_texts(query), model.encode_dataset_images(images), num_candidates)
    rows, cosines = np.asarray(found.indices)[0], np.asarray(found.similarities)[0]
    judge, text = model.judge_dataset(images, [query]), np.zeros(len(rows), np.int64)
    chances, scores = judge.probabilities(rows, text), judge.posterior(rows, text)
    order = np.argsort(-scores, kind="stable")
    by_cosine = [(int(row), [f"cosine {cosine:.2f}"]) for row, cosine in zip(rows, cosines, strict=True)]
    reranked = [
        (
            int(rows[place]),
            [f"score {scores[place]:.1f}", f"match {chances[place]:.0%}, cosine {cosines[place]:.2f}"],
        )
        for place in order
    ]
    title = f"the best {len(rows)} re-ranked by score: log odds of the match + cosine / temperature"
    _draw(images, query, {"by cosine": by_cosine, title: reranked}, path)
    return reranked[0][0]


def _draw(images: Dataset, query: str, rankings: dict[str, list[tuple[int, list[str]]]], path: Path) -> None:
    """Draw the query, then a line for each ranking: images, each with its scores and caption."""
    shown = {name: ranking[:_NUM_SHOWN] for name, ranking in rankings.items()}
    captions = {
        row: "".join(images.texts[row][:1]) if images.texts is not None else ""
        for ranking in shown.values()
        for row, _ in ranking
    }
    font, _ = open_font([query, *captions.values()])
    step, top, band = _SIDE + _GAP, 3 * LINE_HEIGHT, _SIDE + (5 + _MAX_LINES) * LINE_HEIGHT
    sheet = Sheet(_NUM_SHOWN * step + _GAP, top + len(shown) * band, font)
    sheet.write(wrap(f"“{query}”", font, _NUM_SHOWN * step, 1), _GAP, LINE_HEIGHT)
    for number, (name, ranking) in enumerate(shown.items()):
        sheet.write([name], _GAP, top + number * band)
        image_top = top + number * band + LINE_HEIGHT + 6
        for column, (row, scores) in enumerate(ranking):
            left = _GAP + column * step
            sheet.paste(square_image(images.images([row])[0].numpy(), _SIDE), left, image_top)
            sheet.write([*scores, *wrap(captions[row], font, _SIDE, _MAX_LINES)], left, image_top + _SIDE + 6)
    save_image(sheet.image, path)
