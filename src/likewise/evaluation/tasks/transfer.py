"""Transfer: how well does a classifier do in the target domain, and what says so without its labels?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset, Splits
from likewise.data.columns import Needs, required_of
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.classes import CLASSIFICATION_EXTRAS, classify, own_classes
from likewise.evaluation.context import Context
from likewise.messages import first_names
from likewise.metrics.classification import classification_metrics
from likewise.metrics.domains.odds import deep_embedded_validation, domain_odds, weighted_risk
from likewise.metrics.domains.scores import information, mean_entropy, neighbourhood_density

__all__ = ["Transfer"]

_SURE = 1e-7
"""The smallest probability whose logarithm is taken."""


@task("transfer")
class Transfer(Task):
    """Accuracy in both domains, their distance, and the scores that choose a model without labels there."""

    title = "From domain to domain"
    summary = "accuracy of a classifier in the source and in the target domain"
    needs = Needs("image", "domain", label=required_of("source"))
    abilities = ("classify", "encode_images")
    order = 19
    monitored = "always"
    figures = (
        Figure(
            "target_accuracy",
            "Target accuracy",
            "share",
            "higher",
            "chance_target_accuracy",
            headline="Target accuracy",
            curve=True,
            oracle=True,
        ),
        Figure(
            "source_accuracy",
            "Source accuracy",
            "share",
            "higher",
            "chance_source_accuracy",
            headline="Source accuracy",
            curve=True,
        ),
        Figure("target_recall", "Target accuracy (mean over classes)", "share", "higher", oracle=True),
        Figure("proxy_a_distance", "Proxy A-distance (0 alike, 2 apart)", better="lower", curve=True),
        Figure("entropy", "Entropy in the target (nats)", better="lower", curve=True),
        Figure("information", "Information in the target (nats)", better="higher", curve=True),
        Figure("neighbourhood_density", "Soft neighbourhood density (nats)", better="higher", curve=True),
        Figure("weighted_risk", "Importance-weighted source loss (nats)", better="lower", curve=True),
        Figure("dev_risk", "Deep embedded validation (nats)", better="lower", curve=True),
        Figure("num_source", "Source rows", "count"),
        Figure("num_target", "Target rows", "count"),
        Figure("num_unknown", "Target rows of classes that the model lacks", "count"),
        Figure("num_unknown_source", "Source rows of classes that the model lacks", "count"),
    )
    extras = (*CLASSIFICATION_EXTRAS, "per_class", "domain_names")

    def supports(self, splits: Splits) -> bool:
        """See `Task.supports`; rows of both domains."""
        data = splits.validation
        return super().supports(splits) and data is not None and _domains_of(data) is not None

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        data, classes = context.validation, context.model.classes
        is_target = _domains_of(data)
        if is_target is None:
            raise ValueError("rows of a source and of a target domain are needed; see --data.target")
        labels, unknown = own_classes(data, classes)
        probabilities = context.class_probabilities
        predictions = probabilities.argmax(axis=1)
        source, target = ~is_target & (labels >= 0), is_target & (labels >= 0)
        if source.sum() < 2:
            raise ValueError(
                f"fewer than two source rows are of the model's classes ({first_names(classes, most=5)})"
            )
        odds = domain_odds(context.images[source], context.images[is_target])
        likelihoods = probabilities[source, labels[source]].astype(np.float64)
        losses = -np.log(likelihoods.clip(_SURE, 1.0))
        found = classification_metrics(labels[source], predictions[source], len(classes))
        figures: dict[str, Any] = {
            "source_accuracy": found.accuracy,
            "chance_source_accuracy": found.chance_accuracy,
            "proxy_a_distance": odds.proxy_a_distance,
            "entropy": mean_entropy(probabilities[is_target]),
            "information": information(probabilities[is_target]),
            "neighbourhood_density": neighbourhood_density(probabilities[is_target]),
            "weighted_risk": weighted_risk(losses, odds.weights),
            "dev_risk": deep_embedded_validation(losses, odds.weights),
            "num_source": float(source.sum()),
            "num_target": float(is_target.sum()),
            "num_unknown": float((unknown & is_target).sum()),
            "num_unknown_source": float((unknown & ~is_target).sum()),
        }
        if not target.any():
            return figures
        measured = classify(labels[target], predictions[target], list(classes))
        figures |= {
            "target_accuracy": measured["accuracy"],
            "chance_target_accuracy": measured["chance_accuracy"],
            "target_recall": measured["recall"],
            "per_class": _per_class(classes, labels, predictions, source, target),
        }
        return figures | {key: measured[key] for key in CLASSIFICATION_EXTRAS if key in measured}


def _domains_of(data: Dataset) -> NDArray[np.bool_] | None:
    """(N,) whether a row is of the target; None where a domain has fewer than two rows."""
    is_target = data.is_target
    if is_target is None or min(is_target.sum(), (~is_target).sum()) < 2:
        return None
    return is_target


def _per_class(
    classes: tuple[str, ...],
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    source: NDArray[np.bool_],
    target: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Accuracy of each class in both domains; None where it has no rows."""

    def accuracy(rows: NDArray[np.bool_], number: int) -> float | None:
        chosen = rows & (labels == number)
        return float((predictions[chosen] == number).mean()) if chosen.any() else None

    return [
        {
            "class": name,
            "source_accuracy": accuracy(source, number),
            "target_accuracy": accuracy(target, number),
            "num_target": int((target & (labels == number)).sum()),
        }
        for number, name in enumerate(classes)
    ]
