"""Source only: the lower bound of domain adaptation.

Dimensions: N source rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.checks import check_counts
from likewise.methods.two_domains import TwoDomainMethod, build_classifier

__all__ = ["Config", "SourceOnly"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of source only."""

    bottleneck_dim: int = 256
    """Width of the features between encoder and classifier."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim")


class SourceOnly(TwoDomainMethod):
    """A classifier that learns from the source domain's labels and never sees the target: what is lost from
    one domain to the other. It has the network, batches and steps of the other methods of domain adaptation.

    Choose it when: You want the lower bound that an adaptation must beat.
    """

    name = "source-only"
    title = "Source only"
    summary = "a classifier of the source alone: the lower bound of domain adaptation"
    paper = "the baseline of Ganin 2016, arXiv 1505.07818"
    options = Config

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Logits of the source rows; BatchNorm sees no others."""
        source = batch.source
        logits = self.network.classify_images(self.views(source, step))  # (N, C)
        return {"logits": logits, "label": source.label}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy."""
        total = F.cross_entropy(embeddings["logits"], embeddings["label"])
        return LossOutput(total, {"cross_entropy": total.detach()})
