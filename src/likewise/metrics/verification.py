"""Verification: are two items of the same class, by a threshold on their cosine?

N items, D embedding width, P pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.metrics.inputs import Array, as_labels, as_unit_rows, rows_per_tile

__all__ = ["verification", "best_threshold", "draw_pairs", "equal_error_rate", "halves_of_classes"]

_MAX_ROC_POINTS = 100
_FEWEST_PAIRS = 4
# Beyond every cosine: as a threshold it rejects all pairs, its negative accepts all.
_ONE_ANSWER = 2.0

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


def verification(
    embeddings: Array,
    labels: Array,
    *,
    num_pairs: int = 20_000,
    pairs: Array | None = None,
    within: Array | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """How well the cosine of two items tells whether they are of one class.

    The threshold of the accuracy is chosen on other pairs, of other classes, than it is measured on: classes
    are dealt into two halves, the best threshold for the pairs of one half is measured on those of the other,
    both ways, and the mean is returned.

    Args:
        embeddings: (N, D); scaled to unit length here.
        labels: (N,) integers, negative where unknown.
        num_pairs: P pairs to draw, half of one class and half of two, both items in the same half of the
            classes; fewer when there are fewer.
        pairs: (P, 2) rows of given pairs, instead of drawn ones. Pairs between the halves then count for the
            curve, not for the accuracy.
        within: (N,) domains; drawn pairs stay inside one.
        seed: of the halves and the pairs.

    Returns:
        `accuracy`, `roc_auc`, `equal_error_rate` (where the share of pairs wrongly accepted equals that
        wrongly rejected; interpolated), in [0, 1], with their chance levels; `threshold`, the mean of the
        chosen cosines (a half whose best choice is one answer for all pairs has none; None where both are);
        `num_pairs`, `num_classes`; `roc`, at most 100 points [share of different pairs accepted,
        share of same pairs accepted] from [0, 0] to [1, 1].

    Raises:
        ValueError: `num_pairs` below four; a half of the classes without a pair of each kind (four
            classes are needed, two of them with two items or more); values that are not finite; shapes that
            don't fit.
    """
    if num_pairs < _FEWEST_PAIRS:
        raise ValueError(
            f"num_pairs must be at least {_FEWEST_PAIRS}, one of each kind a half, got {num_pairs}"
        )
    rows = as_unit_rows(embeddings, "embeddings")
    cpu = torch.device("cpu")
    classes = as_labels(labels, "labels", count=len(rows), device=cpu).numpy()
    domains = None if within is None else as_labels(within, "within", count=len(rows), device=cpu).numpy()
    generator = np.random.default_rng(seed)
    in_first = halves_of_classes(classes, generator, domains)
    if pairs is None:
        chosen = np.concatenate(
            [
                draw_pairs(
                    np.where(half, classes, -1), num_pairs=num_pairs // 2, generator=generator, within=domains
                )
                for half in (in_first, ~in_first)
            ]
        )
    else:
        chosen = _checked_pairs(pairs, classes)
    scores = _cosines(rows, chosen)  # (P,)
    same = classes[chosen[:, 0]] == classes[chosen[:, 1]]  # (P,)
    sides = in_first[chosen]  # (P, 2)
    halves = [sides.all(axis=1), ~sides.any(axis=1)]
    if any(len(np.unique(same[half])) < 2 for half in halves):
        raise ValueError(
            "verification needs pairs of one class and of two in each half of the classes: four classes, "
            f"two of them with two items or more{' in one domain' if domains is not None else ''}; "
            f"there are {len(np.unique(classes[classes >= 0]))} classes of {int((classes >= 0).sum())} items"
        )
    return _figures(scores, same, halves) | {
        "num_pairs": len(chosen),
        "num_classes": len(np.unique(classes[chosen])),
    }


def _figures(scores: _Floats, same: NDArray[np.bool_], halves: list[NDArray[np.bool_]]) -> dict[str, Any]:
    """Figures of (P,) cosines, whether each pair is of one class, and which belong to each half."""
    from sklearn.metrics import roc_auc_score, roc_curve

    accuracies, thresholds, chances = [], [], []
    for chosen_on, measured_on in (halves, halves[::-1]):
        threshold = best_threshold(scores[chosen_on], same[chosen_on])
        accuracies.append(((scores[measured_on] >= threshold) == same[measured_on]).mean())
        chances.append(max(same[measured_on].mean(), 1 - same[measured_on].mean()))
        thresholds.append(threshold)
    cosines = [threshold for threshold in thresholds if abs(threshold) < _ONE_ANSWER]
    accepted_wrongly, accepted_rightly, _ = roc_curve(same, scores)
    return {
        "accuracy": float(np.mean(accuracies)),
        "chance_accuracy": float(np.mean(chances)),
        "roc_auc": float(roc_auc_score(same, scores)),
        "chance_roc_auc": 0.5,
        "equal_error_rate": equal_error_rate(accepted_wrongly, accepted_rightly),
        "chance_equal_error_rate": 0.5,
        "threshold": float(np.mean(cosines)) if cosines else None,
        "roc": _thinned(accepted_wrongly, accepted_rightly),
    }


def best_threshold(scores: _Floats, same: NDArray[np.bool_]) -> float:
    """The threshold on the cosine with the highest accuracy on these pairs.

    Args:
        scores: (P,) cosines.
        same: (P,) whether each pair is of one class.

    Returns:
        Midway between two neighbouring scores; 2 where rejecting every pair is best, -2 where accepting every
        pair is. The lowest of equally good ones.
    """
    order = np.argsort(scores, kind="stable")
    sorted_scores, sorted_same = scores[order], same[order]
    # rejecting the first i pairs: right are the different ones among them and the same ones after them
    right = np.concatenate([[0], np.cumsum(~sorted_same)]) + np.concatenate(
        [np.cumsum(sorted_same[::-1])[::-1], [0]]
    )
    between = (sorted_scores[1:] + sorted_scores[:-1]) / 2
    cuts = np.concatenate([[-_ONE_ANSWER], between, [_ONE_ANSWER]])
    # no threshold separates equal scores
    right[1:-1][sorted_scores[1:] == sorted_scores[:-1]] = -1
    return float(cuts[int(right.argmax())])


def equal_error_rate(accepted_wrongly: _Floats, accepted_rightly: _Floats) -> float:
    """Where the ROC curve meets the line of equal errors, linear between its points.

    Args:
        accepted_wrongly: (n,) share of the different pairs accepted, rising from 0 to 1.
        accepted_rightly: (n,) share of the same pairs accepted, rising from 0 to 1.
    """
    excess = accepted_wrongly - (1 - accepted_rightly)  # rises from -1 to 1
    after = int(np.argmax(excess >= 0))
    share = -excess[after - 1] / (excess[after] - excess[after - 1])
    low, high = accepted_wrongly[after - 1], accepted_wrongly[after]
    return float(low + share * (high - low))


def _thinned(x: _Floats, y: _Floats) -> list[list[float]]:
    """At most 100 of the curve's points, evenly spaced along it, both ends among them."""
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, along[-1], min(_MAX_ROC_POINTS, len(x)))
    places = np.unique(np.clip(np.searchsorted(along, wanted), 0, len(x) - 1))
    return [[round(float(x[place]), 6), round(float(y[place]), 6)] for place in places]


