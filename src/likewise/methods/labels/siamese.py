"""Siamese networks: one network embeds both images of a pair.

Pairs and margin: Hadsell, Chopra and LeCun 2006, "Dimensionality reduction by learning an invariant mapping",
equation 4. Verification and one-shot recognition: Koch, Zemel and Salakhutdinov 2015, "Siamese neural
networks for one-shot image recognition". A modern comparison: Musgrave 2020, arXiv 2003.08505.

Dimensions: B batch (B / 2 drawn pairs), D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from likewise.batches.batch import Batch
from likewise.batches.samplers import OrderName
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import pair_loss, siamese_loss
from likewise.views import view_preset

__all__ = ["Config", "Siamese"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of Siamese networks."""

    margin: float = 1.0
    """Distance beyond which images of different classes add no loss; unit vectors are at most 2 apart."""

    pairs: Literal["drawn", "batch"] = "drawn"
    """`drawn`: neighbouring rows, half of them of one class (the order `pairs`); `batch`: every pair of the
    batch, together with `--training.order classes`: more to learn from at the same cost."""

    embedding_dim: int | None = 128
    """Width of a linear projection of the features, which is compared and kept; `None` compares the features
    themselves."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "embedding_dim")
        if not 0 < self.margin <= 2:
            raise ConfigError(
                f"--method.margin is {self.margin}; unit vectors are compared: expected within (0, 2]."
            )


class Siamese(Method):
    """One network embeds both images of a pair. Pairs of one class are pulled together, pairs of two classes
    are pushed beyond a margin. Half of the pairs of each batch are of one class.

    Choose it when: You have labels with many classes and few examples each, and the question is whether two
    images show the same: signatures, faces, parts. Triplets or SupCon usually separate classes better in the
    same time, because they compare all rows of a batch.
    """

    name = "siamese"
    title = "Siamese networks"
    summary = "pairs of one class are pulled together, pairs of two classes pushed apart"
    paper = "Hadsell 2006; Koch 2015; see Musgrave 2020, arXiv 2003.08505"
    cost = 0.7
    needs = Needs("image", "label")
    options = Config
    view_families: ClassVar = {"views": lambda _: view_preset("mild")}
    training_defaults: ClassVar = {"learning_rate": 1e-3, "weight_decay": 1e-4, "order": "pairs"}

    config: Config
    network: ImageNetwork

    @classmethod
    def check_order(cls, config: Config, order: OrderName) -> None:
        """Drawn pairs are neighbouring rows: in batches by class all would be of one class."""
        if config.pairs == "drawn" and order != "pairs":
            raise ConfigError(
                f"--training.order {order}: --method.pairs drawn needs the order pairs, which puts the "
                "images of a pair side by side; leave --training.order out, or give --method.pairs batch too."
            )

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder(), dim=config.embedding_dim)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """One view of each image; the images of a drawn pair are rows 2i and 2i + 1."""
        return {"features": self.network(self.views(batch, step)), "label": batch.label}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
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
