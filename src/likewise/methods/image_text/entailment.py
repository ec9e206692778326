"""Visual entailment: does an image support a statement, contradict it, or neither?

Xie et al. 2019, arXiv 1901.06706 (SNLI-VE). With a fusion encoder and momentum distillation: Li et al. 2021,
arXiv 2107.07651, section 5.1; Yang et al. 2022, arXiv 2202.10401, section 4.3.

Dimensions: B batch, S side in pixels, L tokens, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from likewise.batches.batch import Batch
from likewise.data.columns import REQUIRED, STATEMENT, Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.fine_tuning import (
    DistillationOptions,
    DistilledFineTuning,
    checked_classes,
    judgement_loss,
)
from likewise.networks.entailer import EntailmentNetwork

__all__ = ["Config", "Entailment"]


@dataclass(frozen=True, kw_only=True)
class Config(DistillationOptions):
    """Options of visual entailment."""


class Entailment(DistilledFineTuning):
    """A fusion encoder reads a statement while it attends to an image, and a classifier says what the image
    makes of it: entailment, neutral or contradiction, or just true or false. An EMA encoder can soften the
    labels with its own predictions.

    Choose it when: You have images with statements and labels, and want new statements judged. Start from a
    TCL run on captions (`--training.start-from`). Look at the text-only baseline first: where the words alone
    tell as much, the images were not learned from.
    """

    name = "entailment"
    title = "Visual entailment"
    summary = "a fusion encoder judges whether an image supports or contradicts a statement"
    paper = "Xie 2019, arXiv 1901.06706; Li 2021, arXiv 2107.07651"
    needs = Needs("image", text=STATEMENT, label=REQUIRED)
    options = Config
    monitored_embeddings = ()

    config: Config
    network: EntailmentNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        classes = checked_classes(context, such_as="entailment, neutral and contradiction")
        encoders = context.fusion_encoders(config.fusion_depth)
        self.network = EntailmentNetwork(*encoders, classes=classes)
        self.start_distillation(config, context)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Logits of the network, and of the EMA encoder on the same views."""
        given = self.views(batch, step), batch.text.tokens, batch.text.mask
        found = {"logits": self.network.entail(*given), "label": batch.label}  # (B, C), (B,)
        if self.ema_encoder is not None:
            with torch.no_grad():
                found["ema_logits"] = self.ema_encoder.module.entail(*given)  # type: ignore[operator]
        return found

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy with the label and, in part, with the EMA encoder."""
        return judgement_loss(embeddings, self.alpha)
