"""BYOL: bootstrap your own latent.

Grill et al., 2020, arXiv 2006.07733, algorithm 1.

Dimensions: B batch, D features, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_head
from likewise.mechanisms import EMAEncoder, cosine_momentum, view_by_view
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, Step
from likewise.methods.checks import check_counts, check_shares
from likewise.networks.image import ImageNetwork
from likewise.objectives import byol_loss
from likewise.views import simclr_views

__all__ = ["BYOL", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of BYOL."""

    hidden_dim: int = 4096
    """Width of the hidden layer of projector and predictor."""

    projection_dim: int = 256
    """Width of the projection that the predictor predicts."""

    ema_momentum: float = 0.996
    """Momentum of the EMA encoder at the start; it rises to 1 along a cosine."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "hidden_dim", "projection_dim")
        check_shares(self, "ema_momentum")


class BYOL(Method):
    """A network sees one view of an image and predicts, through a small predictor, what its EMA encoder
    computes from another view. There are no negatives: the predictor and the EMA encoder prevent the collapse
    to one embedding for all images. The EMA encoder's weights are a moving average of the network's, slower
    and slower towards the end.

    Choose it when: You have no labels and small batches, where contrastive methods run short of negatives;
    its features are among the best after long training. It needs longer than SimCLR to show results; watch
    the signs of collapse.
    """

    name = "byol"
    title = "BYOL"
    summary = "a network predicts its EMA encoder's projection of another view; no negatives"
    paper = "Grill 2020, arXiv 2006.07733"
    cost = 1.5
    needs = Needs("image")
    options = Config
    # SimCLR's operations at MoCo v2's strength; no blur at 32 px and below.
    view_families: ClassVar = {"views": simclr_views}
    training_defaults: ClassVar = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    config: Config
    network: ImageNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder())
        hidden, projection = config.hidden_dim, config.projection_dim
        self.projector = mlp_head(self.network.dim, hidden, projection)
        self.predictor = mlp_head(projection, hidden, projection)
        self.ema_encoder = EMAEncoder(self._online())

    def _online(self) -> nn.Module:
        return nn.Sequential(self.network, self.projector)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Both views through the online network and the EMA encoder; BatchNorm sees one view at a time, as in
        the paper's code."""
        pixels = self.views(batch, step, 2)  # (2B, 3, S, S)
        projections = view_by_view(self.projector, view_by_view(self.network, pixels))  # (2B, P)
        predictions = view_by_view(self.predictor, projections).chunk(2)  # (B, P) each
        targets = view_by_view(self.ema_encoder, pixels).chunk(2)  # (B, P) each, no graph
        return {
            "first_prediction": predictions[0],
            "second_prediction": predictions[1],
            "first_target": targets[0],
            "second_target": targets[1],
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Equation 2: each view predicts the other, both directions summed."""
        total = byol_loss(embeddings["first_prediction"], embeddings["second_target"])
        total = total + byol_loss(embeddings["second_prediction"], embeddings["first_target"])
        return LossOutput(total, {"byol_loss": total.detach()})

    def reset_ema(self) -> None:
        """Copy network and projector."""
        self.ema_encoder.follow(self._online(), 0.0)

    def after_step(self, progress: Progress) -> None:
        """Update the EMA encoder with the momentum of section 3.3."""
        self.ema_encoder.follow(self._online(), cosine_momentum(self.config.ema_momentum, progress.share))
