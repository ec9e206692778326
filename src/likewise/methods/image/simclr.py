"""SimCLR: a simple framework for contrastive learning of visual representations.

Chen, Kornblith, Norouzi and Hinton, 2020, arXiv 2002.05709, algorithm 1. Two random views of each image
are pulled together and pushed away from all other views of the batch, after a projector that is thrown away.

Dimensions: B batch, D features, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_projector
from likewise.mechanisms import view_by_view
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, make_views
from likewise.methods.checks import check_above_zero, check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import nt_xent
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, simclr_views

__all__ = ["Config", "SimCLR"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of SimCLR."""

    temperature: float = 0.5
    """Divides the cosine similarities: 0.5 suits small pictures and batches (CIFAR), 0.1 large ones
    (ImageNet)."""

    hidden_dim: int | None = None
    """Width of the projector's hidden layer; by default that of the features."""

    projection_dim: int = 128
    """Width of the space the views are compared in."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_above_zero(self, "temperature")
        check_counts(self, "hidden_dim", "projection_dim")


class SimCLR(Method):
    """An image encoder with a projector."""

    name = "simclr"
    title = "SimCLR"
    summary = "two random views of a picture belong together, those of other pictures do not"
    paper = "Chen 2020, arXiv 2002.05709"
    idea = (
        "Two random views of each picture are drawn. Each must find the other among all other views "
        "of the batch, after a projector that is thrown away. What the views have in common, whatever "
        "was cropped and recoloured, is what the network learns to see."
    )
    choose_when = (
        "The first thing to try without labels: simple, fast to show results, hard to break. It wants "
        "batches of 256 or more; with fewer use MoCo or BYOL."
    )
    cost = 1.0
    needs = Needs("image")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    network: ImageNetwork

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """The paper's operations, at MoCo v2's strength; without blur at 32 px and below (appendix B.9)."""
        return simclr_views(image_size)

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.network = ImageNetwork(ingredients.image_encoder())
        dim = self.network.dim
        self.projector = mlp_projector(dim, config.hidden_dim or dim, config.projection_dim, scaled=True)

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """Both views through network and projector.

        BatchNorm sees one view at a time. In the paper's code it sees both together, which was one point and
        a half worse on CIFAR-10 (nearest neighbours and linear probe after 20 epochs in batches of 128).
        """
        pixels = make_views(batch, draw, self.network.image, self.view_config)  # (2B, 3, S, S)
        features = view_by_view(self.network, pixels)  # (2B, D)
        first, second = view_by_view(self.projector, features).chunk(2)  # (B, P) each
        assert batch.group is not None
        return {"first": first, "second": second, "group": batch.group}

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """NT-Xent (equation 1), mean over all 2B rows; copies of a picture are no negatives."""
        first, second, group = (embeddings[name] for name in ("first", "second", "group"))
        total = nt_xent(
            first,
            second,
            temperature=self.config.temperature,
            all_first=gather_rows(first),
            all_second=gather_rows(second),
            rows=own_rows(first),
            groups=group,
            all_groups=gather_rows(group),
        )
        return LossOutput(total, {"nt_xent": total.detach()})
