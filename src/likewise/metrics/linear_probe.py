"""Linear probe: what a linear classifier can read from frozen embeddings.

N training rows, M evaluation rows, D dimension, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from likewise.metrics.chance import accuracy_chance
from likewise.metrics.inputs import Array, as_labels, as_matrix

__all__ = ["ProbeResult", "linear_probe", "L2_GRID", "NOT_CONVERGED"]

L2_GRID = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Regularisations tried: the factor before half the squared weights, beside a mean cross-entropy in nats."""

NOT_CONVERGED = (
    "the fit ended before it converged, so a linear classifier may read more or less than the accuracy says"
)
"""What to say beside the figures of a probe that is not `converged`."""


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What the probe read, and how it was fitted."""

    accuracy: float
    """On the evaluation part, which chose nothing."""
    chance_accuracy: float
    """Accuracy of always answering the commonest class of the evaluation part."""
    l2: float
    """The regularisation chosen."""
    selection_accuracy: dict[float, float]
    """Regularisation to accuracy on the rows that chose it."""
    converged: bool
    """Whether the final fit ended with every entry of its gradient below 1e-5, not at `max_iterations`."""
    num_train: int
    """Rows of the final fit."""
    num_items: int
    """Evaluation rows counted."""
    predictions: NDArray[np.int64]
    """(M,) classes of all evaluation rows."""

    def figures(self) -> dict[str, float]:
        """The single numbers, ready for a table or a JSON file."""
        names = ("accuracy", "chance_accuracy", "l2", "converged", "num_train", "num_items")
        return {name: getattr(self, name) for name in names}


_SWEEP_ITERATIONS = 150


@dataclass(frozen=True)
class _Part:
    """Rows with known labels: features (N, D) float64 on the CPU, labels (N,)."""

    features: torch.Tensor
    labels: torch.Tensor

    def rows(self, mask: torch.Tensor) -> _Part:
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

    Features are standardised with the training part's mean and deviation (a dimension that does not vary
    becomes 0). The loss, mean cross-entropy plus l2 / 2 times the squared weights (bias free), is convex;
    L-BFGS in float64 runs until the gradient's largest entry is below 1e-6.

    The regularisation is chosen where the evaluation part is not looked at: on `selection_*` when given (the
    protocol when train, validation and test parts exist), else on a share `holdout` of each class of the
    training part, drawn by `seed`, after which the probe is fitted again on all of it. Of equal accuracies
    the stronger regularisation is taken.

    Args:
        train_embeddings: (N, D).
        train_labels: (N,); rows with a negative label (none known) are left out, here and below.
        embeddings: (M, D) rows to evaluate on.
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
    num_classes = int(max(train.labels.max(), test.labels.max())) + 1
    if len(torch.unique(train.labels)) < 2:
        raise ValueError("train_labels: one class only, there is nothing to tell apart")
    if (selection_embeddings is None) != (selection_labels is None):
        raise ValueError("selection_embeddings and selection_labels come together or not at all")
    if selection_embeddings is None or selection_labels is None:
        held = _held_out(train.labels, holdout, seed)
        fit_on, choose_on = train.rows(~held), train.rows(held)
    else:
        fit_on, choose_on = train, _labelled(selection_embeddings, selection_labels, "selection")
        num_classes = max(num_classes, int(choose_on.labels.max()) + 1)
    # Which regularisation is best shows long before the weakest ones converge; the final fit does converge.
    accuracies = _sweep(fit_on, choose_on, num_classes, l2_grid, min(max_iterations, _SWEEP_ITERATIONS))
    l2 = max(accuracies, key=lambda value: (accuracies[value], value))
    probe = _Probe(train, num_classes)
    converged = probe.fit(l2, max_iterations)
    everything = as_matrix(embeddings, "embeddings").double().cpu()
    return ProbeResult(
        accuracy=float((probe.predict(test.features) == test.labels).double().mean()),
        chance_accuracy=accuracy_chance(test.labels),
        l2=l2,
        selection_accuracy=accuracies,
        converged=converged,
        num_train=len(train.labels),
        num_items=len(test.labels),
        predictions=probe.predict(everything).numpy(),
    )


def _labelled(embeddings: Array, labels: Array, name: str) -> _Part:
    """The rows with a label, checked."""
    # float64 on the CPU: some accelerators have no float64, and the problem is small
    features = as_matrix(embeddings, f"{name} embeddings").double().cpu()
    numbers = as_labels(labels, f"{name} labels", count=len(features), device=features.device)
    if not bool((numbers >= 0).any()):
        raise ValueError(f"{name} labels: no row has a label")
    return _Part(features, numbers).rows(numbers >= 0)


def _held_out(labels: torch.Tensor, share: float, seed: int) -> torch.Tensor:
    """(N,) bool: a share of each class, at least one row where the class has two, never all of them."""
    generator = torch.Generator().manual_seed(seed)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for number in torch.unique(labels):
        rows = (labels == number).nonzero()[:, 0]
        rows = rows[torch.randperm(len(rows), generator=generator)]
        held[rows[: min(max(1, round(share * len(rows))), len(rows) - 1)]] = True
    if not bool(held.any()):
        raise ValueError("no class has two training rows: give selection_embeddings to choose l2 on")
    return held


def _sweep(
    fit_on: _Part, choose_on: _Part, num_classes: int, grid: Sequence[float], max_iterations: int
) -> dict[float, float]:
    """Accuracy on `choose_on` for each regularisation, strongest first, each fit starting from the last."""
    probe = _Probe(fit_on, num_classes)
    accuracies = {}
    for l2 in sorted(grid, reverse=True):
        probe.fit(l2, max_iterations)
        hits = probe.predict(choose_on.features) == choose_on.labels
        accuracies[l2] = float(hits.double().mean())
    return accuracies


class _Probe:
    """Weights of a linear classifier on standardised features, and how to fit them."""

    def __init__(self, train: _Part, num_classes: int) -> None:
        self.mean = train.features.mean(dim=0)
        spread = train.features.std(dim=0, correction=0)
        # a dimension whose spread is rounding says nothing; dividing by it would make it shout
        constant = spread <= 1e-6 * train.features.abs().amax(dim=0).clamp(min=1e-30)
        self.scale = torch.where(
            constant, torch.zeros_like(spread), 1 / spread.where(~constant, torch.ones(()))
        )
        self.features, self.labels = self._standardised(train.features), train.labels
        self.weights = torch.zeros(num_classes, self.features.shape[1] + 1, dtype=torch.float64)  # bias last

    def _standardised(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) * self.scale

    def predict(self, features: torch.Tensor) -> torch.Tensor:
        """(N,) classes of raw features (N, D)."""
        logits = torch.addmm(self.weights[:, -1], self._standardised(features), self.weights[:, :-1].T)
        return logits.argmax(dim=1)

    def fit(self, l2: float, max_iterations: int) -> bool:
        """Minimise from where the weights are; True when the gradient vanished."""
        from scipy.optimize import minimize

        found = minimize(
            self._loss_and_gradient,
            self.weights.flatten().numpy(),
            args=(l2,),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": max_iterations,
                "maxfun": 4 * max_iterations,
                "gtol": 1e-6,
                "ftol": 0.0,
                "maxcor": 20,
            },
        )
        self.weights = torch.from_numpy(np.array(found.x)).reshape(self.weights.shape)
        return float(np.abs(found.jac).max()) < 1e-5

    def _loss_and_gradient(self, flat: NDArray[np.float64], l2: float) -> tuple[float, NDArray[np.float64]]:
        weights = torch.from_numpy(flat).reshape(self.weights.shape)
        logits = torch.addmm(weights[:, -1], self.features, weights[:, :-1].T)  # (N, C)
        log_probability = F.log_softmax(logits, dim=1)
        rows = torch.arange(len(self.labels))
        loss = -log_probability[rows, self.labels].mean() + l2 / 2 * weights[:, :-1].square().sum()
        slope = log_probability.exp()
        slope[rows, self.labels] -= 1
        slope /= len(rows)
        gradient = torch.cat(
            [slope.T @ self.features + l2 * weights[:, :-1], slope.sum(dim=0)[:, None]], dim=1
        )
        if not math.isfinite(float(loss)):
            raise ValueError(
                "the probe's loss is not finite: are the embeddings many orders of magnitude apart?"
            )
        return float(loss), gradient.flatten().numpy()
