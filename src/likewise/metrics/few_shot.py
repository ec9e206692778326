"""Few-shot classification: a query goes to the nearest mean of a class's examples.

N items, D embedding width, E episodes, W ways (classes of an episode), S shots (supports of a class),
Q queries of a class.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from likewise.metrics.episodes import Pools, draw_episodes, usable_pools
from likewise.metrics.inputs import TILE_ENTRIES, Array, as_labels, as_unit_rows

__all__ = ["Episode", "episode_examples", "few_shot", "half_interval", "most_ways"]

# The examples of `episode_examples` are chosen from this many episodes.
_EXAMPLES_OF = 200


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One episode and its predictions."""

    supports: NDArray[np.int64]
    """(W, S) rows of the supports."""
    queries: NDArray[np.int64]
    """(W, Q) rows of the queries; row w holds queries of way w."""
    predicted: NDArray[np.int64]
    """(W, Q) predicted way of each query, in [0, W)."""
    similarities: NDArray[np.float32]
    """(W, Q, W) cosine of each query to each way's mean."""

    @property
    def num_mistakes(self) -> int:
        """Queries predicted wrong."""
        return int((self.predicted != np.arange(len(self.predicted))[:, None]).sum())


def few_shot(
    embeddings: Array,
    labels: Array,
    *,
    num_ways: int = 20,
    num_shots: int = 1,
    num_queries: int = 1,
    num_episodes: int = 1000,
    seed: int = 0,
    within: Array | None = None,
    sources: Array | None = None,
) -> dict[str, float]:
    """Accuracy over random episodes: each query goes to the class whose mean support has the greatest cosine.

    Args:
        embeddings: (N, D); scaled to unit length here, before the mean over a class's supports.
        labels: (N,) integers; items with a negative label (unknown) are left out.
        num_ways: W classes drawn for an episode.
        num_shots: S supports of each.
        num_queries: Q queries of each.
        num_episodes: E, two or more.
        seed: of the draws; equal seeds draw equal episodes.
        within: (N,) domains, such as alphabets: an episode stays inside one; each domain that can fill an
            episode is equally likely. Items below 0 are left out.
        sources: (N,) integers, such as who drew each item: an episode's supports come from one source, its
            queries from another. Items below 0 are left out.

    Returns:
        `accuracy` in [0, 1] (exactly equal cosines predict the first way; ways are in random order, so a
        collapsed model scores chance); `confidence_interval`, half the width of its 95 % interval over the
        episodes drawn (variation over draws from these items, not over other items);
        `chance_accuracy`; `num_ways`, `num_shots`, `num_queries`, `num_episodes`, and `num_domains`
        under `within`.

    Raises:
        ValueError: too few classes with enough items to fill an episode; values that are not finite; shapes
            that don't fit; counts below one (two for ways and episodes).

    Reference:
        Nearest class mean: Snell et al. 2017, 1703.05175, with the cosine. Episodes within an alphabet, with
        one drawer's supports and another's queries: Lake et al. 2015, Science 350(6266).
    """
    if num_episodes < 2:
        raise ValueError(f"num_episodes must be at least 2 for a confidence interval, got {num_episodes}")
    rows = as_unit_rows(embeddings, "embeddings")
    pools = _pools(rows, labels, (num_ways, num_shots, num_queries), within, sources)
    supports, queries = draw_episodes(pools, num_episodes, np.random.default_rng(seed))
    own = torch.arange(num_ways, device=rows.device)[None, :, None]  # (1, W, 1)
    accuracy = torch.cat(
        [
            (similarities.argmax(dim=-1) == own).double().mean(dim=(1, 2))
            for _, similarities in _similarities(rows, supports, queries)
        ]
    )  # (E,)
    figures: dict[str, float] = {
        "accuracy": float(accuracy.mean()),
        "confidence_interval": half_interval(accuracy),
        "chance_accuracy": 1 / num_ways,
        "num_ways": num_ways,
        "num_shots": num_shots,
        "num_queries": num_queries,
        "num_episodes": num_episodes,
    }
    return figures if within is None else figures | {"num_domains": pools.num_domains}


def half_interval(values: torch.Tensor) -> float:
    """Half the width of the 95 % interval (Student's t) around the mean of two or more values."""
    from scipy.special import stdtrit

    count = len(values)
    return float(float(stdtrit(count - 1, 0.975)) * values.std() / count**0.5)


def episode_examples(
    embeddings: Array,
    labels: Array,
    *,
    num_ways: int = 20,
    num_shots: int = 1,
    num_queries: int = 1,
    num_examples: int = 4,
    seed: int = 0,
    within: Array | None = None,
    sources: Array | None = None,
) -> list[Episode]:
    """The episodes with the most mistakes of 200, worst first.

    Args: as `few_shot`; at most `num_examples` are returned.

    Raises:
        ValueError: as `few_shot`.
    """
    rows = as_unit_rows(embeddings, "embeddings")
    pools = _pools(rows, labels, (num_ways, num_shots, num_queries), within, sources)
    supports, queries = draw_episodes(pools, _EXAMPLES_OF, np.random.default_rng(seed))
    worst: list[Episode] = []
    for first, similarities in _similarities(rows, supports, queries):
        # copies: a view would keep the whole tile in memory
        episodes = [
            Episode(
                supports=supports[index],
                queries=queries[index],
                predicted=found.argmax(axis=-1),
                similarities=found.copy(),
            )
            for index, found in enumerate(similarities.cpu().numpy(), first)
        ]
        worst = sorted(worst + episodes, key=lambda episode: -episode.num_mistakes)[:num_examples]
    return worst


def most_ways(labels: Array, *, num_items: int = 2, within: Array | None = None) -> int:
    """The most ways an episode can have: classes with at least `num_items` items, in the domain with most.

    Args:
        labels: (N,) integers, negative where unknown.
        num_items: supports and queries of a class.
        within: (N,) domains; an episode stays inside one.
    """
    classes = np.asarray(torch.as_tensor(labels).cpu())
    domains = np.zeros_like(classes) if within is None else np.asarray(torch.as_tensor(within).cpu())
    known = (classes >= 0) & (domains >= 0)
    if not known.any():
        return 0
    cells, counts = np.unique(np.stack([domains[known], classes[known]]), axis=1, return_counts=True)
    usable = cells[0, counts >= num_items]
    return int(np.unique(usable, return_counts=True)[1].max(initial=0))


def _pools(
    rows: torch.Tensor,
    labels: Array,
    counts: tuple[int, int, int],
    within: Array | None,
    sources: Array | None,
) -> Pools:
    classes, domains, makers = (
        None
        if values is None
        else as_labels(values, name, count=len(rows), device=torch.device("cpu")).numpy()
        for name, values in (("labels", labels), ("within", within), ("sources", sources))
    )
    assert classes is not None
    ways, shots, queries = counts
    return usable_pools(
        classes, num_ways=ways, num_shots=shots, num_queries=queries, within=domains, sources=makers
    )


def _similarities(
    rows: torch.Tensor, supports: NDArray[np.int64], queries: NDArray[np.int64]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Cosine of each query to the mean of each way's supports, a tile of episodes at a time to save memory.

    Args:
        rows: (N, D) unit rows.
        supports: (E, W, S) rows.
        queries: (E, W, Q) rows.

    Yields:
        The first episode of a tile, and its (e, W, Q, W) cosines.
    """
    num_episodes, num_ways, num_shots = supports.shape
    num_queries = queries.shape[2]
    entries = num_ways * ((num_shots + num_queries) * rows.shape[1] + num_queries * num_ways)
    step = max(1, TILE_ENTRIES // entries)
    for start in range(0, num_episodes, step):
        chosen = torch.from_numpy(supports[start : start + step]).to(rows.device)
        tile = torch.from_numpy(queries[start : start + step]).to(rows.device)
        means = F.normalize(rows[chosen].mean(dim=2), dim=-1, eps=1e-12)  # (e, W, D)
        cosines = rows[tile].flatten(1, 2) @ means.transpose(1, 2)  # (e, W * Q, W)
        yield start, cosines.reshape(-1, num_ways, num_queries, num_ways)
