"""Oracle: the upper bound of domain adaptation.

Dimensions: B batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.checks import check_counts
from likewise.methods.two_domains import TwoDomainMethod, build_classifier

__all__ = ["Config", "Oracle"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the oracle."""

    bottleneck_dim: int = 256
    """Width of the features between encoder and classifier."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim")


class Oracle(TwoDomainMethod):
    """A classifier that learns from the labels of both domains: what could be reached if the target were
    labelled. It has the network, batches and steps of the other methods of domain adaptation.

    Choose it when: You want the upper bound of an adaptation, or the target has labels after all.
    """

    name = "oracle"
    title = "Oracle"
    summary = "a classifier that reads the target's labels too: the upper bound of domain adaptation"
    paper = "the upper bound of Ganin 2016, arXiv 1505.07818"
    needs = Needs("image", "domain", "label")
    options = Config

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Logits of all rows, in one forward pass."""
        logits = self.network.classify_images(self.views(batch, step))  # (B, C)
        return {"logits": logits, "label": batch.label}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy."""
        total = F.cross_entropy(embeddings["logits"], embeddings["label"])
        return LossOutput(total, {"cross_entropy": total.detach()})
