"""`likewise search photos.index "a dog on a beach"`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from likewise.cli.files.hits import Hit, draw_hits, found_hits, print_hits
from likewise.cli.files.lance_search import PREFIX, found_in_lance
from likewise.cli.files.output_paths import check_place
from likewise.errors import ConfigError
from likewise.messages import printed_line
from likewise.option_flags import check_counts, parse_flags
from likewise.search.index import Index, open_index
from likewise.search.query_syntax import parse_images, parse_query
from likewise.search.terms import Term, combined, query_vector

__all__ = ["SearchCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class SearchCommand:
    """Search an index by words, images, or both: "a dog on a beach", "horse + stripes", "beach - people",
    "horse + 0.5*stripes"."""

    index: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="INDEX")]
    """The folder of the index, or lance:ADDRESS of one in LanceDB."""

    query: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="QUERY")] = None
    """Texts with + and - between them (with spaces around), each with a weight such as 0.5* before it."""

    image: tuple[str, ...] = ()
    """Image files (or sound files, for a model of sounds) that the answers should be like, each with a weight
    such as 0.5* before it."""

    not_image: tuple[str, ...] = ()
    """Image files that they should not be like."""

    like: str | None = None
    """Id of a row of the index that they should be like; the row itself is left out."""

    model: str | None = None
    """The model that built the index; where it was then, when not given."""

    top: int = 10
    """How many answers."""

    min_score: float | None = None
    """Leave out answers below this cosine."""

    filter: tuple[str, ...] = ()
    """Search only rows whose column has this value, such as label=dog; several must all hold."""

    where: str | None = None
    """Search only rows that meet an SQL condition, such as "label = 'dog' and split = 'train'" (needs DuckDB:
    pip install 'likewise[index]')."""

    rerank: int = 0
    """Order the best so many anew by a model that judges pairs of text and image (method tcl)."""

    rerank_by: str | None = None
    """That model; the one that built the index when not given."""

    collapse: bool = False
    """Show one answer of those that are the same image, or nearly."""

    json: bool = False
    """Print an object a line."""

    sheet: str | None = None
    """Draw the answers into this image file, such as answers.png."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""


def run(arguments: Sequence[str]) -> None:
    """Search, and print or draw."""
    options = parse_flags(SearchCommand, arguments, prog="likewise search")
    _check(options)
    terms = [
        *(parse_query(options.query) if options.query is not None else ()),
        *parse_images(options.image),
        *parse_images(options.not_image, sign=-1.0),
    ]
    filters = _filters(options.filter)
    if options.index.startswith(PREFIX):
        hits, thumbnails = found_in_lance(options, terms, filters, _open)
        _show(hits, thumbnails, options)
        return
    index = open_index(options.index)
    rows = _candidates(index, filters, options)
    vector, terms_of_score = _query(index, terms, options)
    hits = found_hits(index, vector, terms_of_score, options, rows=rows)
    if options.rerank:
        hits = _reranked(index, hits, terms, options)
    hits = hits[: options.top]
    _show(hits, [index.thumbnail(hit.row) for hit in hits] if options.sheet is not None else [], options)
    _say_doubts(index, hits, terms_of_score, candidates=index.size if rows is None else len(rows))


def _show(hits: list[Hit], thumbnails: Sequence[bytes | None], options: Any) -> None:
    if options.json:
        for hit in hits:
            print(json.dumps(hit.described(), ensure_ascii=False, default=str))
    else:
        print_hits(hits)
    if options.sheet is not None:
        for remark in draw_hits(hits, thumbnails, _title(options), options.sheet):
            print(printed_line(f"note: {remark}."), file=sys.stderr)
        print(printed_line(f"drew {options.sheet}"), file=sys.stderr)


def _filters(conditions: Sequence[str]) -> list[tuple[str, str]]:
    pairs = [condition.partition("=") for condition in conditions]
    for name, sign, _ in pairs:
        if not sign or not name.strip():
            raise ConfigError(f"--filter {name}: expected COLUMN=VALUE, such as label=dog.")
    return [(name.strip(), value.strip()) for name, _, value in pairs]


