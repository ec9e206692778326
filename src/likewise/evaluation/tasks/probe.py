"""Linear probe: what can a linear classifier read from frozen embeddings?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from likewise.data import Splits
from likewise.data.columns import Needs
from likewise.evaluation.base import Figure, Task, class_counts, task
from likewise.evaluation.classes import CLASSIFICATION_EXTRAS, classification_figures, classify
from likewise.evaluation.context import Context
from likewise.metrics.linear_probe import linear_probe
from likewise.model.classifiers.probe import Probe

__all__ = ["ProbeTask", "ProbeOptions"]


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Options of the linear probe."""

    save_probe: str | None = None
    """probe: keep it for `likewise classify --probe`: under a name in the run's folder, or in a file
    PATH.safetensors."""


@task("probe")
class ProbeTask(Task):
    """Logistic regression on the training part's embeddings."""

    title = "Linear probe"
    summary = "classes by a linear classifier on frozen features"
    needs = Needs("image", "label")
    abilities = ("encode_images",)
    learns = True
    options = ProbeOptions
    slow = True  # it can take as long as training a small model
    order = 21
    figures = (
        *classification_figures("Linear probe accuracy"),
        Figure("calibration_error", "Calibration error of its probabilities", "share", "lower"),
        Figure("l2", "Regularisation chosen"),
        Figure("num_train", "Training rows", "count"),
    )
    extras = (*CLASSIFICATION_EXTRAS, "converged")

    def supports(self, splits: Splits) -> bool:
        """See `Task.supports`; two classes to tell apart, one with a row to choose the regularisation by."""
        counts = class_counts(splits.train)
        return super().supports(splits) and len(counts) >= 2 and bool((counts >= 2).any())

    def run(self, context: Context, options: ProbeOptions) -> dict[str, Any]:
        """See `Task.run`; writes the probe where the options name a file."""
        result = linear_probe(context.train_images, context.train_labels, context.images, context.labels)
        figures = classify(context.labels, result.predictions, context.train.label_names)
        figures |= {
            "calibration_error": result.calibration_error,
            "l2": result.l2,
            "converged": result.converged,
            "num_train": result.num_train,
        }
        if options.save_probe is not None:
            kept = ("accuracy", "chance_accuracy", "num_items", "calibration_error", "l2", "num_train")
            described = {name: figures[name] for name in kept} | {
                "source": context.splits.summary["source"],
                "data_fingerprint": context.train.fingerprint,
            }
            names = context.train.label_names
            Probe.of(context.model, result.probe, names, described).save(options.save_probe)
        return figures
