"""Triplets: an anchor is nearer to a positive than to a negative, by a margin.

FaceNet: Schroff, Kalenichenko and Philbin 2015, arXiv 1503.03832, equations 2 to 4 (semi-hard negatives).
Batch-hard: Hermans, Beyer and Leibe 2017, arXiv 1703.07737, equation 5. Each batch holds some classes with
some examples each; the triplets are mined within it.

Dimensions: B batch, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import triplet_loss
from likewise.views import view_preset

__all__ = ["Config", "Triplet"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the triplet loss."""

    margin: float = 0.2
    """By how much the negative must be farther. Distances of unit vectors are at most 2. `semihard` and `all`
    compare squared distances, at most 4; `hard` compares distances."""

    mining: Literal["all", "hard", "semihard"] = "semihard"
    """`semihard`: for each positive the nearest negative that is farther (FaceNet); `hard`: the farthest
    positive and nearest negative of each anchor; `all`: every triplet of the batch."""

    embedding_dim: int | None = 128
    """Width of a linear projection of the features, which is compared and kept (FaceNet's); `None` compares
    the features themselves."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_above_zero(self, "margin")
        check_counts(self, "embedding_dim")


class Triplet(Method):
    """An anchor should be nearer to an image of its class than to one of another, by a margin. The triplets
    are mined within each batch: the hardest, the semi-hard ones or all. Distances are those of unit vectors,
    a linear projection of the features.

    Choose it when: You have labels with many classes of few examples each, and you want distances that mean
    something: verification, few-shot, deduplication. Semi-hard mining is the safe choice; the hardest
    triplets can collapse an untrained network.
    """

    name = "triplet"
    title = "Triplets"
    summary = "an image is nearer to those of its class than to others, by a margin"
    paper = "Schroff 2015, arXiv 1503.03832; Hermans 2017, arXiv 1703.07737"
    cost = 0.5
    needs = Needs("image", "label")
    options = Config
    view_families: ClassVar = {"views": lambda _: view_preset("mild")}
    training_defaults: ClassVar = {"learning_rate": 1e-3, "weight_decay": 1e-4, "order": "classes"}

    config: Config
    network: ImageNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder(), dim=config.embedding_dim)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """One view of each image."""
        return {"features": self.network(self.views(batch, step)), "label": batch.label}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """The mined triplets of the whole batch, at unit length."""
        features, label = embeddings["features"], embeddings["label"]
        total = triplet_loss(
            features,
            label,
            margin=self.config.margin,
            mining=self.config.mining,
            all_features=gather_rows(features),
            all_labels=gather_rows(label),
            rows=own_rows(features),
        )
        return LossOutput(total, {"triplet_loss": total.detach()})