def _cosines(rows: torch.Tensor, pairs: NDArray[np.int64]) -> _Floats:
    """(P,) cosines of pairs of unit rows (N, D), some pairs at a time."""
    step = rows_per_tile(rows.shape[1])
    tiles = []
    for start in range(0, len(pairs), step):
        chosen = torch.from_numpy(pairs[start : start + step]).to(rows.device)
        tiles.append((rows[chosen[:, 0]] * rows[chosen[:, 1]]).sum(dim=1))
    return np.asarray(torch.cat(tiles).double().cpu().numpy()) if tiles else np.empty(0)


def _checked_pairs(pairs: Array, classes: NDArray[np.int64]) -> NDArray[np.int64]:
    given = np.asarray(torch.as_tensor(pairs).cpu())
    if given.ndim != 2 or given.shape[1] != 2 or not np.issubdtype(given.dtype, np.integer):
        raise ValueError(f"pairs: expected (P, 2) integers, got {given.dtype} of shape {given.shape}")
    if len(given) and (given.min() < 0 or given.max() >= len(classes)):
        raise ValueError(f"pairs: rows must lie in [0, {len(classes)}), got {given.min()} to {given.max()}")
    if (classes[given] < 0).any():
        raise ValueError("pairs: an item of a pair has no class")
    return given.astype(np.int64)


def draw_pairs(
    labels: _Ints, *, num_pairs: int, generator: np.random.Generator, within: _Ints | None = None
) -> _Ints:
    """Distinct pairs, half of one class and half of two; every pair of a kind is equally likely.

    Pairs are numbered item by item and numbers are drawn, so memory grows with N and P only.

    Args:
        labels: (N,) classes, negative where unknown; such items are in no pair.
        num_pairs: P; fewer are returned where a kind has fewer than half of it.
        generator: of the draws.
        within: (N,) domains; both items of a pair are in one. Items below 0 are in no pair.

    Returns:
        (P, 2) rows, the pairs of one class first; (0, 2) when a kind has none.
    """
    domains = np.zeros_like(labels) if within is None else within
    known = np.flatnonzero((labels >= 0) & (domains >= 0))
    order = known[np.lexsort((labels[known], domains[known]))]
    place = np.arange(len(order))
    if len(order) == 0:
        return np.empty((0, 2), dtype=np.int64)
    new_domain = np.diff(domains[order], prepend=-1) != 0
    new_class = new_domain | (np.diff(labels[order], prepend=-1) != 0)
    domain_start = np.maximum.accumulate(np.where(new_domain, place, 0))
    class_start = np.maximum.accumulate(np.where(new_class, place, 0))
    kinds = ((class_start, place - class_start), (domain_start, class_start - domain_start))
    count = min(num_pairs // 2, *(int(partners.sum()) for _, partners in kinds))
    drawn = [_draw(first, partners, count, generator) for first, partners in kinds]
    return order[np.concatenate(drawn)]


def _draw(first: _Ints, partners: _Ints, count: int, generator: np.random.Generator) -> _Ints:
    """(count, 2) distinct pairs of item i with one of the `partners[i]` items from `first[i]` on."""
    ends = np.cumsum(partners)
    number = np.sort(generator.choice(int(ends[-1]), size=count, replace=False))
    item = np.searchsorted(ends, number, side="right")
    other = first[item] + number - (ends[item] - partners[item])
    return np.stack([item, other], axis=1)


def halves_of_classes(
    labels: _Ints, generator: np.random.Generator, within: _Ints | None = None
) -> NDArray[np.bool_]:
    """Two halves that share no class: (N,) True for the items of the first.

    Classes with several items are dealt in turn, in random order, then those with one; under `within` domain
    by domain, so that both halves have classes of each.

    Args:
        labels: (N,) classes, negative where unknown (False).
        generator: of the order.
        within: (N,) domains.
    """
    known = np.flatnonzero(labels >= 0)
    classes, first, counts = np.unique(labels[known], return_index=True, return_counts=True)
    domains = np.zeros(len(classes), dtype=np.int64) if within is None else within[known][first]
    order = np.lexsort((generator.permutation(len(classes)), domains, counts < 2))
    return np.asarray(np.isin(labels, classes[order[::2]]))
