"""CMC: contrastive multiview coding.

Tian, Krishnan and Isola, 2019, arXiv 1906.05849. Several views of a scene (here: the light and the colour of
a picture, or any other split of its channels) each have an encoder of their own; views of the same picture
belong together, for every pair of views.

Dimensions: B batch, R replicas, V views, D features of one view, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import torch
from torch import nn

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.encoders.color_spaces import CHANNELS
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, make_views
from likewise.methods.checks import check_above_zero, check_counts
from likewise.networks.multiview import MultiViewNetwork
from likewise.objectives import clip_loss
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, view_preset

__all__ = ["Config", "MultiView"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of contrastive multiview coding."""

    channels: tuple[str, ...] = ("L", "ab")
    """The views: each some of the channels L, a, b (light, green to red, blue to yellow), R, G, B."""

    temperature: float = 0.1
    """Divides the cosine similarities; the paper has 0.07 with a bank of 16,384 negatives."""

    projection_dim: int = 128
    """Width of the space the views are compared in."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_above_zero(self, "temperature")
        check_counts(self, "projection_dim")
        if len(self.channels) < 2:
            raise ConfigError(f"method.channels {self.channels}: expected two views or more, such as L ab.")
        if len({frozenset(view) for view in self.channels}) < len(self.channels):
            raise ConfigError(f"method.channels {self.channels}: each view once; alike, they teach nothing.")
        for view in self.channels:
            if not 1 <= len(set(view)) == len(view) <= 3 or set(view) - set(CHANNELS):
                raise ConfigError(
                    f"method.channels: {view!r} is no view; name one to three of {', '.join(CHANNELS)}, "
                    "each once."
                )


class MultiView(Method):
    """An image encoder and a projector for each view; the embedding is that of all views side by side."""

    name = "multiview"
    title = "Multi-view"
    summary = "the light and the colour of a picture belong together, each seen by its own encoder"
    paper = "Tian 2019, arXiv 1906.05849"
    idea = (
        "A picture is split into its light and its colours (or any other channels), and each has an "
        "encoder of its own. What the encoders say of the same picture belongs together, for every "
        "pair of views; what they say of different ones does not. The embedding is that of all "
        "encoders side by side."
    )
    choose_when = (
        "No labels, and senses that differ: colour says something that light does not. It needs "
        "colour pictures, and no augmentation that changes colours; use it where jittering colours "
        "would destroy what matters."
    )
    cost = 1.0
    needs = Needs("image")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    network: MultiViewNetwork

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """Crops and flips: changed colours would change what the colour view says."""
        del image_size
        return view_preset("crops")

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        encoders = [ingredients.image_encoder() for _ in config.channels]
        self.network = MultiViewNetwork(encoders, channels=config.channels)
        dim = encoders[0].dim
        self.projectors = nn.ModuleList(nn.Linear(dim, config.projection_dim) for _ in encoders)

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """One crop of each picture, whose channels are the views."""
        assert batch.group is not None
        pixels = make_views(batch, draw, self.network.image, self.view_config, views=(0,))  # (B, 3, S, S)
        features = self.network.encode_views(pixels)  # V times (B, D)
        projections = [project(one) for project, one in zip(self.projectors, features, strict=True)]
        return {"group": batch.group} | dict(zip(self.config.channels, projections, strict=True))

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """Both directions of every pair of views (the full graph, equation 8), averaged over the pairs."""
        group = embeddings["group"]
        views = self.config.channels
        rows, all_groups = own_rows(group), gather_rows(group)
        gathered = {view: gather_rows(embeddings[view]) for view in views}  # (B R, P) each
        parts = {}
        for first, second in combinations(views, 2):
            parts[f"{first} with {second}"] = clip_loss(
                embeddings[first],
                embeddings[second],
                temperature=self.config.temperature,
                all_images=gathered[first],
                all_texts=gathered[second],
                rows=rows,
                groups=group,
                all_groups=all_groups,
            )
        total = torch.stack(list(parts.values())).mean()
        return LossOutput(total, {name: loss.detach() for name, loss in parts.items()})
