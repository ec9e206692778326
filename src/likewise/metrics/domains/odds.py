"""How easily two domains are told apart, and risks of the target from labels of the source.

N source rows, M target rows, D features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likewise.metrics.inputs import Array, as_matrix

__all__ = ["DomainOdds", "deep_embedded_validation", "domain_odds", "weighted_risk"]

Floats = NDArray[np.float64]

_MAX_ITERATIONS = 200


class DomainOdds(NamedTuple):
    """What a linear classifier of the two domains finds on rows that it did not learn from.

    Attributes:
        proxy_a_distance: 2 (1 - 2 error), 0 where the domains cannot be told apart, 2 where they always can;
            the error is the mean of both domains'.
        weights: (N,) density of each source row in the target, relative to that in the source.
    """

    proxy_a_distance: float
    weights: Floats


def domain_odds(source: Array, target: Array) -> DomainOdds:
    """Fit logistic regression on one half of the rows, and apply it to the other; then the other way round.

    Args:
        source: (N, D) features, two rows at least.
        target: (M, D), two rows at least.

    Reference:
        Proxy A-distance: Ben-David et al. 2007 (NIPS), here with a linear classifier as in Ganin 2016, arXiv
        1505.07818, section 5.1.5. Weights: Bickel et al. 2007 (ICML).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    both = [
        as_matrix(rows, name).double().cpu().numpy()
        for rows, name in ((source, "source"), (target, "target"))
    ]
    if min(map(len, both)) < 2:
        raise ValueError(f"two rows of each domain are needed, got {len(both[0])} and {len(both[1])}")
    features = np.concatenate(both)
    is_target = np.repeat([False, True], [len(rows) for rows in both])
    # Rows are sorted by domain, so every second one is half of each.
    second = np.arange(len(features)) % 2 == 1
    odds = np.empty(len(features))
    for half in (second, ~second):
        # Balanced weights make the odds those of the densities, whatever the numbers of rows.
        model = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=0.1, class_weight="balanced", max_iter=_MAX_ITERATIONS, tol=1e-3),
        )
        model.fit(features[~half], is_target[~half])
        odds[half] = model.decision_function(features[half])
    errors = [(odds[~is_target] > 0).mean(), (odds[is_target] <= 0).mean()]
    # Not below 0: an error above one half is chance.
    distance = max(0.0, float(2 * (1 - (errors[0] + errors[1]))))
    return DomainOdds(distance, np.exp(odds[~is_target].clip(-10, 10)))


def weighted_risk(losses: Floats, weights: Floats) -> float:
    """Importance-weighted validation: the source's losses, weighted as the target would have its rows.

    Args:
        losses: (N,) of labelled source rows that the model did not learn from.
        weights: (N,) from `domain_odds`.

    Reference:
        Sugiyama et al. 2007, JMLR 8.
    """
    return float((losses * weights).mean())


def deep_embedded_validation(losses: Floats, weights: Floats) -> float:
    """`weighted_risk` with a control variate, which has less variance.

    Args:
        losses: (N,).
        weights: (N,).

    Reference:
        You et al. 2019 (ICML), "Towards accurate model selection in deep unsupervised domain adaptation",
        algorithm 1.
    """
    weighted = losses * weights
    variance = weights.var(ddof=1) if len(weights) > 1 else 0.0
    if variance == 0:
        return float(weighted.mean())
    eta = -np.cov(weighted, weights, ddof=1)[0, 1] / variance
    return float(weighted.mean() + eta * weights.mean() - eta)
