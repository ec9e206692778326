"""Approximate search for very many rows: an inverted file of faiss, whose candidates are scored exactly.

Rows are kept in lists by their nearest centroid (Jegou 2011, "Product quantization for nearest neighbor
search", section 4), with 8 bits a dimension; a query looks into the nearest lists. How many follows from the
recall that was asked for, measured against exact search.

Dimensions: N rows, D width of the vectors, Q queries, k hits.
"""

from __future__ import annotations

import errno
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from likewise.atomic_files import failure_to_write
from likewise.errors import ConfigError
from likewise.search.exact import Hits, exact_search

__all__ = ["MOST_HITS", "Choice", "approximate_search", "build_approximate", "is_wanted", "open_approximate"]

Choice = Literal["auto", "always", "never"]

MOST_HITS = 100
"""A search for more is exact."""

_FROM_ROWS = 300_000
_NUM_QUERIES = 256
_POINTS_A_LIST = 39  # below, faiss warns of too few points to find a centroid
_MORE_CANDIDATES = 4
_BLOCK = 65_536


def is_wanted(choice: Choice, count: int) -> bool:
    """Whether an index of so many rows gets an approximate one."""
    return choice == "always" or (choice == "auto" and count > _FROM_ROWS and _faiss() is not None)


def build_approximate(
    vectors: NDArray[np.floating],
    texts: NDArray[np.float32],
    path: Path,
    *,
    least_recall: float,
    is_asked: bool,
) -> tuple[dict[str, Any], str]:
    """Build, measure and write an approximate index.

    Args:
        vectors: (N, D) of the rows.
        texts: (M, D) of texts, which lie apart from images and are harder to find neighbors for.
        path: the file to write.
        least_recall: share of the 10 best rows that must be found, of rows and of texts as queries alike.
        is_asked: the user asked for it.

    Returns:
        What to keep of it in `index.json`, with no probes where exact search is as fast; a sentence for the
        user.

    Raises:
        ConfigError: faiss is not installed.
        WriteError: a full disk.
    """
    faiss = _faiss()
    if faiss is None:
        raise ConfigError("an approximate index needs faiss: pip install 'likewise[index]'.")
    count, dimension = vectors.shape
    lists = max(1, min(int(2 * np.sqrt(count)), count // _POINTS_A_LIST))
    draws = np.random.default_rng(0)
    built = faiss.IndexIVFScalarQuantizer(
        faiss.IndexFlatIP(dimension),
        dimension,
        lists,
        faiss.ScalarQuantizer.QT_8bit,
        faiss.METRIC_INNER_PRODUCT,
    )
    sample = np.sort(draws.choice(count, min(count, 2 * _POINTS_A_LIST * lists), replace=False))
    built.train(np.asarray(vectors[sample], np.float32))
    for start in range(0, count, _BLOCK):
        built.add(np.asarray(vectors[start : start + _BLOCK], np.float32))
    rows = np.sort(draws.choice(count, min(count, _NUM_QUERIES), replace=False))
    queries = {"rows": np.asarray(vectors[rows], np.float32)}
    if len(texts):
        queries["texts"] = texts[draws.permutation(len(texts))[:_NUM_QUERIES]]
    probes, recalls = _enough_probes(built, vectors, queries, least_recall)
    said = ", ".join(f"{recall:.3f} for {kind}" for kind, recall in recalls.items())
    described = {
        "kind": "faiss IVF, 8 bits",
        "lists": lists,
        "probes": probes,
        "least_recall": least_recall,
        "recall_at_10": {kind: round(recall, 4) for kind, recall in recalls.items()},
    }
    looked = f"{probes:,} of {lists:,} lists; recall@10 against exact: {said}"
    if probes > lists // 4 and not is_asked:
        return described | {"probes": 0}, f"searches stay exact: an approximate one would look into {looked}"
    try:
        faiss.write_index(built, str(path))
    except RuntimeError as error:  # faiss has no other for a full disk
        raise failure_to_write(path, OSError(errno.ENOSPC, "perhaps the disk is full")) from error
    return described, f"approximate search looks into {looked}"


def _enough_probes(
    built: Any, vectors: NDArray[np.floating], queries: dict[str, NDArray[np.float32]], least_recall: float
) -> tuple[int, dict[str, float]]:
    """The smallest power of two of lists that reaches the recall (all of them at most), and the recalls."""
    # As queries, rows find themselves first, which says nothing: one hit more, without it.
    exact = {kind: exact_search(vectors, asked, top=11, rows=None).rows for kind, asked in queries.items()}
    probes = 1
    while True:
        recalls = {}
        for kind, asked in queries.items():
            found = approximate_search(built, probes, vectors, asked, top=11).rows
            first = 1 if kind == "rows" else 0
            true = exact[kind][:, first : first + 10]
            recalls[kind] = float(np.mean([np.isin(t, f).mean() for t, f in zip(true, found, strict=True)]))
        if min(recalls.values()) >= least_recall or probes >= built.nlist:
            return probes, recalls
        probes = min(2 * probes, built.nlist)


def approximate_search(
    built: Any, probes: int, vectors: NDArray[np.floating], queries: NDArray[np.float32], *, top: int
) -> Hits:
    """The best rows among the candidates of an approximate index, with exact scores.

    Args:
        built: the index of faiss.
        probes: how many lists a query looks into.
        vectors: (N, D) of the rows.
        queries: (Q, D) of unit length.
        top: k.

    Returns:
        (Q, k) hits; fewer, for all queries, where the lists of one hold fewer.
    """
    faiss = _faiss()
    options = faiss.SearchParametersIVF(nprobe=probes)
    candidates = built.search(queries, min(_MORE_CANDIDATES * top, built.ntotal), params=options)[1]
    found = [
        exact_search(vectors, query[None], top=top, rows=np.sort(rows[rows >= 0]))
        for query, rows in zip(queries, candidates, strict=True)
    ]
    fewest = min(hits.rows.shape[1] for hits in found)
    return Hits(
        np.concatenate([hits.rows[:, :fewest] for hits in found]),
        np.concatenate([hits.scores[:, :fewest] for hits in found]),
    )


def open_approximate(path: Path) -> Any:
    """The index of faiss, mapped from the disk; None where faiss is not installed."""
    faiss = _faiss()
    return (
        None if faiss is None else faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    )


@lru_cache
def _faiss() -> Any:
    """The library; None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss
