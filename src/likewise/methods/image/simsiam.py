"""SimSiam: exploring simple Siamese representation learning.

Chen and He, 2020, arXiv 2011.10566, algorithm 1.

Dimensions: B batch, D features, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_head, mlp_projector
from likewise.mechanisms import view_by_view
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import simsiam_loss
from likewise.views import simclr_views

__all__ = ["Config", "SimSiam"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of SimSiam."""

    projection_dim: int = 2048
    """Width of the projector, hidden layers and output."""

    predictor_dim: int = 512
    """Width of the predictor's bottleneck; a quarter of the projection, as in the paper (appendix B)."""

    num_projector_layers: int = 3
    """Linear layers of the projector: 3 as for ImageNet, 2 as for CIFAR."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "projection_dim", "predictor_dim")
        check_counts(self, "num_projector_layers", least=2)


class SimSiam(Method):
    """One network sees two views. From each, a predictor predicts the network's projection of the other,
    which gets no gradient; this alone prevents the collapse to one embedding for all images. There are no
    negatives, no EMA encoder and no queue.

    Choose it when: You have no labels, small batches and little memory: BYOL without the EMA encoder. Like
    BYOL it needs patience and a learning rate that is not too high; watch the signs of collapse.
    """

    name = "simsiam"
    title = "SimSiam"
    summary = "a network predicts its own projection of another view, without gradient; no negatives, no EMA"
    paper = "Chen 2020, arXiv 2011.10566"
    cost = 1.1
    needs = Needs("image")
    options = Config
    # MoCo v2's, as in the paper (appendix A); no blur at 32 px and below.
    view_families: ClassVar = {"views": simclr_views}
    training_defaults: ClassVar = {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "weight_decay": 1e-4,
        "warmup_share": 0.0,
    }
    # The predictor should keep up with the projections, so its rate does not decay (section 4.2).
    constant_rate = ("predictor",)

    config: Config
    network: ImageNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder())
        width = config.projection_dim
        self.projector = mlp_projector(self.network.dim, width, width, num_layers=config.num_projector_layers)
        self.predictor = mlp_head(width, config.predictor_dim, width)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Both views through all parts; BatchNorm sees one view at a time, as in the paper's code."""
        features = view_by_view(self.network, self.views(batch, step, 2))  # (2B, D)
        projections = view_by_view(self.projector, features)  # (2B, P)
        predictions = view_by_view(self.predictor, projections).chunk(2)  # (B, P) each
        targets = projections.detach().chunk(2)  # stop-gradient: without it training collapses (section 4.1)
        return {
            "first_prediction": predictions[0],
            "second_prediction": predictions[1],
            "first_target": targets[0],
            "second_target": targets[1],
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Equation 4: the mean of both directions."""
        first = simsiam_loss(embeddings["first_prediction"], embeddings["second_target"])
        second = simsiam_loss(embeddings["second_prediction"], embeddings["first_target"])
        total = (first + second) / 2
        return LossOutput(total, {"simsiam_loss": total.detach()})
