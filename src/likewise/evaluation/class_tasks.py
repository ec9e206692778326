"""The tasks that need classes of the held-out part alone: few-shot, verification, ranking, clustering.

Where the data has domains, figures inside one domain stand beside those across all of them, behind
`within_domain_`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import DataError
from likewise.metrics.clustering import clustering
from likewise.metrics.few_shot import few_shot, most_ways
from likewise.metrics.ranking import ranking
from likewise.metrics.verification import verification

if TYPE_CHECKING:
    from likewise.data import Dataset
    from likewise.evaluation.context import Embedded

__all__ = ["class_tasks_of", "clusters", "episodes", "known_labels", "rankings", "verified"]

_MOST_WAYS = 20

# Items beyond these change a mean little and cost their square.
_MAX_QUERIES = 5_000
_MAX_CLUSTERED = 10_000
# A class keeps so many items, or an even share of the limit where that is more: of a few large classes each
# stays, of many small ones those that are drawn stay whole.
_KEPT_OF_A_CLASS = 100


def class_tasks_of(data: Dataset) -> dict[str, bool]:
    """For each of these tasks, whether the data's labels support it."""
    labels = np.empty(0, dtype=np.int64) if data.labels is None else data.labels
    counts = np.unique(labels[labels >= 0], return_counts=True)[1]
    several = int((counts >= 2).sum())
    return {
        "few-shot": several >= 2,
        "verification": several >= 2 and len(counts) >= 4,
        "ranking": several >= 1 and len(counts) >= 2,
        "clustering": several >= 1 and len(counts) >= 2,
    }


def episodes(embedded: Embedded) -> dict[str, Any]:
    """N-way K-shot accuracy, across domains and inside one."""
    labels, domains = known_labels(embedded.held_out), _domains(embedded.held_out)
    figures: dict[str, Any] = _episodes(embedded, labels, None)
    num_items = embedded.episodes.num_shots + 1
    possible = most_ways(labels, num_items=num_items, within=domains)
    if domains is None or possible < (embedded.episodes.num_ways or 2):
        return figures
    inside = _episodes(embedded, labels, domains)
    return figures | {
        "within_domain_accuracy": inside["accuracy"],
        "within_domain_confidence_interval": inside["confidence_interval"],
        "chance_within_domain_accuracy": inside["chance_accuracy"],
        "num_ways_within_domain": inside["num_ways"],
        "num_domains": inside["num_domains"],
    }


def _episodes(
    embedded: Embedded, labels: NDArray[np.int64], domains: NDArray[np.int64] | None
) -> dict[str, float]:
    options = embedded.episodes
    ways = options.num_ways
    if ways is None:
        num_items = options.num_shots + 1
        ways = min(_MOST_WAYS, most_ways(labels, num_items=num_items, within=domains))
        if ways < 2:
            who = "only one class has" if ways else "no class has"
            items = "two" if num_items == 2 else num_items
            raise ValueError(f"{who} {items} items; an episode needs two such classes")
    return few_shot(
        embedded.images,
        labels,
        num_ways=ways,
        num_shots=options.num_shots,
        num_episodes=options.num_episodes,
        within=domains,
    )


def verified(embedded: Embedded) -> dict[str, Any]:
    """Accuracy, ROC-AUC and equal error rate of pairs, across domains and inside one."""
    labels, domains = known_labels(embedded.held_out), _domains(embedded.held_out)
    figures = verification(embedded.images, labels)
    if domains is None:
        return figures
    try:
        inside = verification(embedded.images, labels, within=domains)
    except ValueError:  # the domains have too few classes each; the figures across them stand
        return figures
    return figures | _within(inside, ("accuracy", "roc_auc", "equal_error_rate"))


def rankings(embedded: Embedded) -> dict[str, Any]:
    """MAP@R, R-precision and precision at 1, across domains and inside one."""
    labels, domains = known_labels(embedded.held_out), _domains(embedded.held_out)
    figures: dict[str, Any] = ranking(embedded.images, labels, max_queries=_MAX_QUERIES)
    if domains is None:
        return figures
    try:
        inside = ranking(embedded.images, labels, within=domains, max_queries=_MAX_QUERIES)
    except ValueError:  # no domain has two classes and two items of one; the figures across them stand
        return figures
    return figures | _within(inside, ("map_at_r", "r_precision", "precision_at_1"))


def clusters(embedded: Embedded) -> dict[str, Any]:
    """Agreement of k-means with the classes; of at most 10,000 items, of classes drawn by lot."""
    labels = known_labels(embedded.held_out)
    rows = _of_drawn_classes(labels, _MAX_CLUSTERED)
    return dict(clustering(embedded.images[rows], labels[rows]))


def _of_drawn_classes(labels: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """At most `limit` labelled rows, by classes: items spread over all of them would be alone in theirs.

    Classes are drawn (always the same ones) as long as the next one fits too. The first has two items where
    any has, as clustering asks.

    Args:
        labels: (N,) classes, negative where none is known.
        limit: 200 or more, so that two classes fit.

    Returns:
        Rows, ascending; all labelled ones where they are no more than `limit`.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) <= limit:
        return known
    generator = np.random.default_rng(0)
    mixed = generator.permutation(known)
    classes, class_of, counts = np.unique(labels[mixed], return_inverse=True, return_counts=True)
    most = max(_KEPT_OF_A_CLASS, limit // len(classes))
    by_class = np.split(np.argsort(class_of, kind="stable"), np.cumsum(counts)[:-1])
    order = generator.permutation(len(classes))
    first = int((counts[order] > 1).argmax())
    order = np.append(order[first], np.delete(order, first))
    taken = order[np.cumsum(np.minimum(counts, most)[order]) <= limit]
    return np.sort(np.concatenate([mixed[by_class[number][:most]] for number in taken]))


def _within(figures: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The figures named, and their chance levels, under the names they have inside one domain."""
    inside = {f"within_domain_{name}": figures[name] for name in names}
    return inside | {f"chance_within_domain_{name}": figures[f"chance_{name}"] for name in names}


def known_labels(data: Dataset) -> NDArray[np.int64]:
    """(N,) classes, negative where none is known.

    Raises:
        DataError: none is known of any row.
    """
    if data.labels is None or not bool((data.labels >= 0).any()):
        raise DataError("this task needs labels, and the data has none; see --data.label-column.")
    return data.labels


def _domains(data: Dataset) -> NDArray[np.int64] | None:
    """(N,) domains, None unless two or more occur."""
    if data.domains is None or len(np.unique(data.domains[data.domains >= 0])) < 2:
        return None
    return data.domains
