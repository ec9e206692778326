"""SimCLR: a simple framework for contrastive learning of visual representations.

Chen, Kornblith, Norouzi and Hinton, 2020, arXiv 2002.05709, algorithm 1.

Dimensions: B batch, D features, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_projector
from likewise.mechanisms import view_by_view
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.networks.image import ImageNetwork
from likewise.objectives import information_bound, nt_xent, num_candidates
from likewise.views import simclr_views

__all__ = ["Config", "SimCLR"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of SimCLR."""

    temperature: float = 0.5
    """Divides the cosine similarities: 0.5 suits small images and batches (CIFAR), 0.1 large ones
    (ImageNet)."""

    hidden_dim: int | None = None
    """Width of the projector's hidden layer; by default that of the features."""

    projection_dim: int = 128
    """Width of the space in which views are compared."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_above_zero(self, "temperature")
        check_counts(self, "hidden_dim", "projection_dim")


class SimCLR(Method):
    """Two random views of each image are drawn. Each view must find the other among all other views of the
    batch, after a projector that is discarded after training. What the views share despite crops and color
    changes is what the network learns to see.

    Choose it when: You have no labels. It is the first method to try: simple, quick to show results, hard to
    break. It wants batches of 256 or more; with fewer, use MoCo or BYOL.
    """

    name = "simclr"
    title = "SimCLR"
    summary = "two random views of an image are positives, views of other images are negatives"
    paper = "Chen 2020, arXiv 2002.05709"
    cost = 1.0
    needs = Needs("image")
    options = Config
    # The paper's operations at MoCo v2's strength; no blur at 32 px and below (appendix B.9).
    view_families: ClassVar = {"views": simclr_views}
    training_defaults: ClassVar = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    config: Config
    network: ImageNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder())
        dim = self.network.dim
        self.projector = mlp_projector(dim, config.hidden_dim or dim, config.projection_dim, scaled=True)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Both views through network and projector.

        BatchNorm sees one view at a time. The paper's code normalises both together, which was 1.5 points
        worse on CIFAR-10 (nearest neighbours and linear probe after 20 epochs in batches of 128).
        """
        features = view_by_view(self.network, self.views(batch, step, 2))  # (2B, 3, S, S) to (2B, D)
        first, second = view_by_view(self.projector, features).chunk(2)  # (B, P) each
        return {"first": first, "second": second, "group": batch.group}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """NT-Xent (equation 1), mean over all 2B rows; copies of an image are not negatives."""
        first, second, group = (embeddings[name] for name in ("first", "second", "group"))
        all_groups = gather_rows(group)
        total = nt_xent(
            first,
            second,
            temperature=self.config.temperature,
            all_first=gather_rows(first),
            all_second=gather_rows(second),
            rows=own_rows(first),
            groups=group,
            all_groups=all_groups,
        )
        bound = information_bound(total, num_candidates(group, all_groups.repeat(2)))
        return LossOutput(total, {"nt_xent": total.detach(), "nt_xent_information": bound})
