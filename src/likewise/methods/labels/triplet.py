"""Triplets: an anchor is nearer to a positive than to a negative, by a margin.

FaceNet: Schroff, Kalenichenko and Philbin 2015, arXiv 1503.03832, equations 2 to 4 (semi-hard negatives).
Batch-hard: Hermans, Beyer and Leibe 2017, arXiv 1703.07737, equation 5. Each batch holds some classes with
some examples each; the triplets are chosen within it.

Dimensions: B batch, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, make_views
from likewise.methods.checks import check_above_zero, check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import triplet_loss
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, view_preset

__all__ = ["Config", "Triplet"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of the triplet loss."""

    margin: float = 0.2
    """By how much the negative must be farther. Distances of unit vectors are at most 2, and what `semihard`
    and `all` compare is their squares, at most 4; `hard` compares the distances themselves."""

    mining: Literal["all", "hard", "semihard"] = "semihard"
    """`semihard`: for each positive the nearest negative that is farther (FaceNet); `hard`: the farthest
    positive and nearest negative of each anchor; `all`: every triplet of the batch."""

    embedding_dim: int | None = 128
    """Width of a linear map of the features, which is compared and kept (FaceNet's); `None` compares the
    features themselves."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_above_zero(self, "margin")
        check_counts(self, "embedding_dim")


class Triplet(Method):
    """An image encoder with a linear map into the space that is compared and kept."""

    name = "triplet"
    title = "Triplets"
    summary = "a picture is nearer to those of its class than to others, by a margin"
    paper = "Schroff 2015, arXiv 1503.03832; Hermans 2017, arXiv 1703.07737"
    idea = (
        "An anchor should be nearer to a picture of its class than to one of another, by a margin. "
        "The triplets are chosen within each batch: the hardest, the semi-hard ones or all. Distances "
        "are those of unit vectors, which a linear map makes of the features."
    )
    choose_when = (
        "Labels with many classes of few examples each, and you want distances that mean something: "
        "verification, few-shot, deduplication. Semi-hard mining is the safe choice; the hardest "
        "triplets can collapse an untrained network."
    )
    cost = 0.5
    needs = Needs("image", "label")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "order": "classes",
    }

    network: ImageNetwork

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """Mild: the labels say what belongs together."""
        del image_size
        return view_preset("mild")

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.network = ImageNetwork(ingredients.image_encoder(), dim=config.embedding_dim)

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """One view of each picture."""
        assert batch.label is not None
        pixels = make_views(batch, draw, self.network.image, self.view_config, views=(0,))  # (B, 3, S, S)
        return {"features": self.network(pixels), "label": batch.label}

    def objective(self, embeddings: Embeddings) -> LossOutput:
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
