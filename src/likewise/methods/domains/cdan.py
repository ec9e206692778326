"""CDAN: conditional adversarial domain adaptation, with entropy conditioning (CDAN+E).

Long et al. 2018, arXiv 1705.10667.

Dimensions: B batch, N source rows of it, D features, C classes, R width of the random map.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.collectives import replica_share
from likewise.encoders.heads import domain_discriminator
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.methods.two_domains import TwoDomainMethod, build_classifier
from likewise.objectives import gradient_reversal, reversal_strength

__all__ = ["CDAN", "Config", "MultilinearMap"]

_MOST_PRODUCTS = 4096  # section 3.2: above, the map is randomised


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of CDAN."""

    bottleneck_dim: int = 256
    """Width of the features."""

    discriminator_dim: int = 256
    """Width of the discriminator's two hidden layers."""

    entropy_weighting: bool = True
    """Weigh each row by 1 + exp(-H), H its prediction's entropy: the adversary looks at sure rows first."""

    random_dim: int = 1024
    """Width of the random map that replaces the products of features and classes where these are more than
    4,096."""

    weight: float = 1.0
    """Factor of the reversed gradient, beside its schedule."""

    sharpness: float = 10.0
    """gamma of the schedule 2 / (1 + exp(-gamma p)) - 1, where p is the share of training done."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim", "discriminator_dim", "random_dim")
        check_above_zero(self, "weight", "sharpness")


class MultilinearMap(nn.Module):
    """Products of features and class probabilities (equation 5), randomised where there are many (6)."""

    left: Tensor
    right: Tensor

    def __init__(self, dim: int, num_classes: int, random_dim: int) -> None:
        super().__init__()
        self.is_random = dim * num_classes > _MOST_PRODUCTS
        self.dim = random_dim if self.is_random else dim * num_classes
        self.scale: float = self.dim**-0.5
        if self.is_random:
            self.register_buffer("left", torch.randn(dim, random_dim))
            self.register_buffer("right", torch.randn(num_classes, random_dim))

    def forward(self, features: Tensor, probabilities: Tensor) -> Tensor:
        """(B, D) and (B, C) to (B, C D) or (B, R)."""
        if self.is_random:
            products: Tensor = (features @ self.left) * (probabilities @ self.right)
            return products * self.scale
        products = probabilities[:, :, None] * features[:, None, :]
        return products.flatten(1)


class CDAN(TwoDomainMethod):
    """As DANN, but the discriminator sees the features together with the predicted classes, so that each
    class is aligned with its own counterpart; rows with sure predictions count more.

    Choose it when: The target has no labels and shares the source's classes. It is the first adversarial
    method to try.
    """

    name = "cdan"
    title = "CDAN+E"
    summary = "an adversary sees features together with predicted classes"
    paper = "Long 2018, arXiv 1705.10667"
    options = Config
    monitored_embeddings = ("logits",)

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)
        self.products = MultilinearMap(config.bottleneck_dim, len(context.classes), config.random_dim)
        self.discriminator = domain_discriminator(self.products.dim, config.discriminator_dim)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Classes of all rows, and their domain by features and classes together."""
        count = len(batch.source)
        features = self.network.encode_images(self.views(batch, step))  # (B, D)
        logits = self.network.classifier(features)  # (B, C)
        # No gradient through the probabilities, as in the authors' code.
        products = self.products(features, logits.detach().softmax(dim=1))  # (B, C D)
        strength = self.config.weight * reversal_strength(
            step.progress.share, sharpness=self.config.sharpness
        )
        return {
            "logits": logits[:count],  # (N, C)
            "label": batch.source.label,
            "domain_logits": self.discriminator(gradient_reversal(products, strength))[:, 0],  # (B,)
            "certainty": self._certainty(logits.detach()),  # (B,)
            "is_target": torch.arange(len(batch), device=features.device) >= count,  # (B,)
        }

    def _certainty(self, logits: Tensor) -> Tensor:
        """(B,) 1 + exp(-H).

        Deviation from the authors' code: it has no gradient, so the encoder cannot lower its loss by unsure
        predictions.
        """
        if not self.config.entropy_weighting:
            return torch.ones_like(logits[:, 0])
        log_p = logits.log_softmax(dim=1)
        return 1 + (log_p.exp() * log_p).sum(dim=1).exp()

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Equation 10: each domain's rows share one half of the weight, by their certainty."""
        classes = F.cross_entropy(embeddings["logits"], embeddings["label"])
        logits, certainty = embeddings["domain_logits"], embeddings["certainty"]
        is_target = embeddings["is_target"].to(logits.dtype)
        losses = certainty * F.binary_cross_entropy_with_logits(logits, is_target, reduction="none")
        domains = logits.new_zeros(())
        for rows in (is_target, 1 - is_target):
            domains = domains + (losses * rows).sum() / replica_share((certainty * rows).sum(), logits) / 2
        parts = {"cross_entropy": classes.detach(), "domain": domains.detach()}
        return LossOutput(classes + domains, parts)
