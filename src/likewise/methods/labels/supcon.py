"""SupCon: supervised contrastive learning.

Khosla et al., 2020, arXiv 2004.11362. As SimCLR, but all views of a class belong together: labels say which
pictures are alike, the contrast spreads the classes apart.

Dimensions: B batch, V views, D features, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_projector
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, make_views
from likewise.methods.checks import check_above_zero, check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import supervised_contrastive
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, simclr_views

__all__ = ["Config", "SupCon"]

_VIEWS = ("first", "second")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of supervised contrast."""

    temperature: float = 0.1
    """Divides the cosine similarities."""

    num_views: Literal[1, 2] = 2
    """Random views of each picture: two, as in the paper; one where the order is `classes`, so that each
    picture meets others of its class anyway: a step then costs half as much, or sees twice the pictures."""

    hidden_dim: int | None = None
    """Width of the projector's hidden layer; by default that of the features."""

    projection_dim: int = 128
    """Width of the space the views are compared in."""

    embedding_dim: int | None = None
    """Width of a linear map of the features, which is compared and kept, as triplets have it, in place of the
    paper's projector, which is thrown away: for distances between classes to come (one-shot recognition,
    verification) rather than features for a classifier."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_above_zero(self, "temperature")
        check_counts(self, "hidden_dim", "projection_dim", "embedding_dim")
        if self.embedding_dim is not None:
            for name in ("hidden_dim", "projection_dim"):
                if getattr(self, name) != getattr(type(self), name):
                    raise ConfigError(
                        f"method.{name} is a projector's, and method.embedding_dim {self.embedding_dim} "
                        "stands in its place; leave one of them out."
                    )


class SupCon(Method):
    """An image encoder with a projector, or with a linear map into the space that is compared and kept."""

    name = "supcon"
    title = "SupCon"
    summary = "all views of all pictures of a class belong together"
    paper = "Khosla 2020, arXiv 2004.11362"
    idea = (
        "As SimCLR, with labels: all views of all pictures of a class belong together, and apart from "
        "all others. Each batch holds several examples of each of its classes. Pictures without a "
        "label are set aside."
    )
    choose_when = (
        "You have labels and want embeddings rather than a classifier: retrieval, few-shot "
        "recognition, classes to come. For these, one view a picture and a space that is kept "
        "(num_views 1, embedding_dim 128) learn more in the same time. On a fixed set of classes a "
        "linear probe on it is a strong classifier too."
    )
    cost = 1.0
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
        """SimCLR's operations, at MoCo v2's strength; without blur at 32 px and below."""
        return simclr_views(image_size)

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.network = ImageNetwork(ingredients.image_encoder(), dim=config.embedding_dim)
        dim = self.network.dim
        self.projector: nn.Module = nn.Identity()
        if config.embedding_dim is None:
            self.projector = mlp_projector(dim, config.hidden_dim or dim, config.projection_dim, scaled=True)

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """All views in one forward pass."""
        assert batch.label is not None
        count = self.config.num_views
        views = tuple(range(count))
        pixels = make_views(batch, draw, self.network.image, self.view_config, views=views)  # (VB, 3, S, S)
        projections: Tensor = self.projector(self.network(pixels))
        named = zip(_VIEWS[:count], projections.chunk(count), strict=True)  # (B, P) each
        return {**dict(named), "label": batch.label}

    def objective(self, embeddings: Embeddings) -> LossOutput:
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
