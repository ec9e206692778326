"""Label-free scores and the distance of two domains: hand values, plain transcriptions, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from likewise.metrics.domains.odds import deep_embedded_validation, domain_odds, weighted_risk
from likewise.metrics.domains.scores import information, mean_entropy, neighbourhood_density

SURE = np.array([[1.0, 0.0], [0.0, 1.0]])
UNSURE = np.full((4, 2), 0.5)


def test_entropy_and_information_by_hand() -> None:
    assert mean_entropy(SURE) == 0
    assert mean_entropy(UNSURE) == pytest.approx(np.log(2))
    assert information(SURE) == pytest.approx(np.log(2))  # both classes, each for sure
    assert information(UNSURE) == pytest.approx(0)
    assert information(SURE[:1].repeat(3, axis=0)) == pytest.approx(0)  # sure, of one class
    mixed = np.array([[0.75, 0.25]])
    assert mean_entropy(mixed) == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))


def naive_density(rows: np.ndarray, temperature: float) -> float:
    total = 0.0
    for i in range(len(rows)):
        cosines = [
            rows[i] @ rows[j] / (np.linalg.norm(rows[i]) * np.linalg.norm(rows[j])) / temperature
            for j in range(len(rows))
            if j != i
        ]
        shares = np.exp(cosines) / np.exp(cosines).sum()
        total -= (shares * np.log(shares)).sum()
    return total / len(rows)


def test_neighbourhood_density_equals_a_plain_loop() -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(5), 30)
    assert neighbourhood_density(rows, temperature=0.1) == pytest.approx(naive_density(rows, 0.1), rel=1e-6)


def test_neighbourhood_density_is_that_of_the_clusters() -> None:
    """Three rows of each of two sure classes: each row has two equal neighbours."""
    assert neighbourhood_density(SURE.repeat(3, axis=0)) == pytest.approx(np.log(2), abs=1e-6)


def test_domains_that_are_alike_have_no_distance_and_even_weights() -> None:
    draws = np.random.default_rng(0)
    found = domain_odds(draws.normal(size=(2000, 4)), draws.normal(size=(1000, 4)))
    assert found.proxy_a_distance < 0.15
    assert found.weights.mean() == pytest.approx(1, abs=0.1)


def test_domains_apart_have_the_greatest_distance() -> None:
    draws = np.random.default_rng(0)
    found = domain_odds(draws.normal(size=(200, 4)), draws.normal(size=(300, 4)) + 20)
    assert found.proxy_a_distance == 2
    assert found.weights.max() < 0.1  # the classifier is regularised


def test_weights_are_the_ratio_of_the_densities() -> None:
    """Normal densities a unit apart: log ratio x - 1 / 2, and the weighted mean is the target's."""
    draws = np.random.default_rng(0)
    source, target = draws.normal(size=(4000, 1)), draws.normal(size=(2000, 1)) + 1
    weights = domain_odds(source, target).weights
    assert np.corrcoef(np.log(weights), source[:, 0])[0, 1] > 0.99
    assert weighted_risk(source[:, 0], weights) == pytest.approx(1, abs=0.15)


def test_deep_embedded_validation_removes_what_the_weights_explain() -> None:
    draws = np.random.default_rng(0)
    weights = draws.exponential(size=500)
    constant = np.full(500, 3.0)
    # w l is exactly 3 w here, so the estimate is 3 whatever the mean weight is.
    assert deep_embedded_validation(constant, weights) == pytest.approx(3)
    assert weighted_risk(constant, weights) == pytest.approx(3 * weights.mean())
    assert deep_embedded_validation(constant, np.ones(500)) == 3
    losses = draws.random(500)
    weighted = losses * weights
    eta = -np.cov(weighted, weights)[0, 1] / np.var(weights, ddof=1)
    expected = weighted.mean() + eta * weights.mean() - eta
    assert deep_embedded_validation(losses, weights) == pytest.approx(expected)


@pytest.mark.parametrize("rows", [np.array([[0.5, 0.6]]), np.array([[1.5, -0.5]]), np.zeros((0, 2))])
def test_what_is_no_probability_is_refused(rows: np.ndarray) -> None:
    for score in (mean_entropy, information, neighbourhood_density):
        with pytest.raises(ValueError, match="probabilities"):
            score(rows)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="two rows"):
        neighbourhood_density(SURE[:1])
    with pytest.raises(ValueError, match="two rows of each domain"):
        domain_odds(np.zeros((1, 2)), np.zeros((5, 2)))
