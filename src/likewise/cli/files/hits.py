"""Answers of a search: found, ordered anew, printed and drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError
from likewise.messages import printable
from likewise.model.reranking import candidate_scores
from likewise.reporting.sheets.thumbnail_sheet import Picture, draw_thumbnails
from likewise.search.duplicates import duplicate_groups
from likewise.search.index import Index
from likewise.search.terms import Term

__all__ = ["Hit", "draw_hits", "found_hits", "hit_picture", "print_hits", "reranked"]

_MORE_TO_COLLAPSE = 4
_MOST_WORDS = 70


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One answer.

    Attributes:
        row: in the index.
        record: what the index has of it.
        score: cosine with the query.
        percentile: per cent of random pairs that score lower; NaN where unknown.
        match: the probability of the match, where pairs were judged.
        others: rows that are nearly the same, and not shown.
    """

    row: int
    record: dict[str, Any]
    score: float
    percentile: float
    match: float | None = None
    others: int = 0

    def described(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        found: dict[str, Any] = {"row": self.row, "score": round(self.score, 5)}
        found["percentile"] = None if np.isnan(self.percentile) else round(self.percentile, 3)
        if self.match is not None:
            found["match"] = round(self.match, 5)
        if self.others:
            found["others"] = self.others
        return found | self.record

    @property
    def words(self) -> str:
        """Its first caption, else its label."""
        captions = self.record["captions"]
        return str(captions[0] if captions else self.record["label"] or "")


def found_hits(
    index: Index,
    vector: NDArray[np.float32],
    terms: Sequence[Term],
    options: Any,
    *,
    rows: NDArray[np.int64] | None,
) -> list[Hit]:
    """The best rows; as many as are shown or ordered anew.

    Args:
        index: to search in.
        vector: (D,) of the query.
        terms: of the query.
        options: `top`, `min_score`, `rerank` and `collapse`.
        rows: the candidates; all when None.
    """
    wanted = max(options.top, options.rerank)
    count = wanted * (_MORE_TO_COLLAPSE if options.collapse else 1)
    while True:
        found = index.search(vector[None], top=count, rows=rows)
        scores = found.scores[0]
        kept = np.ones(len(scores), bool) if options.min_score is None else scores >= options.min_score
        numbers, scores = found.rows[0][kept], scores[kept]
        others = np.zeros(len(numbers), np.int64)
        if options.collapse:
            places, others = _distinct(index, numbers)
            numbers, scores = numbers[places], scores[places]
        if len(numbers) >= wanted or len(kept) < count or not kept.all():
            break
        count *= 2
    numbers, scores, others = numbers[:wanted], scores[:wanted], others[:wanted]
    percentiles = index.percentile(scores, terms)
    parts = zip(numbers.tolist(), index.records(numbers), scores, percentiles, others, strict=True)
    return [
        Hit(row=row, record=record, score=float(score), percentile=float(percentile), others=int(other))
        for row, record, score, percentile, other in parts
    ]


def _distinct(index: Index, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the best row of each group of duplicates, and how many others the group has among them."""
    place_of = {row: place for place, row in enumerate(rows.tolist())}
    others = np.zeros(len(rows), np.int64)
    hidden = set()
    for group in duplicate_groups(index, rows):
        first, *rest = sorted(place_of[row] for row in group.rows)
        others[first] = len(rest)
        hidden.update(rest)
    shown = np.array([place for place in range(len(rows)) if place not in hidden], np.int64)
    return shown, others[shown]


def reranked(index: Index, hits: Sequence[Hit], judge: Any, text: str, count: int) -> list[Hit]:
    """The first `count` hits in the order of a model that judges pairs; the others after them.

    Raises:
        AbilityError: the model cannot judge pairs.
        DataError: an image of the hits cannot be had.
    """
    judged = list(hits[:count])
    if not judged:
        return []
    judge.needs("match")
    scores, chances = candidate_scores(judge, [_image(index, hit) for hit in judged], text)
    order = np.argsort(-scores, kind="stable").tolist()
    first = [dataclasses.replace(judged[place], match=float(chances[place])) for place in order]
    return [*first, *hits[count:]]


def _image(index: Index, hit: Hit) -> str | bytes:
    """The file itself where it is still there, else the thumbnail."""
    path = hit.record["path"]
    if Path(path).is_file():
        return str(path)
    thumbnail = index.thumbnail(hit.row)
    if thumbnail is None:
        raise DataError(f"{printable(path, most=80)} is gone, and the index has no thumbnail of it.")
    return thumbnail


def print_hits(hits: Sequence[Hit]) -> None:
    """A line for each answer, below a header."""
    if not hits:
        return
    has_match = any(hit.match is not None for hit in hits)
    width = min(60, max(len(hit.record["id"]) for hit in hits))
    print(f"rank   score  percentile  {'match  ' if has_match else ''}{'id':<{width}}  text or label")
    for rank, hit in enumerate(hits, start=1):
        percentile = "?" if np.isnan(hit.percentile) else percent(hit.percentile)
        match = "" if not has_match else f"{'' if hit.match is None else f'{hit.match:.0%}':>5}  "
        more = f"  (+{hit.others} alike)" if hit.others else ""
        name, words = printable(hit.record["id"], most=60), printable(hit.words, most=_MOST_WORDS)
        print(
            f"{rank:>4}  {hit.score:>6.3f}  {percentile:>10}  {match}{name:<{width}}  {words}{more}".rstrip()
        )


def percent(percentile: float) -> str:
    """As many digits as tell the tail apart."""
    return ">99.99" if percentile > 99.99 else f"{percentile:.2f}" if percentile > 99 else f"{percentile:.1f}"


def draw_hits(hits: Sequence[Hit], thumbnails: Sequence[bytes | None], title: str, path: str) -> list[str]:
    """Draw the answers on a sheet; returns remarks for the user."""
    pairs = zip(hits, thumbnails, strict=True)
    pictures = [hit_picture(hit, thumbnail, rank) for rank, (hit, thumbnail) in enumerate(pairs, start=1)]
    return draw_thumbnails([(title, pictures)], path)


def hit_picture(hit: Hit, thumbnail: bytes | None, rank: int) -> Picture:
    """An answer on a sheet: its thumbnail, its scores, and what it is."""
    line = f"{rank}.  {hit.score:.3f}"
    line += "" if np.isnan(hit.percentile) else f"  {percent(hit.percentile)} %"
    line += "" if hit.match is None else f"  match {hit.match:.0%}"
    return thumbnail, [line, hit.words or hit.record["id"]]
