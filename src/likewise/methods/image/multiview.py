"""CMC: contrastive multiview coding.

Tian, Krishnan and Isola, 2019, arXiv 1906.05849. The views are channels of an image: here lightness and
color, or any other split.

Dimensions: B batch, R processes, V views, D features of one view, P projection.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

import torch
from torch import nn

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.encoders.color_spaces import CHANNELS
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.networks.multiview import MultiViewNetwork
from likewise.objectives import clip_loss, information_bound, num_candidates
from likewise.views import view_preset

__all__ = ["Config", "MultiView"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of contrastive multiview coding."""

    channels: tuple[str, ...] = ("L", "ab")
    """The views, each one to three of the channels L, a, b (lightness, green-red, blue-yellow), R, G, B."""

    temperature: float = 0.1
    """Divides the cosine similarities; the paper has 0.07 with a bank of 16,384 negatives."""

    projection_dim: int = 128
    """Width of the space in which views are compared."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_above_zero(self, "temperature")
        check_counts(self, "projection_dim")
        if len(self.channels) < 2:
            raise ConfigError(f"--method.channels {self.channels}: expected two views or more, such as L ab.")
        if len({frozenset(view) for view in self.channels}) < len(self.channels):
            raise ConfigError(f"--method.channels {self.channels}: the views must differ.")
        for view in self.channels:
            if not 1 <= len(set(view)) == len(view) <= 3 or set(view) - set(CHANNELS):
                raise ConfigError(
                    f"--method.channels: {view!r} is not a view; expected one to three of "
                    f"{', '.join(CHANNELS)}, each once."
                )


class MultiView(Method):
    """An image is split into lightness and color (or any other channels), each with an encoder of its own.
    The encoders' embeddings of the same image are positives for every pair of views, those of different
    images negatives. The final embedding is that of all encoders, concatenated.

    Choose it when: You have no labels, and color carries information that lightness does not. It needs color
    images and no augmentation that changes colors; use it where color jitter would destroy what matters.
    """

    name = "multiview"
    title = "Multi-view"
    summary = "lightness and color of an image are positives, each seen by its own encoder"
    paper = "Tian 2019, arXiv 1906.05849"
    cost = 1.0
    needs = Needs("image")
    compares_color = True
    options = Config
    # Crops and flips only: the color view must keep its colors.
    view_families: ClassVar = {"views": lambda _: view_preset("crops")}
    training_defaults: ClassVar = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    config: Config
    network: MultiViewNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        encoders = [context.image_encoder() for _ in config.channels]
        self.network = MultiViewNetwork(encoders, channels=config.channels)
        dim = encoders[0].dim
        self.projectors = nn.ModuleList(nn.Linear(dim, config.projection_dim) for _ in encoders)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """One crop of each image, whose channels are the views."""
        features = self.network.encode_views(self.views(batch, step))  # V times (B, D)
        projections = [project(one) for project, one in zip(self.projectors, features, strict=True)]
        return {"group": batch.group} | dict(zip(self.config.channels, projections, strict=True))

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Both directions of every pair of views (the full graph, equation 8), averaged over the pairs."""
        group = embeddings["group"]
        rows, all_groups = own_rows(group), gather_rows(group)
        gathered = {view: gather_rows(embeddings[view]) for view in self.config.channels}  # (B R, P) each
        losses = {
            f"{first} with {second}": clip_loss(
                embeddings[first],
                embeddings[second],
                temperature=self.config.temperature,
                all_images=gathered[first],
                all_texts=gathered[second],
                rows=rows,
                groups=group,
                all_groups=all_groups,
            )
            for first, second in combinations(self.config.channels, 2)
        }
        total = torch.stack(list(losses.values())).mean()
        candidates = num_candidates(group, all_groups)
        parts = {name: loss.detach() for name, loss in losses.items()}
        bounds = {f"{name}_information": information_bound(loss, candidates) for name, loss in parts.items()}
        return LossOutput(total, parts | bounds)
