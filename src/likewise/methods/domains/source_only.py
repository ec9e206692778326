"""Source only: the lower bound of domain adaptation.

Dimensions: N source rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.batches.samplers import OrderName
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_counts
from likewise.methods.two_domains import (
    NEEDS,
    NO_GRAD_CACHE,
    TRAINING_DEFAULTS,
    build_classifier,
    check_domain_order,
)
from likewise.networks.classifier import ClassifierNetwork
from likewise.views import view_preset

__all__ = ["Config", "SourceOnly"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of source only."""

    bottleneck_dim: int = 256
    """Width of the features between encoder and classifier."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim")


class SourceOnly(Method):
    """A classifier that learns from the source domain's labels and never sees the target: what is lost from
    one domain to the other. It has the network, batches and steps of the other methods of domain adaptation.

    Choose it when: You want the lower bound that an adaptation must beat.
    """

    name = "source-only"
    title = "Source only"
    summary = "a classifier of the source alone: the lower bound of domain adaptation"
    paper = "the baseline of Ganin 2016, arXiv 1505.07818"
    needs = NEEDS
    options = Config
    view_families: ClassVar = {"views": lambda _: view_preset("none")}
    image_defaults: ClassVar = {"architecture": "resnet"}
    training_defaults: ClassVar = TRAINING_DEFAULTS
    no_grad_cache_reason = NO_GRAD_CACHE

    config: Config
    network: ClassifierNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)

    @classmethod
    def check_order(cls, config: Config, order: OrderName) -> None:
        """See `Method.check_order`."""
        check_domain_order(cls.name, order)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Logits of the source rows; BatchNorm sees no others."""
        source = batch.source
        logits = self.network.classify_images(self.views(source, step))  # (N, C)
        return {"logits": logits, "label": source.label}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy."""
        total = F.cross_entropy(embeddings["logits"], embeddings["label"])
        return LossOutput(total, {"cross_entropy": total.detach()})
