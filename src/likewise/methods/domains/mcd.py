"""MCD: maximum classifier discrepancy.

Saito et al. 2018, arXiv 1712.02560, section 3.3.

Dimensions: B batch, N source rows of it, M target rows, D features, C classes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Phase, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.methods.two_domains import TwoDomainMethod, build_classifier

__all__ = ["MCD", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of MCD."""

    bottleneck_dim: int = 256
    """Width of the features."""

    weight: float = 1.0
    """Factor of the discrepancy."""

    encoder_updates: int = 4
    """Updates of the encoder in step C, for one of the classifiers in step B."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim", "encoder_updates")
        check_above_zero(self, "weight")


class MCD(TwoDomainMethod):
    """Two classifiers learn the source and are then moved apart on the target, which shows where the source
    says nothing about it; the encoder moves these rows to where the two agree. A step has three phases.

    Choose it when: Alignment as a whole mixes classes up. Each step costs about as much as six of dann.
    """

    name = "mcd"
    title = "MCD"
    summary = "two classifiers disagree about the target, and the encoder makes them agree"
    paper = "Saito 2018, arXiv 1712.02560"
    options = Config
    monitored_embeddings = ("source",)

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)
        self.second = copy.deepcopy(self.network.classifier)
        self.second.reset_parameters()  # another start: two equal classifiers would never disagree
        encoder, classifiers = ("network.image", "network.bottleneck"), ("network.classifier", "second")
        self.phases = (
            Phase("classes"),
            Phase("disagree", classifiers),
            Phase("agree", encoder, repeats=config.encoder_updates),
        )

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """What both classifiers say of both domains."""
        count = len(batch.source)
        features = self.network.encode_images(self.views(batch, step))  # (B, D)
        first, second = self.network.classifier(features), self.second(features)  # (B, C)
        return {
            "source": first[:count],  # (N, C)
            "source_second": second[:count],
            "label": batch.source.label,
            "target": first[count:],  # (M, C)
            "target_second": second[count:],
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Steps A, B and C: equations 4, 5 and 9 of the paper, whose discrepancy is a mean over classes."""
        label = embeddings["label"]
        classes = F.cross_entropy(embeddings["source"], label)
        classes = classes + F.cross_entropy(embeddings["source_second"], label)
        first, second = embeddings["target"].softmax(dim=1), embeddings["target_second"].softmax(dim=1)
        discrepancy = (first - second).abs().mean()
        weighted = self.config.weight * discrepancy
        total = {"disagree": classes - weighted, "agree": weighted}.get(step.phase, classes)
        return LossOutput(total, {"cross_entropy": classes.detach(), "discrepancy": discrepancy.detach()})
