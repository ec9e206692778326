"""Mean teacher for two domains, and FixMatch's form of it.

Tarvainen and Valpola 2017, arXiv 1703.01780; for domains French et al. 2018, arXiv 1706.05208. FixMatch: Sohn
et al. 2020, arXiv 2001.07685.

Dimensions: B batch, N source rows of it, M target rows, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows
from likewise.mechanisms import EMAEncoder
from likewise.mechanisms.batch_norm import unrecorded_batch_norm
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Progress, Step
from likewise.methods.checks import check_above_zero, check_counts, check_shares
from likewise.methods.two_domains import TwoDomainMethod, build_classifier, strong_views, weak_views
from likewise.networks.classifier import ClassifierNetwork

__all__ = ["Config", "MeanTeacher"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of mean teacher."""

    form: Literal["mean-teacher", "fixmatch"] = "mean-teacher"
    """Who teaches, and what: `mean-teacher`, the averaged network's probabilities, by squared differences;
    `fixmatch`, the network's own class for a weak view, by cross-entropy."""

    weight: float | None = None
    """Factor of the consistency; by default 3 for mean-teacher (French 2018) and 1 for fixmatch."""

    confidence: float = 0.95
    """Rows count whose taught probability is above this, in [0, 1]; 0 takes all."""

    ramp_share: float = 0.1
    """Share of the training in which the consistency's factor rises from 0."""

    class_balance: float = 0.005
    """Weight of French 2018's balance, which keeps rare classes of the target from vanishing."""

    ema_momentum: float = 0.99
    """How slowly the teacher follows, in [0, 1]."""

    bottleneck_dim: int = 256
    """Width of the features between encoder and classifier."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "bottleneck_dim")
        check_above_zero(self, "weight")
        check_shares(self, "confidence", "ramp_share", "ema_momentum", "class_balance")


class MeanTeacher(TwoDomainMethod):
    """A network learns the source's labels, and on strongly changed target images to agree with a teacher:
    its own moving average, on weakly changed ones. Only rows count of which the teacher is sure. The teacher
    is the model that is kept.

    Choose it when: Random views keep the class, and a network of the source alone is right more often than
    not in the target. It is then among the best methods.
    """

    name = "mean-teacher"
    title = "Mean teacher"
    summary = "an averaged network teaches itself on the target's images"
    paper = "French 2018, arXiv 1706.05208; Sohn 2020, arXiv 2001.07685"
    options = Config
    view_families: ClassVar = {"views": weak_views, "views_strong": strong_views}
    monitored_embeddings = ("logits",)

    config: Config

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.student = build_classifier(context, config.bottleneck_dim)
        self.ema_encoder = EMAEncoder(self.student)
        self.network = cast(ClassifierNetwork, self.ema_encoder.module)
        self.weight = config.weight or {"mean-teacher": 3.0, "fixmatch": 1.0}[config.form]

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """The student on both domains, a forward pass each, and what the target's rows are taught.

        BatchNorm normalises each domain by itself, and its running statistics, which the model keeps, are
        those of the target.
        """
        source, target = batch.source, batch.target
        weak = self.views(target, step)
        with torch.no_grad(), unrecorded_batch_norm(self):
            fixmatch = self.config.form == "fixmatch"
            teacher = self.student if fixmatch else self.network
            taught = teacher.classify_images(weak).softmax(dim=1)  # (M, C)
        with unrecorded_batch_norm(self.student):
            logits = self.student.classify_images(self.views(source, step))  # (N, C)
        strong = self.student.classify_images(self.views(target, step, family="views_strong"))  # (M, C)
        return {"logits": logits, "label": source.label, "strong": strong, "taught": taught}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy on the source; on the target consistency and balance (French 2018, section 3)."""
        strong, taught = embeddings["strong"], embeddings["taught"]
        classes = F.cross_entropy(embeddings["logits"], embeddings["label"])
        sure = (taught.amax(dim=1) >= self.config.confidence).to(taught.dtype)  # (M,)
        consistency = (self._disagreement(strong, taught) * sure).mean()
        balance = gather_rows(sure).mean() * self._imbalance(gather_rows(strong))
        ramp = min(1.0, step.progress.share / self.config.ramp_share) if self.config.ramp_share else 1.0
        total = classes + self.weight * ramp * (consistency + self.config.class_balance * balance)
        parts = {"cross_entropy": classes, "consistency": consistency, "sure_share": sure.mean()}
        return LossOutput(total, {name: value.detach() for name, value in parts.items()})

    def _disagreement(self, strong: Tensor, taught: Tensor) -> Tensor:
        """(M,) between the student's logits and the teacher's probabilities."""
        if self.config.form == "fixmatch":
            return F.cross_entropy(strong, taught.argmax(dim=1), reduction="none")
        return (strong.softmax(dim=1) - taught).square().mean(dim=1)

    def _imbalance(self, strong: Tensor) -> Tensor:
        """Binary cross-entropy of the mean prediction with equal shares of the classes, summed over them."""
        mean = strong.softmax(dim=1).mean(dim=0).clamp(1e-6, 1 - 1e-6)  # (C,)
        return F.binary_cross_entropy(mean, torch.full_like(mean, 1 / len(mean)), reduction="sum")

    def after_step(self, progress: Progress) -> None:
        """The teacher follows; early on faster, so that it is no worse than a mean of all students."""
        momentum = min(self.config.ema_momentum, 1 - 1 / (progress.step + 1))
        self.ema_encoder.follow(self.student, momentum)

    def reset_ema(self) -> None:
        """The weights were loaded into the teacher, which is the model."""
        self.student.load_state_dict(self.network.state_dict())
