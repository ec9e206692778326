"""Verification: are two items of the same class? Judged by their cosine and a threshold.

N items, D width of the embedding, P pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.metrics.inputs import Array, as_labels, as_unit_rows, rows_per_tile
from likewise.metrics.pairs import draw_pairs, halves_of_classes

__all__ = ["verification", "best_threshold", "equal_error_rate"]

_MAX_ROC_POINTS = 100
_FEWEST_PAIRS = 4
# Beyond every cosine: the threshold that refuses all pairs, and its negative, which accepts all.
_ONE_ANSWER = 2.0

_Floats = NDArray[np.float64]


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

    The threshold of the accuracy is never chosen where it is measured, nor on the same classes: the classes
    are dealt into two halves, the best threshold for the pairs of one half is measured on those of the other,
    both ways, and the mean is reported.

    Args:
        embeddings: (N, D); scaled to unit length here.
        labels: (N,) integers, negative where no class is known.
        num_pairs: P pairs drawn, half of one class and half of two, both items in the same half of the
            classes; fewer when there are fewer.
        pairs: (P, 2) rows of the pairs to judge instead. Pairs between the halves then count for the curve,
            not for the accuracy.
        within: (N,) integers; drawn pairs stay inside a domain.
        seed: of the halves and the pairs.

    Returns:
        `accuracy`, `roc_auc`, `equal_error_rate` (where the share of pairs wrongly accepted equals that
        wrongly refused; interpolated), in [0, 1], with their chance levels; `threshold`, the mean of the
        chosen cosines (a half that is best served by one answer for all of its pairs chooses none; None where
        both are); `num_pairs`, `num_classes`; `roc`, at most 100 points [share of different pairs accepted,
        share of same pairs accepted] from [0, 0] to [1, 1].

    Raises:
        ValueError: fewer than four pairs asked for; a half of the classes without a pair of each kind (four
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
    """The cosine from which on pairs are accepted, with the greatest accuracy on these pairs.

    Args:
        scores: (P,) cosines.
        same: (P,) whether each pair is of one class.

    Returns:
        Midway between two neighbouring scores; 2 where refusing every pair is best, -2 where accepting every
        one is. Of equally good ones the lowest.
    """
    order = np.argsort(scores, kind="stable")
    sorted_scores, sorted_same = scores[order], same[order]
    # refusing the first i pairs: right are the different ones among them and the same ones after them
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
