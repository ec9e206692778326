"""What a reader can check by eye of classes: few-shot episodes with their mistakes, sheets of clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from likewise.metrics.clustering import Cluster, describe_clusters
from likewise.metrics.few_shot import Episode, episode_examples, most_ways
from likewise.reporting.galleries import Tile
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.pictures import picture_uri

__all__ = ["EpisodeColumn", "EpisodeTable", "Sheet", "find_clusters", "find_episodes"]

_MOST_WAYS = 20
_SMALLEST_CLUSTER = 3


@dataclass(frozen=True)
class EpisodeColumn:
    """One class of an episode."""

    support: Tile
    query: Tile
    taken_for: Tile | None
    """The support of the class that the query was wrongly taken for."""


@dataclass(frozen=True)
class EpisodeTable:
    """One episode, the mistaken classes first."""

    columns: list[EpisodeColumn]
    num_right: int
    domain: str | None
    """The domain that it stays inside."""


@dataclass(frozen=True)
class Sheet:
    """One cluster."""

    majority: str
    purity: float
    size: int
    num_classes: int
    members: list[Tile]
    """Nearest the centre first; right where of the majority's class."""


def find_episodes(inputs: ReportInputs, *, count: int = 3) -> list[EpisodeTable]:
    """The most mistaken one-shot episodes of 200, inside a domain where there are several.

    Raises:
        ValueError: fewer than two classes with two images.
    """
    assert inputs.image_embeddings is not None
    assert inputs.labels is not None
    domains = inputs.several_domains()
    if domains is not None and most_ways(inputs.labels, within=domains) < 2:
        domains = None
    ways = most_ways(inputs.labels, within=domains)
    if ways < 2:
        raise ValueError("An episode needs two classes with two images each.")
    found = episode_examples(
        inputs.image_embeddings,
        inputs.labels,
        num_ways=min(_MOST_WAYS, ways),
        within=domains,
        num_examples=count,
    )
    return [_episode_table(inputs, episode, domains is not None) for episode in found]


def _episode_table(inputs: ReportInputs, episode: Episode, inside: bool) -> EpisodeTable:
    supports, queries = episode.supports[:, 0], episode.queries[:, 0]
    predicted, similarities = episode.predicted[:, 0], episode.similarities[:, 0]  # (W,), (W, W)
    num_ways = len(supports)
    # mistakes first, the surest of them before the others
    margin = similarities.max(axis=1) - similarities[np.arange(num_ways), np.arange(num_ways)]
    wrong = predicted != np.arange(num_ways)
    columns = []
    for way in np.lexsort((-margin, ~wrong)).tolist():
        answer = int(predicted[way])
        columns.append(
            EpisodeColumn(
                _tile(inputs, int(supports[way]), None, float(similarities[way, way])),
                _tile(inputs, int(queries[way]), not bool(wrong[way]), None),
                None
                if not wrong[way]
                else _tile(inputs, int(supports[answer]), None, float(similarities[way, answer])),
            )
        )
    domain = inputs.domain_name(int(supports[0])) if inside else None
    return EpisodeTable(columns, num_ways - int(wrong.sum()), domain)


def find_clusters(
    inputs: ReportInputs, *, count: int = 5, num_members: int = 10
) -> tuple[list[Sheet], list[Sheet]]:
    """The purest clusters of k-means, and the most mixed; small ones only where there are no others.

    Raises:
        ValueError: no labelled image.
    """
    assert inputs.image_embeddings is not None
    assert inputs.labels is not None
    clusters = describe_clusters(inputs.image_embeddings, inputs.labels)
    large = [cluster for cluster in clusters if len(cluster.members) >= _SMALLEST_CLUSTER]
    shown = large or clusters
    count = min(count, (len(shown) + 1) // 2)
    pure = shown[:count]
    mixed = [cluster for cluster in shown[count:] if cluster.purity < 1]
    mixed.sort(key=lambda cluster: (cluster.purity, -len(cluster.members)))
    return (
        [_sheet(inputs, cluster, num_members) for cluster in pure],
        [_sheet(inputs, cluster, num_members) for cluster in mixed[:count]],
    )


def _sheet(inputs: ReportInputs, cluster: Cluster, num_members: int) -> Sheet:
    assert inputs.labels is not None
    labels = np.asarray(inputs.labels)[cluster.members]
    return Sheet(
        inputs.label_name(cluster.majority),
        cluster.purity,
        len(cluster.members),
        len(np.unique(labels)),
        [
            _tile(inputs, int(row), bool(label == cluster.majority), None)
            for row, label in zip(cluster.members[:num_members], labels[:num_members], strict=True)
        ],
    )


def _tile(inputs: ReportInputs, row: int, right: bool | None, similarity: float | None) -> Tile:
    assert inputs.thumbnails is not None
    assert inputs.labels is not None
    return Tile(
        inputs.label_name(int(inputs.labels[row])), picture_uri(inputs.thumbnails[row]), right, similarity
    )
