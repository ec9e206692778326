"""An index of embeddings on disk: build it, search it by words and images, find duplicates.

from likewise.search import Term, build_index, open_index, query_vector
index = build_index(model, "photos/", "photos.index")
hits = index.search(query_vector(model, [Term(text="a dog on a beach")]), top=10)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likewise.search.build import build_index
    from likewise.search.exact import Hits
    from likewise.search.index import Index, open_index
    from likewise.search.terms import Term, query_vector

__all__ = ["Hits", "Index", "Term", "build_index", "open_index", "query_vector"]

_HOMES = {
    "Hits": "likewise.search.exact",
    "Index": "likewise.search.index",
    "Term": "likewise.search.terms",
    "build_index": "likewise.search.build",
    "open_index": "likewise.search.index",
    "query_vector": "likewise.search.terms",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: a search must not cost what building does."""
    if name not in _HOMES:
        raise AttributeError(f"module 'likewise.search' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
