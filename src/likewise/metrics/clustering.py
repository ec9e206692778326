"""Clustering: does k-means on the embeddings find the classes?

N items, D embedding width, C clusters.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.metrics.inputs import Array, as_labels, as_unit_rows

__all__ = ["Cluster", "clustering", "k_means", "describe_clusters"]

# The best of several starts counts; with many clusters starts differ little and take long.
_STARTS = 3
_ONE_START_FROM = 100
# Chance is the mean over this many shuffles of the classes.
_SHUFFLES = 5


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster of labelled items."""

    members: NDArray[np.int64]
    """Rows of its items, nearest the centre first."""
    majority: int
    """Its most frequent class; the lowest of equally frequent ones."""
    purity: float
    """Share of its items that are of that class."""


def clustering(
    embeddings: Array, labels: Array, *, num_clusters: int | None = None, seed: int = 0
) -> dict[str, float]:
    """Agreement of k-means clusters with the classes.

    Args:
        embeddings: (N, D); scaled to unit length here.
        labels: (N,) integers; items with a negative label (unknown) are left out.
        num_clusters: C; as many as there are classes when None.
        seed: of the starts of k-means.

    Returns:
        `nmi`, normalised mutual information (arithmetic mean of the two entropies) in [0, 1]; `chance_nmi`,
        of the same clusters with shuffled classes; `ari`, the adjusted Rand index, 0 by chance and at most 1;
        `num_clusters`, `num_items`.

    Raises:
        ValueError: fewer than two classes, or every item alone in its class; more clusters than items; values
            that are not finite.

    Reference:
        Vinh et al. 2010, JMLR 11 (NMI_sum, and that it grows with C by chance alone); Hubert and Arabie 1985.
    """
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    rows, classes, _ = _labelled(embeddings, labels)
    num_classes = len(np.unique(classes))
    if num_classes < 2:
        raise ValueError(f"labels: clusters need two classes to agree with, there is {num_classes}")
    if num_classes == len(rows):
        raise ValueError(f"labels: each of {len(rows)} items is alone in its class, so any clusters agree")
    assigned, _ = k_means(rows, num_classes if num_clusters is None else num_clusters, seed=seed)
    generator = np.random.default_rng(seed)
    shuffled = [
        normalized_mutual_info_score(generator.permutation(classes), assigned) for _ in range(_SHUFFLES)
    ]
    return {
        "nmi": float(normalized_mutual_info_score(classes, assigned)),
        "chance_nmi": float(np.mean(shuffled)),
        "ari": float(adjusted_rand_score(classes, assigned)),
        "chance_ari": 0.0,
        "num_clusters": num_classes if num_clusters is None else num_clusters,
        "num_items": len(rows),
    }


def k_means(
    embeddings: Array, num_clusters: int, *, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Lloyd's k-means on unit embeddings, the best of three starts (one start from 100 clusters on).

    Args:
        embeddings: (N, D); scaled to unit length here.
        num_clusters: C, from 1 to N; fewer clusters are returned where fewer embeddings differ.
        seed: of the starts.

    Returns:
        (N,) cluster of each item, and (N,) its distance from the centre.

    Raises:
        ValueError: C out of range; values that are not finite.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    rows = as_unit_rows(embeddings, "embeddings").cpu().numpy()
    if not 1 <= num_clusters <= len(rows):
        raise ValueError(f"num_clusters must lie in [1, {len(rows)}], got {num_clusters}")
    starts = _STARTS if num_clusters < _ONE_START_FROM else 1
    model = KMeans(num_clusters, n_init=starts, max_iter=100, random_state=seed)
    # One thread: on busy cores, waiting threads turned seconds into minutes.
    with threadpool_limits(1), warnings.catch_warnings():
        # fewer distinct points than clusters: a collapsed model, which the figures show
        warnings.simplefilter("ignore", ConvergenceWarning)
        assigned = model.fit_predict(rows)
    distance = np.linalg.norm(rows - model.cluster_centers_[assigned], axis=1)
    return assigned.astype(np.int64), distance.astype(np.float64)


def describe_clusters(
    embeddings: Array, labels: Array, *, num_clusters: int | None = None, seed: int = 0
) -> list[Cluster]:
    """Clusters of k-means with members, most frequent class and purity; purest first.

    Args: as `clustering`; members are rows of `embeddings`.

    Raises:
        ValueError: no labelled item; else as `k_means`.
    """
    rows, classes, places = _labelled(embeddings, labels)
    count = len(np.unique(classes)) if num_clusters is None else num_clusters
    assigned, distance = k_means(rows, count, seed=seed)
    clusters = []
    for number in np.unique(assigned):
        inside = np.flatnonzero(assigned == number)
        inside = inside[np.argsort(distance[inside], kind="stable")]
        names, sizes = np.unique(classes[inside], return_counts=True)
        clusters.append(
            Cluster(
                members=places[inside],
                majority=int(names[sizes.argmax()]),
                purity=float(sizes.max() / len(inside)),
            )
        )
    return sorted(clusters, key=lambda cluster: (-cluster.purity, -len(cluster.members)))


def _labelled(embeddings: Array, labels: Array) -> tuple[torch.Tensor, NDArray[np.int64], NDArray[np.int64]]:
    """The labelled rows (n, D), their classes (n,) and row numbers (n,)."""
    rows = as_unit_rows(embeddings, "embeddings")
    classes = as_labels(labels, "labels", count=len(rows), device=rows.device)
    places = (classes >= 0).nonzero()[:, 0]
    if len(places) == 0:
        raise ValueError("labels: no item has a label")
    return rows[places], classes[places].cpu().numpy(), places.cpu().numpy()
