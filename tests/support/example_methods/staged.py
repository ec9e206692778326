"""Two stages as in ADDA (Tzeng et al. 2017, arXiv 1702.05464), a weight that ramps, and two view families."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Phase, Step
from likewise.networks.image import ImageNetwork
from likewise.views import simclr_views, view_preset


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options."""

    weight: float = 1.0


class Staged(Method):
    """The network learns first, then a critic of its frozen features. Choose it when: testing."""

    name = "staged"
    title = "Staged"
    summary = "weak and strong views come together, then a critic learns"
    paper = "Tzeng 2017, arXiv 1702.05464"
    needs = Needs("image")
    options = Config
    view_families: ClassVar = {"views": lambda _: view_preset("none"), "views_strong": simclr_views}
    phases = (Phase("features", ("network",), stop=0.5), Phase("critic", ("critic",), start=0.5))

    config: Config
    network: ImageNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder())
        self.critic = nn.Linear(self.network.dim, 1)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Features of a weak and of a strong view."""
        weak = self.network(self.views(batch, step))  # (B, D)
        strong = self.network(self.views(batch, step, family="views_strong"))  # (B, D)
        return {"weak": weak, "strong": strong, "critic": self.critic(weak - strong)}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Consistency with a weight that ramps up, or the critic's loss."""
        if step.phase == "critic":
            loss = (embeddings["critic"] - 1).square().mean()
            return LossOutput(loss, {"critic": loss.detach()})
        loss = (embeddings["weak"] - embeddings["strong"]).square().mean()
        ramp = self.config.weight * (1 + step.progress.share)
        return LossOutput(ramp * loss, {"consistency": loss.detach(), "ramp": loss.new_tensor(ramp)})
