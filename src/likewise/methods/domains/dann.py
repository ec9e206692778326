"""DANN: domain-adversarial training of neural networks.

Ganin et al. 2016, arXiv 1505.07818.

Dimensions: B batch, N source rows of it, D features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.encoders.heads import domain_discriminator
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.methods.two_domains import TwoDomainMethod, build_classifier
from likewise.objectives import gradient_reversal, reversal_strength

__all__ = ["DANN", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of DANN."""

    bottleneck_dim: int = 256
    """Width of the features that the discriminator sees."""

    discriminator_dim: int = 256
    """Width of the discriminator's two hidden layers."""

    weight: float = 1.0
    """Factor of the reversed gradient, beside its schedule."""

    sharpness: float = 10.0
    """gamma of the schedule 2 / (1 + exp(-gamma p)) - 1, where p is the share of training done."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim", "discriminator_dim")
        check_above_zero(self, "weight", "sharpness")


class DANN(TwoDomainMethod):
    """A discriminator learns to tell the domains apart by the features, and its reversed gradient teaches the
    encoder to make them alike, while a classifier learns the source's labels.

    Choose it when: The target has no labels, and you want the well-known adversarial baseline. With few steps
    or unlike class shares in the two domains it can align what does not belong together: cdan is safer then.
    """

    name = "dann"
    title = "DANN"
    summary = "an adversary makes the features of two domains alike"
    paper = "Ganin 2016, arXiv 1505.07818"
    options = Config
    monitored_embeddings = ("logits",)

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)
        self.discriminator = domain_discriminator(config.bottleneck_dim, config.discriminator_dim)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Classes of the source rows, and the domain of all rows."""
        source = batch.source
        features = self.network.encode_images(self.views(batch, step))  # (B, D)
        strength = self.config.weight * reversal_strength(
            step.progress.share, sharpness=self.config.sharpness
        )
        domains = self.discriminator(gradient_reversal(features, strength))[:, 0]  # (B,)
        return {
            "logits": self.network.classifier(features[: len(source)]),  # (N, C)
            "label": source.label,
            "domain_logits": domains,
            "is_target": torch.arange(len(batch), device=features.device) >= len(source),  # (B,)
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Equation 9; the sign of its second term is in the reversed gradient."""
        classes = F.cross_entropy(embeddings["logits"], embeddings["label"])
        domains = F.binary_cross_entropy_with_logits(
            embeddings["domain_logits"], embeddings["is_target"].to(embeddings["domain_logits"].dtype)
        )
        parts = {"cross_entropy": classes.detach(), "domain": domains.detach()}
        return LossOutput(classes + domains, parts)
