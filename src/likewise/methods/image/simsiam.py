"""SimSiam: exploring simple Siamese representation learning.

Chen and He, 2020, arXiv 2011.10566, algorithm 1. One network sees two views; from each a predictor guesses
the other's projection, which gets no gradient. No negatives, no twin, no large batch.

Dimensions: B batch, D features, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_head, mlp_projector
from likewise.mechanisms import view_by_view
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, make_views
from likewise.methods.checks import check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import simsiam_loss
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, simclr_views

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
        """Refuse what cannot work."""
        check_counts(self, "projection_dim", "predictor_dim")
        check_counts(self, "num_projector_layers", least=2)


class SimSiam(Method):
    """An image encoder with projector and predictor."""

    name = "simsiam"
    title = "SimSiam"
    summary = "a network predicts its own answer to another view, which is held still; no negatives, no twin"
    paper = "Chen 2020, arXiv 2011.10566"
    idea = (
        "One network sees two views; from each a predictor guesses what the network says of the "
        "other. That other answer is held still (no gradient), which alone keeps the network from "
        "saying the same of all pictures. There are no negatives, no twin and no queue."
    )
    choose_when = (
        "No labels, small batches and little memory: BYOL without the twin. Like BYOL it needs "
        "patience, and a learning rate that is not too high; watch the signs of collapse."
    )
    cost = 1.1
    needs = Needs("image")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "weight_decay": 1e-4,
        "warmup_share": 0.0,
    }
    # The predictor should be up to date with the projections it guesses: it keeps its rate (section 4.2).
    constant_rate = ("predictor",)

    network: ImageNetwork

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """MoCo v2's, as in the paper (appendix A); without blur at 32 px and below."""
        return simclr_views(image_size)

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.network = ImageNetwork(ingredients.image_encoder())
        width = config.projection_dim
        self.projector = mlp_projector(self.network.dim, width, width, num_layers=config.num_projector_layers)
        self.predictor = mlp_head(width, config.predictor_dim, width)

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """Both views through all parts; BatchNorm sees one at a time, as in the paper's code."""
        pixels = make_views(batch, draw, self.network.image, self.view_config)  # (2B, 3, S, S)
        projections = view_by_view(self.projector, view_by_view(self.network, pixels))  # (2B, P)
        predictions = view_by_view(self.predictor, projections).chunk(2)  # (B, P) each
        targets = projections.detach().chunk(2)  # stop-gradient: without it all collapses (section 4.1)
        return {
            "first_prediction": predictions[0],
            "second_prediction": predictions[1],
            "first_target": targets[0],
            "second_target": targets[1],
        }

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """Equation 4: the mean of both directions."""
        first = simsiam_loss(embeddings["first_prediction"], embeddings["second_target"])
        second = simsiam_loss(embeddings["second_prediction"], embeddings["first_target"])
        total = (first + second) / 2
        return LossOutput(total, {"simsiam_loss": total.detach()})
