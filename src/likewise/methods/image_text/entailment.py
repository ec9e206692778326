"""Visual entailment: what an image makes of a statement.

Xie et al. 2019, arXiv 1901.06706 (SNLI-VE). With a fusion encoder and momentum distillation: Li et al. 2021,
arXiv 2107.07651, section 5.1; Yang et al. 2022, arXiv 2202.10401, section 4.3.

Dimensions: B batch, S side in pixels, L tokens, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.mechanisms import EMAEncoder
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, Step
from likewise.methods.checks import check_counts, check_shares
from likewise.methods.fine_tuning import (
    PRESETS,
    TEXT_DEFAULTS,
    TRAINING_DEFAULTS,
    checked_classes,
    distillation_weight,
)
from likewise.networks.entailer import EntailmentNetwork
from likewise.objectives import classification_loss
from likewise.views import view_preset

__all__ = ["Config", "Entailment"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of visual entailment."""

    fusion_depth: int | None = None
    """Fusion layers: cut from the top of a new BERT, by default half of it; above the text encoder of a run
    that has none; a run of tcl brings its own."""

    distillation: float | None = None
    """Weight of the EMA encoder's predictions in the targets, reached after one epoch; 0 turns momentum
    distillation off. By default the paper's 0.4 from trained encoders, and 0 from random weights."""

    ema_momentum: float = 0.995
    """Momentum of the EMA encoder; no effect without distillation."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "fusion_depth")
        check_shares(self, "distillation", "ema_momentum")


class Entailment(Method):
    """A fusion encoder reads a statement while it attends to an image, and a classifier says what the image
    makes of it: entailment, neutral or contradiction, or just true or false. An EMA encoder can soften the
    labels with its own predictions.

    Choose it when: You have images with statements and labels, and want new statements judged. Start from a
    TCL run on captions (`--training.start-from`). Look at the text-only baseline first: where the words alone
    tell as much, the images were not learned from.
    """

    name = "entailment"
    title = "Visual entailment"
    summary = "a fusion encoder judges what an image makes of a statement"
    paper = "Xie 2019, arXiv 1901.06706; Li 2021, arXiv 2107.07651"
    needs = Needs("image", "text", "label")
    options = Config
    # A mild crop only; every view respects its statement.
    view_families: ClassVar = {"views": lambda _: view_preset("clip")}
    text_defaults: ClassVar = TEXT_DEFAULTS
    training_defaults: ClassVar = TRAINING_DEFAULTS
    presets = PRESETS
    monitored_embeddings = ()

    config: Config
    network: EntailmentNetwork
    alpha: Tensor

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        classes = checked_classes(context, least=2, such_as="entailment, neutral and contradiction")
        encoders = context.fusion_encoders(config.fusion_depth)
        self.network = EntailmentNetwork(*encoders, classes=classes)
        self.distillation = distillation_weight(config.distillation, context)
        self.ema_encoder = EMAEncoder(self.network) if self.distillation else None
        self.register_buffer("alpha", torch.zeros(()))

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Logits of the network, and of the EMA encoder on the same views."""
        given = self.views(batch, step), batch.text.tokens, batch.text.mask
        found = {"logits": self.network.entail(*given), "label": batch.label}  # (B, C), (B,)
        if self.ema_encoder is not None:
            with torch.no_grad():
                found["ema_logits"] = self.ema_encoder.module.entail(*given)  # type: ignore[operator]
        return found

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """(1 - alpha) cross-entropy with the label + alpha cross-entropy with the EMA encoder."""
        logits, label = embeddings["logits"], embeddings["label"]
        total = classification_loss(
            logits, label, teacher_logits=embeddings.get("ema_logits"), teacher_weight=self.alpha
        )
        right = (logits.detach().argmax(1) == label).float().mean()
        return LossOutput(total, {"cross_entropy": total.detach(), "accuracy": right})

    def reset_ema(self) -> None:
        """Copy the network."""
        if self.ema_encoder is not None:
            self.ema_encoder.follow(self.network, 0.0)

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Update the EMA encoder; raise alpha during the first epoch."""
        if self.ema_encoder is not None:
            self.ema_encoder.follow(self.network, self.config.ema_momentum)
            self.alpha.fill_(self.distillation * min(1.0, progress.epoch))
