"""Maps of the embeddings: PCA and t-SNE as inline SVG.

N items, D dimension.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from likewise.reporting.point_colors import Coloring

__all__ = ["draw_maps", "legend_mark", "MAP_ITEMS"]

MAP_ITEMS = 1000
"""Items on a map; t-SNE's time grows faster than their number, and more could not be told apart."""

_SIDE = 440
_MARGIN = 12


def draw_maps(
    embeddings: NDArray[np.float32], coloring: Coloring, name_of: Callable[[int], str]
) -> list[Markup]:
    """Two maps of the same items.

    Args:
        embeddings: (N, D), N at least 5, not all the same; evenly spaced rows stand for more than
            `MAP_ITEMS`.
        coloring: kinds of the N items.
        name_of: a short name of an item, shown when it is pointed at.

    Returns:
        Figures, PCA and t-SNE.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows = np.unique(np.linspace(0, len(embeddings) - 1, min(MAP_ITEMS, len(embeddings))).astype(np.int64))
    points = embeddings[rows].astype(np.float64)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    points -= points.mean(axis=0)
    # one thread: at this size t-SNE gains nothing from more, and slows manyfold where cores are shared
    with threadpool_limits(limits=1):
        axes, shares = _principal(points)
        neighbourhoods = _tsne(axes[:, :50])
    labels = [name_of(int(row)) for row in rows]
    kinds = coloring.kind_of[rows]
    return [
        _scatter(
            "PCA",
            f"The two directions of most variance, {100 * float(shares[:2].sum()):.0f} % of it.",
            axes[:, :2] if axes.shape[1] > 1 else np.hstack([axes, np.zeros_like(axes)]),
            kinds,
            labels,
        ),
        _scatter(
            "t-SNE",
            "Near points are near in the embedding; far distances and sizes of clusters mean little.",
            neighbourhoods,
            kinds,
            labels,
        ),
    ]


def _principal(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, min(N, D)) coordinates of centred points on their principal axes, and each axis' variance share."""
    left, values, _ = np.linalg.svd(points, full_matrices=False)
    # the sign of an axis is arbitrary; fixed so that the same embeddings give the same drawing
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
    return left * values * signs, values**2 / (values**2).sum()


def _tsne(points: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    # started from the PCA, so that the map has its large structure and is the same every time
    start = points[:, :2] if points.shape[1] > 1 else np.hstack([points, np.zeros_like(points)])
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(30.0, max(2.0, (len(points) - 1) / 3))
    found = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=0, max_iter=750)
    return np.asarray(found.fit_transform(points.astype(np.float32)), dtype=np.float64)


def _scatter(
    title: str, note: str, places: NDArray[np.float64], kinds: NDArray[np.int64], names: list[str]
) -> Markup:
    """One map; the kinds differ in shape as well as in colour."""
    low, high = places.min(axis=0), places.max(axis=0)
    scale = (_SIDE - 2 * _MARGIN) / max(float((high - low).max()), 1e-12)
    centred = (places - (low + high) / 2) * scale + _SIDE / 2
    marks = [
        Markup('<g class="{}">{}<title>{}</title></g>').format(
            f"c{kind} fill" if kind >= 0 else "plain", _mark(float(x), float(y), int(kind)), name
        )
        for (x, y), kind, name in zip(centred, kinds, names, strict=True)
    ]
    return Markup(
        '<figure class="map"><h3>{}</h3><svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        "<figcaption>{}</figcaption></figure>"
    ).format(title, _SIDE, _SIDE, f"{title} map of {len(names)} items. {note}", Markup("").join(marks), note)


def _mark(x: float, y: float, kind: int) -> Markup:
    """A circle, a square, a triangle or a diamond, in turn."""
    shape = max(kind, 0) % 4
    if shape == 0:
        return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.4"/>').format(x, y)
    if shape == 1:
        return Markup('<rect x="{:.1f}" y="{:.1f}" width="6" height="6"/>').format(x - 3, y - 3)
    if shape == 2:
        return Markup('<path d="M{:.1f} {:.1f}l4 7h-8z"/>').format(x, y - 4.5)
    return Markup('<path d="M{:.1f} {:.1f}l4.2 4.2l-4.2 4.2l-4.2 -4.2z"/>').format(x, y - 4.2)


def legend_mark(kind: int) -> Markup:
    """The mark of a kind, for the legend."""
    return Markup('<svg class="mark c{} fill" viewBox="0 0 12 12" aria-hidden="true">{}</svg>').format(
        kind, _mark(6, 6, kind)
    )
