"""Searches of an index in LanceDB: texts, images, filters, conditions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from likewise.cli.files.hits import Hit
from likewise.errors import ConfigError
from likewise.search.lance import LanceIndex
from likewise.search.terms import Term, query_vector

__all__ = ["PREFIX", "found_in_lance"]

PREFIX = "lance:"
"""Begins the name of an index in LanceDB."""


def found_in_lance(
    options: Any, terms: Sequence[Term], filters: Sequence[tuple[str, str]], model: Any
) -> tuple[list[Hit], list[bytes | None]]:
    """The answers, and their thumbnails.

    Args:
        options: of `likewise search`.
        terms: of the query.
        filters: columns and the values that they must have.
        model: opens the model of a path.

    Raises:
        ConfigError: an option has no effect there.
    """
    for name in ("like", "rerank", "collapse"):
        if getattr(options, name):
            raise ConfigError(f"--{name} has no effect on an index in LanceDB; leave it out.")
    index = LanceIndex(options.index.removeprefix(PREFIX))
    opened = model(options.model or index.manifest.model.get("path"), options)
    index.check_model(opened)
    conditions = [one for one in (index.condition(filters), options.where) if one]
    condition = " and ".join(f"({one})" for one in conditions) or None
    found = index.search(query_vector(opened, terms), options.top, condition=condition)
    plain = len(terms) == 1 and terms[0].weight > 0
    hits, thumbnails = [], []
    for place, row in enumerate(found):
        score, percentile = row.pop("score"), row.pop("percentile")
        thumbnail = row.pop("thumbnail")
        if options.min_score is None or score >= options.min_score:
            known = percentile if plain else np.nan  # those of combinations are measured on the vectors
            hits.append(Hit(row=place, record=row, score=score, percentile=known))
            thumbnails.append(thumbnail)
    return hits, thumbnails
