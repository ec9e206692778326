"""SupCon: supervised contrastive learning.

Khosla et al., 2020, arXiv 2004.11362.

Dimensions: B batch, V views, D features, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_projector
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import supervised_contrastive
from likewise.views import simclr_views

__all__ = ["Config", "SupCon"]

_VIEWS = ("first", "second")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of supervised contrast."""

    temperature: float = 0.1
    """Divides the cosine similarities."""

    num_views: Literal[1, 2] = 2
    """Random views of each image: two as in the paper, or one with the order `classes`, where each image
    meets others of its class anyway: a step then costs half as much, or sees twice the images."""

    hidden_dim: int | None = None
    """Width of the projector's hidden layer; by default that of the features."""

    projection_dim: int = 128
    """Width of the space in which views are compared."""

    embedding_dim: int | None = None
    """Width of a linear projection of the features, which is compared and kept as for triplets, instead of
    the paper's projector, which is discarded: for distances between new classes (one-shot recognition,
    verification) rather than features for a classifier."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_above_zero(self, "temperature")
        check_counts(self, "hidden_dim", "projection_dim", "embedding_dim")
        if self.embedding_dim is None:
            return
        for name in ("hidden_dim", "projection_dim"):
            if getattr(self, name) != getattr(type(self), name):
                raise ConfigError(
                    f"method.{name} is an option of the projector, which method.embedding_dim "
                    f"{self.embedding_dim} replaces; leave one of them out."
                )


class SupCon(Method):
    """As SimCLR, with labels: all views of all images of a class are positives, all others negatives. Each
    batch holds several examples of each of its classes. Images without a label are left out.

    Choose it when: You have labels and want embeddings rather than a classifier: retrieval, few-shot
    recognition, new classes. For these, one view per image and a projection that is kept (num_views 1,
    embedding_dim 128) learn more in the same time. On a fixed set of classes a linear probe on it is a strong
    classifier too.
    """

    name = "supcon"
    title = "SupCon"
    summary = "all views of all images of a class are positives"
    paper = "Khosla 2020, arXiv 2004.11362"
    cost = 1.0
    needs = Needs("image", "label")
    options = Config
    # SimCLR's operations at MoCo v2's strength; no blur at 32 px and below.
    view_families: ClassVar = {"views": simclr_views}
    training_defaults: ClassVar = {"learning_rate": 1e-3, "weight_decay": 1e-4, "order": "classes"}

    config: Config
    network: ImageNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder(), dim=config.embedding_dim)
        dim = self.network.dim
        self.projector: nn.Module = nn.Identity()
        if config.embedding_dim is None:
            self.projector = mlp_projector(dim, config.hidden_dim or dim, config.projection_dim, scaled=True)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """All views in one forward pass."""
        count = self.config.num_views
        projections = self.projector(self.network(self.views(batch, step, count))).chunk(count)  # (B, P) each
        return dict(zip(_VIEWS, projections, strict=False)) | {"label": batch.label}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """L_out (equation 2) over all V B views."""
        views = [embeddings[name] for name in _VIEWS if name in embeddings]
        features = torch.cat(views)  # (VB, P)
        labels = embeddings["label"].repeat(len(views))
        total = supervised_contrastive(
            features,
            labels,
            temperature=self.config.temperature,
            all_features=gather_rows(features),
            all_labels=gather_rows(labels),
            rows=own_rows(features),
        )
        return LossOutput(total, {"supervised_contrastive": total.detach()})
