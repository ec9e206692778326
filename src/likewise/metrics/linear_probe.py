"""Linear probe: what can a linear classifier read from frozen embeddings?

N training rows, M evaluation rows, S rows that choose, D embedding width, C classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from likewise.metrics.chance import accuracy_chance
from likewise.metrics.classification import calibration_error
from likewise.metrics.inputs import Array, as_labels, as_matrix

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

__all__ = ["LinearProbe", "ProbeResult", "linear_probe", "L2_GRID", "NOT_CONVERGED"]

L2_GRID = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Regularisations tried: l2 in loss = mean cross-entropy in nats + l2 / 2 * squared weights."""

NOT_CONVERGED = (
    "the fit ended before it converged, so a linear classifier may read more or less than the accuracy says"
)
"""Remark for the figures of a probe that has not `converged`."""

# Which regularisation is best shows long before the weakest ones converge; the final fit does converge.
_SWEEP_ITERATIONS = 150
_GRADIENT_TOLERANCE = 1e-6
_MOST_LOG_TEMPERATURE = 4.0


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearProbe:
    """A fitted probe. All arrays are float64."""

    classes: NDArray[np.int64]
    """(C,) the labels that it tells apart, ascending."""
    mean: NDArray[np.float64]
    """(D,), subtracted from the embeddings."""
    scale: NDArray[np.float64]
    """(D,), which they are then multiplied by; 0 for dimensions that were constant."""
    weights: NDArray[np.float64]
    """(C, D)."""
    bias: NDArray[np.float64]
    """(C,)."""
    temperature: float
    """Divides the logits in `probabilities`, so that they say how often the probe is right (Guo 2017,
    arXiv 1706.04599, section 4.2)."""

    def logits(self, embeddings: Array) -> NDArray[np.float64]:
        """(M, C) of embeddings (M, D)."""
        features = as_matrix(embeddings, "embeddings").double().cpu().numpy()
        return np.asarray(((features - self.mean) * self.scale) @ self.weights.T + self.bias)

    def predict(self, embeddings: Array) -> NDArray[np.int64]:
        """(M,) labels of embeddings (M, D)."""
        return np.asarray(self.classes[self.logits(embeddings).argmax(axis=1)])

    def probabilities(self, embeddings: Array) -> NDArray[np.float64]:
        """(M, C) of embeddings (M, D); rows sum to one."""
        return np.exp(_log_softmax(self.logits(embeddings) / self.temperature))


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What the probe read, and how it was fitted."""

    accuracy: float
    """On the evaluation part, which chose nothing."""
    chance_accuracy: float
    """Accuracy of always answering the most frequent class of the evaluation part."""
    l2: float
    """Regularisation chosen."""
    selection_accuracy: dict[float, float]
    """Regularisation to accuracy on the rows that chose it."""
    converged: bool
    """Whether the final fit ended before `max_iterations`."""
    num_train: int
    """Rows of the final fit."""
    num_items: int
    """Evaluation rows with a label."""
    predictions: NDArray[np.int64]
    """(M,) classes of all evaluation rows."""
    probe: LinearProbe
    """What was fitted."""
    calibration_error: float
    """Of the probabilities, on the evaluation part; see `likewise.metrics.classification`."""


class _Part(NamedTuple):
    """Rows with known labels."""

    features: NDArray[np.float64]
    """(N, D)."""
    labels: NDArray[np.int64]
    """(N,)."""

    def rows(self, mask: NDArray[np.bool_]) -> _Part:
        return _Part(self.features[mask], self.labels[mask])


def linear_probe(
    train_embeddings: Array,
    train_labels: Array,
    embeddings: Array,
    labels: Array,
    *,
    selection_embeddings: Array | None = None,
    selection_labels: Array | None = None,
    l2_grid: Sequence[float] = L2_GRID,
    holdout: float = 0.2,
    seed: int = 0,
    max_iterations: int = 1000,
) -> ProbeResult:
    """Fit multinomial logistic regression on frozen embeddings, to convergence, and measure it.

    Features are standardised with the training part's mean and deviation (a constant dimension becomes 0).
    The loss, mean cross-entropy plus l2 / 2 times the squared weights (without bias), is convex; L-BFGS in
    float64 runs until the gradient's largest entry is below 1e-6 or the loss no longer changes.

    The regularisation is chosen without looking at the evaluation part: on `selection_*` when given (the
    protocol when train, validation and test parts exist), else on a share `holdout` of each class of the
    training part, drawn by `seed`; the probe is then fitted again on all of it. Of equal accuracies the
    stronger regularisation wins. The same rows fit the temperature of the probabilities.

    Args:
        train_embeddings: (N, D).
        train_labels: (N,); rows with a negative label (unknown) are left out, here and below.
        embeddings: (M, D) evaluation rows.
        labels: (M,).
        selection_embeddings: (S, D) or None.
        selection_labels: (S,) or None.
        l2_grid: regularisations to try, each above 0.
        holdout: share in (0, 1) of the training part that chooses when there is no selection part.
        seed: of that draw.
        max_iterations: of each fit.

    Raises:
        ValueError: shapes that don't fit, values that are not finite, a part without labels, one class only,
            no class with two training rows to hold one out.
    """
    if len(l2_grid) == 0 or min(l2_grid) <= 0 or not 0 < holdout < 1:
        raise ValueError(f"l2_grid needs values above 0 and holdout a share, got {l2_grid} and {holdout}")
    train = _labelled(train_embeddings, train_labels, "train")
    test = _labelled(embeddings, labels, "evaluation")
    if len(np.unique(train.labels)) < 2:
        raise ValueError("train_labels: one class only, there is nothing to tell apart")
    if (selection_embeddings is None) != (selection_labels is None):
        raise ValueError("selection_embeddings and selection_labels come together or not at all")
    if selection_embeddings is None or selection_labels is None:
        held = _holdout_rows(train.labels, holdout, seed)
        fit_on, choose_on = train.rows(~held), train.rows(held)
    else:
        fit_on, choose_on = train, _labelled(selection_embeddings, selection_labels, "selection")
    l2, accuracies, temperature = _sweep(fit_on, choose_on, l2_grid, min(max_iterations, _SWEEP_ITERATIONS))
    model = _classifier(max_iterations)
    mean, scale = _scaling(train.features)
    converged = _fit(model, (train.features - mean) * scale, train.labels, l2)
    probe = _fitted(model, mean, scale, temperature)
    predictions = probe.predict(embeddings)
    known = np.asarray(torch.as_tensor(labels).cpu()) >= 0
    return ProbeResult(
        accuracy=float((predictions[known] == test.labels).mean()),
        chance_accuracy=accuracy_chance(test.labels),
        l2=l2,
        selection_accuracy=accuracies,
        converged=converged,
        num_train=len(train.labels),
        num_items=len(test.labels),
        predictions=predictions,
        probe=probe,
        calibration_error=calibration_error(
            probe.probabilities(test.features).max(axis=1), predictions[known] == test.labels
        ),
    )


def _labelled(embeddings: Array, labels: Array, name: str) -> _Part:
    """The rows with a label, checked."""
    features = as_matrix(embeddings, f"{name} embeddings").double().cpu()
    numbers = as_labels(labels, f"{name} labels", count=len(features), device=features.device)
    if not bool((numbers >= 0).any()):
        raise ValueError(f"{name} labels: no row has a label")
    return _Part(features.numpy(), numbers.numpy()).rows((numbers >= 0).numpy())


def _holdout_rows(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """(N,) a share of each class, at least one row where the class has two, never all of them."""
    generator = torch.Generator().manual_seed(seed)
    held = np.zeros(len(labels), dtype=bool)
    for number in np.unique(labels):
        rows = np.flatnonzero(labels == number)
        rows = rows[torch.randperm(len(rows), generator=generator).numpy()]
        held[rows[: min(max(1, round(share * len(rows))), len(rows) - 1)]] = True
    if not held.any():
        raise ValueError("no class has two training rows: give selection_embeddings to choose l2 on")
    return held


def _sweep(
    fit_on: _Part, choose_on: _Part, grid: Sequence[float], max_iterations: int
) -> tuple[float, dict[float, float], float]:
    """The best regularisation, the accuracy on `choose_on` for each, and the temperature of the best.

    The strongest comes first, and each fit starts from the last.
    """
    model = _classifier(max_iterations)
    mean, scale = _scaling(fit_on.features)
    features = (fit_on.features - mean) * scale
    accuracies: dict[float, float] = {}
    best, chosen = -1.0, 0.0
    for l2 in sorted(grid, reverse=True):
        _fit(model, features, fit_on.labels, l2)
        probe = _fitted(model, mean, scale, 1.0)
        logits = probe.logits(choose_on.features)
        accuracies[l2] = float((probe.classes[logits.argmax(axis=1)] == choose_on.labels).mean())
        if accuracies[l2] > best:
            best, chosen, kept = accuracies[l2], l2, logits
    return chosen, accuracies, _temperature(kept, choose_on.labels, probe.classes)


def _temperature(logits: NDArray[np.float64], labels: NDArray[np.int64], classes: NDArray[np.int64]) -> float:
    """The divisor of (S, C) logits by which (S,) labels are likeliest.

    The logarithm has a standard normal prior, one row's worth: a few rows that are all right would otherwise
    ask for certainty. Rows of a class that the probe does not know are left out.
    """
    from scipy.optimize import minimize_scalar

    known = np.isin(labels, classes)
    logits, places = logits[known], np.searchsorted(classes, labels[known])

    def loss(log: float) -> float:
        likelihoods = _log_softmax(logits * np.exp(-log))[np.arange(len(places)), places]
        return float(log * log / 2 - likelihoods.sum())

    bounds = (-_MOST_LOG_TEMPERATURE, _MOST_LOG_TEMPERATURE)
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, C) logarithms of probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _fitted(
    model: LogisticRegression, mean: NDArray[np.float64], scale: NDArray[np.float64], temperature: float
) -> LinearProbe:
    weights, bias = model.coef_, model.intercept_
    if len(model.classes_) == 2:  # scikit-learn keeps the difference of the two
        weights, bias = np.concatenate([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return LinearProbe(
        classes=model.classes_, mean=mean, scale=scale, weights=weights, bias=bias, temperature=temperature
    )


def _scaling(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (D,) of (N, D), and the inverse of the deviation, 0 in constant dimensions."""
    spread = features.std(axis=0)
    # a spread that is only rounding says nothing; dividing by it would amplify noise
    constant = spread <= 1e-6 * np.abs(features).max(axis=0).clip(min=1e-30)
    return features.mean(axis=0), np.where(constant, 0.0, 1 / np.where(constant, 1.0, spread))


def _classifier(max_iterations: int) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(tol=_GRADIENT_TOLERANCE, max_iter=max_iterations, warm_start=True)


def _fit(
    model: LogisticRegression, features: NDArray[np.float64], labels: NDArray[np.int64], l2: float
) -> bool:
    """Fit on standardised features; True where the fit converged."""
    from sklearn.exceptions import ConvergenceWarning

    # scikit-learn weighs the sum of losses by C. Of two classes it fits one weight vector, the difference of
    # the two, whose squared length is twice that of both together.
    model.C = (2 if len(np.unique(labels)) == 2 else 1) / (l2 * len(labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return bool(model.n_iter_.max() < model.max_iter)
