"""Cross-view consistency for two domains: the same thing in two views or styles means the same.

Symmetric Kullback-Leibler divergence of the predictions, as in Miyato et al. 2018, arXiv 1704.03976, section
3.1, without an adversary, and supervised contrast (Khosla 2020, arXiv 2004.11362) with groups as labels.

Dimensions: B batch, N source and M target rows of it, D features, P projection, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import OPTIONAL, Needs, required_of
from likewise.encoders.heads import mlp_head
from likewise.mechanisms.batch_norm import unrecorded_batch_norm
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.checks import check_above_zero, check_counts
from likewise.methods.two_domains import TwoDomainMethod, build_classifier, strong_views, weak_views
from likewise.objectives import cross_view_consistency, supervised_contrastive

__all__ = ["Config", "CrossView"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of cross-view consistency."""

    consistency: float = 1.0
    """Weight of the agreement of two predictions of the same thing."""

    contrast: float = 0.5
    """Weight of the contrast between features of the same thing and of others."""

    temperature: float = 0.1
    """Divides the cosine similarities of the contrast."""

    projection_dim: int = 128
    """Width of the space of the contrast."""

    bottleneck_dim: int = 256
    """Width of the features."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "projection_dim", "bottleneck_dim")
        check_above_zero(self, "temperature")
        for name in ("consistency", "contrast"):
            check_counts(self, name, least=0)


class CrossView(TwoDomainMethod):
    """A classifier learns the source's labels. In both domains two views of an image must get the same
    prediction and like features; so must images of the two domains that show the same thing, where the
    groups say so (--training.order domain-pairs, --data.group-column, --data.shared-groups).

    Choose it when: The same things were taken in both domains (two cameras, two styles), for some of them at
    least; or no more is known than which changes keep the class.
    """

    name = "cross-view"
    title = "Cross-view consistency"
    summary = "the same thing in two views or domains gets one prediction and like features"
    paper = "after Khosla 2020, arXiv 2004.11362, and Miyato 2018, arXiv 1704.03976"
    needs = Needs("image", "domain", label=required_of("source"), group=OPTIONAL)
    options = Config
    view_families: ClassVar = {"views": weak_views, "views_strong": strong_views}
    monitored_embeddings = ("weak", "strong")

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = build_classifier(context, config.bottleneck_dim)
        self.projector = mlp_head(
            config.bottleneck_dim, config.bottleneck_dim, config.projection_dim, batch_norm=False
        )

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Two views of every row: logits and projections."""
        weak = self.network.encode_images(self.views(batch, step))  # (B, D)
        with unrecorded_batch_norm(self.network):  # the model meets weak views
            strong = self.network.encode_images(self.views(batch, step, family="views_strong"))
        return {
            "logits": self.network.classifier(weak),  # (B, C)
            "strong_logits": self.network.classifier(strong),
            "weak": self.projector(weak),  # (B, P)
            "strong": self.projector(strong),
            "label": batch.source.label,  # (N,)
            "group": batch.group,  # (B,)
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy on the source; consistency of views and of counterparts; contrast of all views."""
        logits, label, group = embeddings["logits"], embeddings["label"], embeddings["group"]
        count = len(label)
        classes = F.cross_entropy(logits[:count], label)
        consistency = cross_view_consistency(logits, embeddings["strong_logits"])
        # A counterpart stands at its source row's place among the target rows; others add nothing.
        places = min(count, len(logits) - count)
        first, second = logits[:places], logits[count : count + places]
        same = group[:places] == group[count : count + places]
        across = cross_view_consistency(first, torch.where(same[:, None], second, first))
        features = torch.cat([embeddings["weak"], embeddings["strong"]])  # (2B, P)
        groups = group.repeat(2)
        contrast = supervised_contrastive(
            features,
            groups,
            temperature=self.config.temperature,
            all_features=gather_rows(features),
            all_labels=gather_rows(groups),
            rows=own_rows(features),
        )
        total = classes + self.config.consistency * (consistency + across) + self.config.contrast * contrast
        parts = {
            "cross_entropy": classes,
            "consistency": consistency,
            "across": across,
            "contrast": contrast,
            "paired_share": same.float().mean(),
        }
        return LossOutput(total, {name: value.detach() for name, value in parts.items()})
