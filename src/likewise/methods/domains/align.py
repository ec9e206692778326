"""Alignment of two domains by a distance between their features.

Long et al. 2015, arXiv 1502.02791 (DAN, mmd); Sun and Saenko 2016, arXiv 1607.01719 (Deep CORAL, coral).

Dimensions: B batch, N source rows of it, M target rows, D features, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.methods.two_domains import TwoDomainMethod, build_classifier
from likewise.objectives import coral, mean_difference, mmd

__all__ = ["Align", "Config"]

# The distances differ by orders of magnitude: coral is divided by 4 D^2, the mean difference is a sum over D.
_WEIGHTS = {"mmd": 1.0, "coral": 100.0, "mean": 0.1}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of alignment."""

    distance: Literal["mmd", "coral", "mean"] = "mmd"
    """`mmd`: maximum mean discrepancy with several kernels; `coral`: difference of the covariances; `mean`:
    difference of the means, a baseline."""

    weight: float | None = None
    """Factor of the distance; by default 1 for mmd, 100 for coral and 0.1 for mean."""

    num_kernels: int = 5
    """Gaussian kernels of mmd, each twice as wide as the one before, the middle one the median distance."""

    bottleneck_dim: int = 256
    """Width of the features that are compared."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim", "num_kernels")
        check_above_zero(self, "weight")


class Align(TwoDomainMethod):
    """A classifier learns the source's labels, while a distance between the features of the two domains is
    made small. There is no adversary, so training is as steady as a classifier's.

    Choose it when: The domains differ moderately, or an adversary does not settle. Batches should be large:
    the distance is estimated from each.
    """

    name = "align"
    title = "Alignment"
    summary = "a distance between two domains' features is made small (MMD, CORAL)"
    paper = "Long 2015, arXiv 1502.02791; Sun 2016, arXiv 1607.01719"
    options = Config
    monitored_embeddings = ("logits",)

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)
        self.weight = _WEIGHTS[config.distance] if config.weight is None else config.weight

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Features of both domains, and classes of the source."""
        count = len(batch.source)
        features = self.network.encode_images(self.views(batch, step))  # (B, D)
        return {
            "logits": self.network.classifier(features[:count]),  # (N, C)
            "label": batch.source.label,
            "source": features[:count],  # (N, D)
            "target": features[count:],  # (M, D)
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy on the source, and the distance (DAN's equation 4, Deep CORAL's 6)."""
        classes = F.cross_entropy(embeddings["logits"], embeddings["label"])
        distance = self._distance(gather_rows(embeddings["source"]), gather_rows(embeddings["target"]))
        parts = {"cross_entropy": classes.detach(), self.config.distance: distance.detach()}
        return LossOutput(classes + self.weight * distance, parts)

    def _distance(self, source: Tensor, target: Tensor) -> Tensor:
        if self.config.distance == "mmd":
            return mmd(source, target, num_kernels=self.config.num_kernels)
        return coral(source, target) if self.config.distance == "coral" else mean_difference(source, target)
