"""Queries as one types them: "horse + stripes", "beach - people", "horse + 0.5*stripes"."""

from __future__ import annotations

import re

from likewise.errors import DataError
from likewise.search.terms import Term

__all__ = ["parse_images", "parse_query"]

_SIGN = re.compile(r"(?:^|\s)([+-])(?=\s|$)")
_WEIGHT = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*\*\s*(.*)", re.DOTALL)


def parse_query(query: str) -> list[Term]:
    """The terms of a query. A plus or minus is one between spaces: "a t-shirt" is one term.

    Raises:
        DataError: a term is empty, or its weight is 0.
    """
    pieces = _SIGN.split(query.strip())
    begins_with_sign = pieces[0] == "" and len(pieces) > 1
    pieces = pieces[1:] if begins_with_sign else ["+", *pieces]
    terms = []
    for sign, piece in zip(pieces[::2], pieces[1::2], strict=True):
        weight, text = _weighted(piece)
        if not text:
            raise DataError(f"a term of {query!r} is empty; expected a query such as 'horse + 0.5*stripes'.")
        terms.append(Term(text=text, weight=-weight if sign == "-" else weight))
    return terms


def parse_images(paths: tuple[str, ...], *, sign: float = 1.0) -> list[Term]:
    """Images with weights, such as "query.jpg" or "0.5*query.jpg"."""
    pairs = [_weighted(path) for path in paths]
    return [Term(image=path, weight=sign * weight) for weight, path in pairs]


def _weighted(piece: str) -> tuple[float, str]:
    found = _WEIGHT.fullmatch(piece.strip())
    return (1.0, piece.strip()) if found is None else (float(found[1]), found[2].strip())
