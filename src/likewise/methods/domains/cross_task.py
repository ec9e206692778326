"""Cross-task consistency for two domains: two tasks of one image must agree through a map between them.

Zamir et al. 2020, arXiv 2006.04096, with classes and rotations (Gidaris 2018, arXiv 1803.07728) as the tasks.

Dimensions: B batch, N source rows of it, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.mechanisms.batch_norm import unrecorded_batch_norm
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.checks import check_counts
from likewise.methods.two_domains import TwoDomainMethod, build_classifier
from likewise.objectives import cross_view_consistency

__all__ = ["Config", "CrossTask"]

_TURNS = 4


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of cross-task consistency."""

    consistency: float = 0.3
    """Weight of the agreement of the two paths to the rotation."""

    rotation: float = 0.3
    """Weight of the rotation head's own loss, on both domains."""

    map_dim: int = 64
    """Width of the hidden layer of the map from classes to rotations."""

    bottleneck_dim: int = 256
    """Width of the features that both heads read."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "map_dim", "bottleneck_dim")
        for name in ("consistency", "rotation"):
            check_counts(self, name, least=0)


class CrossTask(TwoDomainMethod):
    """One head tells an image's class, another by how many quarter turns it was rotated. What the classifier
    says of a turned image tells something about the turn: a map learns that on the source, and is then held
    fixed while, in both domains, the two ways to the turn (its own head, or the classes and the map) must
    agree.

    Choose it when: Images have an upright position, so that a turn can be seen, and the target has no labels.
    """

    name = "cross-task"
    title = "Cross-task consistency"
    summary = "class and rotation of an image must agree through a map learned on the source"
    paper = "Zamir 2020, arXiv 2006.04096"
    options = Config
    monitored_embeddings = ("logits",)

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)
        self.rotation_head = nn.Linear(config.bottleneck_dim, _TURNS)
        self.map = nn.Sequential(
            nn.Linear(len(context.classes), config.map_dim), nn.ReLU(), nn.Linear(config.map_dim, _TURNS)
        )

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Classes of upright source images, and both tasks on turned images of both domains."""
        count = len(batch.source)
        pixels = self.views(batch, step)  # (B, 3, S, S)
        turn = (step.random.uniform(batch.key, 1, purpose="turn")[:, 0] * _TURNS).long()  # (B,)
        upright = self.network.encode_images(pixels)  # (B, D)
        with unrecorded_batch_norm(self.network):  # the model meets upright images
            turned = self.network.encode_images(_turned(pixels, turn))
        return {
            "logits": self.network.classifier(upright[:count]),  # (N, C)
            "label": batch.source.label,
            "classes": self.network.classifier(turned),  # (B, C)
            "rotations": self.rotation_head(turned),  # (B, 4)
            "turn": turn,
            "is_target": torch.arange(len(batch), device=pixels.device) >= count,  # (B,)
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy of each task, of the map on the source, and the consistency of Zamir's equation 3."""
        logits, turn = embeddings["classes"], embeddings["turn"]
        classes = F.cross_entropy(embeddings["logits"], embeddings["label"])
        rotation = F.cross_entropy(embeddings["rotations"], turn)
        source = ~embeddings["is_target"]
        mapped = F.cross_entropy(self.map(logits.detach()), turn, reduction="none")  # (B,)
        of_map = (mapped * source).sum() / source.sum()
        fixed = {name: weight.detach() for name, weight in self.map.named_parameters()}
        through: Tensor = functional_call(self.map, fixed, (logits,))  # (B, 4)
        consistency = cross_view_consistency(through, embeddings["rotations"])
        total = classes + of_map + self.config.rotation * rotation + self.config.consistency * consistency
        parts = {"cross_entropy": classes, "rotation": rotation, "map": of_map, "consistency": consistency}
        return LossOutput(total, {name: value.detach() for name, value in parts.items()})


def _turned(pixels: Tensor, turn: Tensor) -> Tensor:
    """(B, 3, S, S) images, each turned by so many quarters."""
    turns = torch.stack([pixels.rot90(quarters, (2, 3)) for quarters in range(_TURNS)])
    return turns[turn, torch.arange(len(turn), device=turn.device)]