def _check(options: Any) -> None:
    check_counts(options, "top")
    if options.query is None and not options.image and not options.not_image and options.like is None:
        raise ConfigError("there is nothing to search for; give a QUERY, --image FILE or --like ID.")
    if options.rerank < 0:
        raise ConfigError(f"--rerank is {options.rerank}; expected how many answers to order anew.")
    if options.rerank_by is not None and not options.rerank:
        raise ConfigError("--rerank-by has no effect without --rerank; add --rerank 64.")
    if options.sheet is not None:
        if Path(options.sheet).suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise ConfigError(f"--sheet {options.sheet}: expected a name that ends in .png, .jpg or .webp.")
        images = [word.rpartition("*")[2] for word in (*options.image, *options.not_image)]  # 0.5*a.jpg
        check_place("--sheet", Path(options.sheet), such_as="answers.png", inputs=[*images, options.index])


def _candidates(index: Index, filters: Sequence[tuple[str, str]], options: Any) -> Any:
    """The rows that may be found; None for all."""
    rows = index.matching(filters) if filters else None
    if options.where is not None:
        found = index.where(options.where)
        rows = found if rows is None else np.intersect1d(rows, found)
    if options.like is not None:
        own = index.row_of(options.like)
        rows = np.arange(index.size) if rows is None else rows
        rows = rows[rows != own]
    return rows


def _query(index: Index, terms: list[Term], options: Any) -> tuple[Any, list[Term]]:
    """The query's vector (D,), and its terms for the percentile of a score."""
    vectors, weights = [], []
    if options.like is not None:
        vectors, weights = [index.like(options.like)], [1.0]
    if terms:
        model = _open(options.model or index.manifest.model.get("path"), options)
        index.check_model(model)
        if not vectors:
            return query_vector(model, terms), terms
        vectors += [query_vector(model, [Term(text=t.text, image=t.image)]) for t in terms]
        weights += [term.weight for term in terms]
    known = [Term(image=options.like, weight=1.0)] if options.like is not None else []
    return combined(vectors, weights), [*known, *terms]


def _open(path: str | None, options: Any) -> Any:
    from likewise.runs.open import open_model

    if path is None:
        raise ConfigError("the index does not say where its model is; add --model RUN.")
    return open_model(path, options.device)


def _reranked(index: Index, hits: list[Hit], terms: list[Term], options: Any) -> list[Hit]:
    """The hits by a model that judges pairs, the best first; what was not judged follows as it was."""
    from likewise.cli.files.hits import reranked

    if len(terms) != 1 or terms[0].text is None or terms[0].weight <= 0 or options.like is not None:
        raise ConfigError("--rerank needs a query of one text; leave out images, --like and combinations.")
    judge = _open(options.rerank_by or options.model or index.manifest.model.get("path"), options)
    return reranked(index, hits, judge, terms[0].text, options.rerank)


def _title(options: Any) -> str:
    words = [options.query] if options.query is not None else []
    words += [Path(path).name for path in options.image] + [
        f"- {Path(path).name}" for path in options.not_image
    ]
    words += [] if options.like is None else [f"like {options.like}"]
    return " + ".join(words).replace("+ - ", "- ")


def _say_doubts(index: Index, hits: list[Hit], terms: list[Term], *, candidates: int) -> None:
    """Say so where there is no answer, or where the best is no better than chance."""
    if not candidates:
        print("no row meets the conditions.", file=sys.stderr)
    elif not hits:
        print("no answer reaches --min-score.", file=sys.stderr)
    elif max(hit.score for hit in hits) < index.best_of_random(terms, candidates):
        print(
            f"note: the best of {candidates:,} rows scores no higher than the best of as many random pairs: "
            "perhaps nothing here fits.",
            file=sys.stderr,
        )
