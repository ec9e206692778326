"""BYOL: bootstrap your own latent.

Grill et al., 2020, arXiv 2006.07733, algorithm 1. The online network predicts what its slowly moving twin
says of another view of the same picture. There are no negatives; predictor and twin keep it from collapse.

Dimensions: B batch, D features, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_head
from likewise.mechanisms import EMAEncoder, cosine_momentum, view_by_view
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, make_views
from likewise.methods.checks import check_counts, check_shares
from likewise.networks.image import ImageNetwork
from likewise.objectives import byol_loss
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, simclr_views

__all__ = ["BYOL", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of BYOL."""

    hidden_dim: int = 4096
    """Width of the hidden layer of projector and predictor."""

    projection_dim: int = 256
    """Width of the space in which the twin is predicted."""

    ema_momentum: float = 0.996
    """The twin's momentum at the start; it rises to 1 along a cosine."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_counts(self, "hidden_dim", "projection_dim")
        check_shares(self, "ema_momentum")


class BYOL(Method):
    """An image encoder with projector and predictor, and the twin of the first two."""

    name = "byol"
    title = "BYOL"
    summary = "a network predicts what its slow twin says of another view; no negatives"
    paper = "Grill 2020, arXiv 2006.07733"
    idea = (
        "A network sees one view of a picture and predicts, through a small predictor, what its "
        "slowly moving twin says of another view. Nothing is pushed apart: predictor and twin keep "
        "the solution in which all pictures are the same from being found. The twin's weights are a "
        "moving average of the network's, ever slower towards the end."
    )
    choose_when = (
        "No labels and small batches, where contrastive methods run short of negatives; it gives "
        "among the best features once trained long enough. It needs longer than SimCLR to show "
        "anything, and the signs of collapse deserve a look."
    )
    cost = 1.5
    needs = Needs("image")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    network: ImageNetwork

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """SimCLR's operations, at MoCo v2's strength; without blur at 32 px and below."""
        return simclr_views(image_size)

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.network = ImageNetwork(ingredients.image_encoder())
        hidden, projection = config.hidden_dim, config.projection_dim
        self.projector = mlp_head(self.network.dim, hidden, projection)
        self.predictor = mlp_head(projection, hidden, projection)
        self.twin = EMAEncoder(self._online())

    def _online(self) -> nn.Module:
        return nn.Sequential(self.network, self.projector)

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """Both views through the online network and the twin; BatchNorm sees one at a time, as in the paper's
        code."""
        pixels = make_views(batch, draw, self.network.image, self.view_config)  # (2B, 3, S, S)
        projections = view_by_view(self.projector, view_by_view(self.network, pixels))  # (2B, P)
        predictions = view_by_view(self.predictor, projections).chunk(2)  # (B, P) each
        targets = view_by_view(self.twin, pixels).chunk(2)  # (B, P) each, no graph
        return {
            "first_prediction": predictions[0],
            "second_prediction": predictions[1],
            "first_target": targets[0],
            "second_target": targets[1],
        }

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """Equation 2, each view predicting the other, both directions summed."""
        total = byol_loss(embeddings["first_prediction"], embeddings["second_target"])
        total = total + byol_loss(embeddings["second_prediction"], embeddings["first_target"])
        return LossOutput(total, {"byol_loss": total.detach()})

    def copy_to_twins(self) -> None:
        """The twin is the network again."""
        self.twin.follow(self._online(), 0.0)

    def after_step(self, progress: Progress) -> None:
        """The twin follows, ever more slowly (section 3.3)."""
        self.twin.follow(self._online(), cosine_momentum(self.config.ema_momentum, progress.share))
