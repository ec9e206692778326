"""Maps of the embeddings, PCA and t-SNE, as inline SVG.

N items, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from likewise.metrics.collapse import deviation
from likewise.reporting.axes import Axes
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.point_colors import color_domains, color_images, color_texts

__all__ = ["find_maps", "legend_mark"]

# t-SNE's time grows faster than the number of items, and more could not be told apart.
_MAX_ITEMS = 1000

_MAX_NAME = 80

_PCA_NOTE = "The two directions of largest variance, {share:.0%} of it."
_TSNE_NOTE = "Near points are near in the embedding; far distances and sizes of clusters mean little."

_MARKS = (
    Markup('<circle r="3.4"/>'),
    Markup('<rect x="-3" y="-3" width="6" height="6"/>'),
    Markup('<path d="M0 -4.5l4 7h-8z"/>'),
    Markup('<path d="M0 -4.2l4.2 4.2l-4.2 4.2l-4.2 -4.2z"/>'),
)
"""Kinds differ in shape as well as in colour."""


def find_maps(inputs: ReportInputs) -> dict[str, Any]:
    """Two maps of the images, or of the texts where there are no images.

    Raises:
        ValueError: there are no embeddings, too few, or all are equal.
    """
    name: Callable[[int], str]
    if inputs.image_embeddings is not None:
        embeddings, what = inputs.image_embeddings, "images"
        coloring, name = color_images(inputs), inputs.image_name
    elif inputs.text_embeddings is not None and inputs.captions is not None:
        embeddings, what = inputs.text_embeddings, "texts"
        coloring, name = color_texts(inputs.captions), inputs.captions.__getitem__
    else:
        raise ValueError("No embeddings were given.")
    if len(embeddings) < 5:
        raise ValueError(f"{len(embeddings)} {what} are too few for a map.")
    if deviation(embeddings) < 1e-6:
        raise ValueError(f"The embeddings of all {what} are the same: there is nothing to map.")
    count = min(_MAX_ITEMS, len(embeddings))
    rows = np.unique(np.linspace(0, len(embeddings) - 1, count).astype(np.int64))
    names = [name(int(row))[:_MAX_NAME] for row in rows]
    places = _places(embeddings[rows])
    by_domain = color_domains(inputs) if what == "images" else None
    return {
        "charts": _draw_maps(places, coloring.kind_of[rows], names),
        "domains": by_domain
        and {"charts": _draw_maps(places, by_domain.kind_of[rows], names), "kinds": by_domain.kinds},
        "kinds": coloring.kinds,
        "basis": coloring.basis,
        "count": count,
        "total": len(embeddings),
        "what": what,
    }


_Places = tuple[NDArray[np.float64], NDArray[np.float64], float]
"""(N, 2) by PCA and by t-SNE, and the share of variance that PCA shows."""


def _places(embeddings: NDArray[np.float32]) -> _Places:
    """Where (N, D) embeddings lie on both maps."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    points = embeddings.astype(np.float64)
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    points -= points.mean(axis=0)
    # At this size t-SNE gains nothing from more threads, and is many times slower where cores are shared.
    with threadpool_limits(limits=1):
        principal, shares = _principal(points)
        neighbourhoods = _tsne(principal[:, :50])
    return principal[:, :2], neighbourhoods, float(shares[:2].sum())


def _draw_maps(places: _Places, kinds: NDArray[np.int64], names: list[str]) -> list[Markup]:
    """PCA and t-SNE, with a mark of its kind for each item."""
    principal, neighbourhoods, share = places
    return [
        _scatter("PCA", _PCA_NOTE.format(share=share), principal, kinds, names),
        _scatter("t-SNE", _TSNE_NOTE, neighbourhoods, kinds, names),
    ]


def _principal(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal components of centred points, at least two, and the share of variance of each."""
    left, values, _ = np.linalg.svd(points, full_matrices=False)
    # Signs of the axes are arbitrary; fixed, so that equal embeddings give equal drawings.
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
    found = left * values * signs
    return np.pad(found, ((0, 0), (0, max(0, 2 - found.shape[1])))), values**2 / (values**2).sum()


def _tsne(points: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    # Started from PCA: the map keeps the large structure, and is the same every time.
    start = points[:, :2] / max(float(points[:, 0].std()), 1e-12) * 1e-4
    perplexity = min(30.0, max(2.0, (len(points) - 1) / 3))
    found = TSNE(perplexity=perplexity, init=start.astype(np.float32), random_state=0, max_iter=750)
    return np.asarray(found.fit_transform(points.astype(np.float32)), dtype=np.float64)


def _scatter(
    title: str, note: str, places: NDArray[np.float64], kinds: NDArray[np.int64], names: list[str]
) -> Markup:
    """One map, with the same scale on both axes."""
    low, high = places.min(axis=0), places.max(axis=0)
    half = max(float((high - low).max()), 1e-12) / 2
    x_range, y_range = ((middle - half, middle + half) for middle in ((low + high) / 2).tolist())
    axes = Axes(width=440, height=440, margins=(12, 12, 12, 12), x_range=x_range, y_range=y_range)
    mark = Markup('<g class="{}" transform="translate({:.1f} {:.1f})">{}<title>{}</title></g>')
    marks = [
        mark.format(
            f"c{kind} fill" if kind >= 0 else "plain", axes.x(x), axes.y(y), _MARKS[max(kind, 0) % 4], name
        )
        for (x, y), kind, name in zip(places.tolist(), kinds.tolist(), names, strict=True)
    ]
    drawing = axes.draw(marks, f"{title} map of {len(names)} items. {note}")
    return Markup('<figure class="map"><h3>{}</h3>{}<figcaption>{}</figcaption></figure>').format(
        title, drawing, note
    )


def legend_mark(kind: int) -> Markup:
    """The mark of a kind, for the legend."""
    return Markup('<svg class="mark c{} fill" viewBox="-6 -6 12 12" aria-hidden="true">{}</svg>').format(
        kind, _MARKS[kind % 4]
    )
