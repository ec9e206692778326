"""Examples of classes to check by eye: few-shot episodes with their mistakes, clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from likewise.metrics.clustering import Cluster, describe_clusters
from likewise.metrics.few_shot import Episode, episode_examples, most_ways
from likewise.reporting.examples.galleries import Tile, image_tile
from likewise.reporting.inputs import ReportInputs

__all__ = ["ClusterSheet", "EpisodeColumn", "EpisodeTable", "find_clusters", "find_episodes"]

_MAX_WAYS = 20
_SMALLEST_CLUSTER = 3


@dataclass(frozen=True)
class EpisodeColumn:
    """One class of an episode."""

    support: Tile
    query: Tile
    taken_for: Tile | None
    """The support image of the class predicted for the query, where that is wrong."""


@dataclass(frozen=True)
class EpisodeTable:
    """One episode, mistakes first."""

    columns: list[EpisodeColumn]
    num_right: int
    domain: str | None
    """The domain of all its images, where episodes stay inside one."""


@dataclass(frozen=True)
class ClusterSheet:
    """One cluster."""

    majority: str
    purity: float
    size: int
    num_classes: int
    members: list[Tile]
    """Nearest to the centre first; right where of the majority's class."""


def find_episodes(inputs: ReportInputs, *, count: int = 3) -> list[EpisodeTable]:
    """The one-shot episodes with most mistakes of 200, inside one domain where there are several.

    Raises:
        ValueError: no thumbnails, or fewer than two classes with two images.
    """
    inputs.shown_thumbnails()
    embeddings, labels = inputs.labelled_embeddings()
    domains = inputs.several_domains()
    if domains is not None and most_ways(labels, within=domains) < 2:
        domains = None
    ways = most_ways(labels, within=domains)
    if ways < 2:
        raise ValueError("An episode needs two classes with two images each.")
    found = episode_examples(
        embeddings, labels, num_ways=min(_MAX_WAYS, ways), within=domains, num_examples=count
    )
    return [_episode_table(inputs, episode, domains is not None) for episode in found]


def _episode_table(inputs: ReportInputs, episode: Episode, inside: bool) -> EpisodeTable:
    supports, queries = episode.supports[:, 0].tolist(), episode.queries[:, 0].tolist()
    predicted, similarities = episode.predicted[:, 0], episode.similarities[:, 0]  # (W,), (W, W)
    wrong = predicted != np.arange(len(supports))
    # Mistakes first, those of the largest margin before the others.
    margin = similarities.max(axis=1) - similarities.diagonal()
    columns = []
    for way in np.lexsort((-margin, ~wrong)).tolist():
        answer = int(predicted[way])
        taken_for = image_tile(inputs, supports[answer], None, float(similarities[way, answer]))
        columns.append(
            EpisodeColumn(
                image_tile(inputs, supports[way], None, float(similarities[way, way])),
                image_tile(inputs, queries[way], not wrong[way], None),
                taken_for if wrong[way] else None,
            )
        )
    domain = inputs.domain_name(supports[0]) if inside else None
    return EpisodeTable(columns, int((~wrong).sum()), domain)


def find_clusters(
    inputs: ReportInputs, *, count: int = 5, num_members: int = 10
) -> tuple[list[ClusterSheet], list[ClusterSheet]]:
    """The purest clusters of k-means, and the most mixed; small ones only where there are no others.

    Raises:
        ValueError: no thumbnails or no labels.
    """
    inputs.shown_thumbnails()
    clusters = describe_clusters(*inputs.labelled_embeddings())
    shown = [cluster for cluster in clusters if len(cluster.members) >= _SMALLEST_CLUSTER] or clusters
    count = min(count, (len(shown) + 1) // 2)
    mixed = [cluster for cluster in shown[count:] if cluster.purity < 1]
    mixed.sort(key=lambda cluster: (cluster.purity, -len(cluster.members)))
    return (
        [_sheet(inputs, cluster, num_members) for cluster in shown[:count]],
        [_sheet(inputs, cluster, num_members) for cluster in mixed[:count]],
    )


def _sheet(inputs: ReportInputs, cluster: Cluster, num_members: int) -> ClusterSheet:
    _, labels = inputs.labelled_embeddings()
    return ClusterSheet(
        inputs.label_name(cluster.majority),
        cluster.purity,
        len(cluster.members),
        len(np.unique(labels[cluster.members])),
        [
            image_tile(inputs, row, bool(labels[row] == cluster.majority))
            for row in cluster.members[:num_members].tolist()
        ],
    )
