"""Searches of an index for the routes: terms to a vector, filters first, hits as JSON."""

from __future__ import annotations

import asyncio
import base64
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from likewise.search import Index, Term
from likewise.search.terms import combined
from likewise.serving.batcher import Work
from likewise.serving.refusals import Refusal
from likewise.serving.schemas import SearchRequest, TermRequest
from likewise.serving.service import Service

__all__ = ["IndexSearch"]

_MOST_QUERIES = 64  # of one matrix product
_MOST_VALUES = 100  # of a column that is offered for filtering
_MOST_TERMS = 32
_HIDDEN = ("path",)  # says how the server's disk is laid out
_KNOWN_FILTERS = 64  # whose rows are remembered


class IndexSearch:
    """The searches.

    Args:
        service: embeds the terms.
        index: made by the service's model.

    Raises:
        ModelError: another model made the index.
    """

    def __init__(self, service: Service, index: Index) -> None:
        index.check_model(service.model)
        self._service, self._index = service, index
        # The index's own look-up suggests what might be meant, which takes long.
        self._rows = {name: row for row, name in enumerate(index.table["id"].to_pylist())}
        self._matching = lru_cache(_KNOWN_FILTERS)(lambda filters: index.matching(dict(filters)))

    def about(self) -> dict[str, Any]:
        """What clients may know: the size, and columns with their values where those are few."""
        columns = {}
        for name in ("label", *self._index.columns):
            column = self._index.table[name]
            if not pa.types.is_nested(column.type):
                values = [str(value) for value in column.unique().to_pylist() if value is not None]
                if values:
                    columns[name] = sorted(values) if len(values) <= _MOST_VALUES else None
        return {"size": self._index.size, "columns": columns}

    async def search(self, request: SearchRequest) -> dict[str, Any]:
        """Hits of a query. Errors are Refusals and DataErrors."""
        terms = request.query if isinstance(request.query, list) else [TermRequest(text=request.query)]
        self._check(request, terms)
        with self._service.batcher.places(len(terms)):
            loop = asyncio.get_running_loop()
            filters = tuple(sorted(request.filters.items()))
            rows = await loop.run_in_executor(None, self._matching, filters) if filters else None
            count = self._index.size if rows is None else len(rows)
            vector = await self._vector(terms)
            found: list[tuple[int, float]] = []
            if count:
                work = Work(("search", filters), self._searcher(rows), _MOST_QUERIES)
                (found,) = await self._service.batcher.compute(work, [(vector, request.top)])
            hits = await loop.run_in_executor(None, self._hits, found, request, terms)
        return {"model": self._service.name, "matching": count, "hits": hits}

    def _check(self, request: SearchRequest, terms: list[TermRequest]) -> None:
        if not 1 <= len(terms) <= _MOST_TERMS:
            raise Refusal(
                422, f"{len(terms)} terms; expected 1 to {_MOST_TERMS}", code="invalid", param="query"
            )
        most = self._service.limits.max_top
        if request.top > most:
            raise Refusal(422, f"top is {request.top:,}; at most {most:,} hits", code="invalid", param="top")
        for place, term in enumerate(terms):
            if sum(value is not None for value in (term.text, term.image, term.like)) != 1:
                raise Refusal(
                    422, "a term is one of text, image and like", code="invalid", param=f"query[{place}]"
                )
            if term.weight == 0:
                raise Refusal(422, "a weight of 0", code="invalid", param=f"query[{place}].weight")
        for name in request.filters:
            if name in _HIDDEN:
                raise Refusal(422, f"no filter by {name}", code="invalid", param="filters")

    async def _vector(self, terms: list[TermRequest]) -> NDArray[np.float32]:
        """(D,) of all terms."""
        vectors = np.empty((len(terms), self._index.dimension), np.float32)
        given = {
            place: term.text if term.text is not None else term.image
            for place, term in enumerate(terms)
            if term.like is None
        }
        for place, term in enumerate(terms):
            if term.like is not None:
                if term.like not in self._rows:
                    raise Refusal(
                        422, "the index has no such id", code="no_such_id", param=f"query[{place}].like"
                    )
                vectors[place] = self._index.vectors[self._rows[term.like]]
            elif term.text is None and not str(term.image).startswith("data:"):
                raise Refusal(422, "expected a data URI", code="bad_image", param=f"query[{place}].image")
        if given:
            found, _ = await self._service.vectors([str(one) for one in given.values()], "query")
            vectors[list(given)] = found
        return combined(list(vectors), [term.weight for term in terms])

    def _searcher(self, rows: NDArray[np.int64] | None) -> Any:
        def run(queries: list[tuple[NDArray[np.float32], int]]) -> list[Any]:
            vectors = np.stack([vector for vector, _ in queries])  # (Q, D)
            found = self._index.search(vectors, top=max(top for _, top in queries), rows=rows)
            return [
                list(zip(numbers[:top].tolist(), scores[:top].tolist(), strict=True))
                for numbers, scores, (_, top) in zip(found.rows, found.scores, queries, strict=True)
            ]

        return run

    def _hits(
        self, found: list[tuple[int, float]], request: SearchRequest, terms: list[TermRequest]
    ) -> list[dict[str, Any]]:
        if request.min_score is not None:
            found = [(row, score) for row, score in found if score >= request.min_score]
        if not found:
            return []
        numbers, scores = (list(part) for part in zip(*found, strict=True))
        kinds = [
            Term(text=term.text, weight=term.weight)
            if term.text is not None
            else Term(image=term.like or term.image, weight=term.weight)
            for term in terms
        ]
        percentiles = self._index.percentile(np.asarray(scores, np.float32), kinds).tolist()
        hits = []
        for row, score, percentile, record in zip(
            numbers, scores, percentiles, self._index.records(numbers), strict=True
        ):
            hit = {name: _json(value) for name, value in record.items() if name not in _HIDDEN}
            hit |= {"score": score, "percentile": _json(percentile)}
            if request.thumbnails:
                jpeg = self._index.thumbnail(row)
                hit["thumbnail"] = jpeg and f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
            hits.append(hit)
        return hits


def _json(value: Any) -> Any:
    """A cell of a table as JSON has it; what JSON lacks becomes text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (list, tuple)):
        return [_json(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): _json(one) for name, one in value.items()}
    return value if value is None or isinstance(value, (str, int, bool)) else str(value)
