"""ADDA: adversarial discriminative domain adaptation.

Tzeng et al. 2017, arXiv 1702.05464.

Dimensions: B batch, N source rows of it, M target rows, D features, C classes.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.encoders.heads import domain_discriminator
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Phase, Progress, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.methods.two_domains import TRAINING_DEFAULTS, TwoDomainMethod, build_classifier

__all__ = ["ADDA", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of ADDA."""

    bottleneck_dim: int = 256
    """Width of the features that the discriminator sees."""

    discriminator_dim: int = 256
    """Width of the discriminator's two hidden layers."""

    source_share: float = 0.5
    """Share of the training in which the source alone is learned, before the target encoder adapts."""

    weight: float = 0.1
    """Factor of the target encoder's adversarial loss. With AdamW it matters only where gradients are
    clipped."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim", "discriminator_dim")
        check_above_zero(self, "weight")
        if not 0 < self.source_share < 1:
            raise ConfigError(
                f"--method.source-share is {self.source_share}; expected a share above 0 and below 1."
            )


class ADDA(TwoDomainMethod):
    """First a network learns the source. Then a copy of its encoder adapts to the target until a
    discriminator cannot tell its features from those of the source through the first encoder; the classifier
    stays as it is. The model is the adapted one, so its accuracy on the source falls.

    Choose it when: Only the target matters, and the two domains look so different that one encoder for both
    loses much.
    """

    name = "adda"
    title = "ADDA"
    summary = "a second encoder learns to imitate the source's features on the target"
    paper = "Tzeng 2017, arXiv 1702.05464"
    options = Config
    # The source's accuracy would choose the network before it adapts.
    training_defaults: ClassVar = TRAINING_DEFAULTS | {"select": "last"}
    monitored_embeddings = ("logits",)

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)
        self.source_network = copy.deepcopy(self.network).requires_grad_(False)
        self.discriminator = domain_discriminator(config.bottleneck_dim, config.discriminator_dim)
        start = config.source_share
        self.phases = (
            Phase("source", ("network",), stop=start),
            Phase("discriminate", ("discriminator",), start=start),
            Phase("imitate", ("network.image", "network.bottleneck"), start=start),
        )

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Classes of the source in the first stage; in the second the domain of both."""
        source, target = batch.source, batch.target
        if step.phase == "source":
            logits = self.network.classify_images(self.views(source, step))  # (N, C)
            return {"logits": logits, "label": source.label}
        adapted = self.network.encode_images(self.views(target, step))  # (M, D)
        if step.phase == "imitate":
            return {"target": self.discriminator(adapted)[:, 0]}  # (M,)
        self.source_network.eval()  # with the statistics that it learned
        with torch.no_grad():
            fixed = self.source_network.encode_images(self.views(source, step))  # (N, D)
        return {
            "source": self.discriminator(fixed)[:, 0],  # (N,)
            "target": self.discriminator(adapted.detach())[:, 0],  # (M,)
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Equation 9, one line a phase; the last has inverted labels instead of a reversed gradient."""
        if step.phase == "source":
            total = F.cross_entropy(embeddings["logits"], embeddings["label"])
            return LossOutput(total, {"cross_entropy": total.detach()})
        target = embeddings["target"]
        if step.phase == "imitate":
            adversarial = F.binary_cross_entropy_with_logits(target, torch.zeros_like(target))
            return LossOutput(self.config.weight * adversarial, {"adversarial": adversarial.detach()})
        source = embeddings["source"]
        total = F.binary_cross_entropy_with_logits(source, torch.zeros_like(source))
        total = (total + F.binary_cross_entropy_with_logits(target, torch.ones_like(target))) / 2
        return LossOutput(total, {"domain": total.detach()})

    def after_step(self, progress: Progress) -> None:
        """Keep the network as the source left it, the last step of the first stage included."""
        if progress._replace(step=progress.step - 1).share < self.config.source_share:
            self.reset_ema()

    def reset_ema(self) -> None:
        """See `Method.reset_ema`."""
        self.source_network.load_state_dict(self.network.state_dict())
