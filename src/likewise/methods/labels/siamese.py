"""Siamese networks: one network sees both pictures of a pair; same ones come near, different ones apart.

Pairs and margin: Hadsell, Chopra and LeCun 2006, "Dimensionality reduction by learning an invariant mapping",
equation 4. Verification and one-shot recognition with them: Koch, Zemel and Salakhutdinov 2015, "Siamese
neural networks for one-shot image recognition"; compared today as in Musgrave 2020, arXiv 2003.08505.

Dimensions: B batch (B / 2 drawn pairs), D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from likewise.batches.batch import Batch
from likewise.batches.samplers import OrderName
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, make_views
from likewise.methods.checks import check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import pair_loss, siamese_loss
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, view_preset

__all__ = ["Config", "Siamese"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of Siamese networks."""

    margin: float = 1.0
    """Distance beyond which different pictures no longer count; of unit vectors it is at most 2."""

    pairs: Literal["drawn", "batch"] = "drawn"
    """`drawn`: neighbouring rows, half of them of one class (the order `pairs`); `batch`: every pair of the
    batch, to be used with `--training.order classes`: more to learn from at the same cost."""

    embedding_dim: int | None = 128
    """Width of a linear map of the features, which is compared and kept; `None` compares the features
    themselves."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_counts(self, "embedding_dim")
        if not 0 < self.margin <= 2:
            raise ConfigError(
                f"method.margin is {self.margin}; unit vectors are compared: expected within (0, 2]."
            )


class Siamese(Method):
    """An image encoder with a linear map into the space that is compared and kept."""

    name = "siamese"
    title = "Siamese networks"
    summary = "pairs of one class come near, pairs of two classes go apart"
    paper = "Hadsell 2006; Koch 2015; see Musgrave 2020, arXiv 2003.08505"
    idea = (
        "One network sees both pictures of a pair and compares its two answers. Pairs of one class "
        "are drawn together, pairs of two classes are pushed beyond a margin. Half of the pairs of "
        "each batch are of one class."
    )
    choose_when = (
        "Labels with many classes and few examples each, and the question is whether two pictures "
        "show the same: signatures, faces, parts. Triplets or SupCon usually separate classes better "
        "for the same time, since they compare all rows of a batch."
    )
    cost = 0.7
    needs = Needs("image", "label")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 1e-3,
        "weight_decay": 1e-4,
        "order": "pairs",
    }

    network: ImageNetwork

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """Mild: the labels say what belongs together."""
        del image_size
        return view_preset("mild")

    @classmethod
    def check_order(cls, config: Config, order: OrderName) -> None:
        """Drawn pairs are neighbouring rows: in batches by class all would be of one class."""
        if config.pairs == "drawn" and order != "pairs":
            raise ConfigError(
                f"training.order {order}: only the order pairs puts the pairs side by side that method.pairs "
                "drawn compares; leave --training.order out, or give --method.pairs batch too."
            )

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.network = ImageNetwork(ingredients.image_encoder(), dim=config.embedding_dim)

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """One view of each picture; both pictures of a drawn pair are rows 2i and 2i + 1."""
        assert batch.label is not None
        pixels = make_views(batch, draw, self.network.image, self.view_config, views=(0,))  # (B, 3, S, S)
        return {"features": self.network(pixels), "label": batch.label}

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """Equation 4 over the pairs."""
        features, label = embeddings["features"], embeddings["label"]
        if self.config.pairs == "batch":
            total = pair_loss(
                features,
                label,
                margin=self.config.margin,
                all_features=gather_rows(features),
                all_labels=gather_rows(label),
                rows=own_rows(features),
            )
            return LossOutput(total, {"siamese_loss": total.detach()})
        pairs = len(label) // 2
        first, second = features[: 2 * pairs].view(pairs, 2, -1).unbind(1)  # (B / 2, D) each
        same = label[: 2 * pairs : 2] == label[1 : 2 * pairs : 2]
        total = siamese_loss(first, second, same, margin=self.config.margin)
        return LossOutput(total, {"siamese_loss": total.detach(), "share_same": same.float().mean()})
