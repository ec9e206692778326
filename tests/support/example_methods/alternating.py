"""Maximum classifier discrepancy (Saito et al. 2018, arXiv 1712.02560) in small: three phases a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Phase, Step
from likewise.networks.image import ImageNetwork
from likewise.views import view_preset


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options."""

    num_classes: int = 6


class Alternating(Method):
    """Two heads learn classes, then disagree; then the features make them agree. Choose it when: testing."""

    name = "alternating"
    title = "Alternating"
    summary = "two heads disagree where features are ambiguous"
    paper = "Saito 2018, arXiv 1712.02560"
    needs = Needs("image", "label")
    options = Config
    view_families: ClassVar = {"views": lambda _: view_preset("none")}
    phases = (
        Phase("classes"),
        Phase("disagree", ("heads",)),
        Phase("agree", ("network",), repeats=2),
    )

    config: Config
    network: ImageNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder())
        self.heads = nn.ModuleList(nn.Linear(self.network.dim, config.num_classes) for _ in range(2))

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Logits of both heads."""
        features = self.network(self.views(batch, step))  # (B, D)
        return {"first": self.heads[0](features), "second": self.heads[1](features), "label": batch.label}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy of both heads, and the distance between them."""
        first, second = embeddings["first"], embeddings["second"]
        distance = (first.softmax(1) - second.softmax(1)).abs().mean()
        classes = F.cross_entropy(first, embeddings["label"]) + F.cross_entropy(second, embeddings["label"])
        total = {"classes": classes, "disagree": classes - distance, "agree": distance}[step.phase]
        return LossOutput(total, {"distance": distance.detach()})
