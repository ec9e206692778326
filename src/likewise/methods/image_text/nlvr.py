"""Two-image reasoning: is a statement true of two images?

Suhr et al. 2018, arXiv 1811.00491 (NLVR2). A fusion encoder with two attentions to images a layer: Li et al.
2022, arXiv 2201.12086, section 5.4. With momentum distillation: Li et al. 2021, arXiv 2107.07651, section 5.1
and appendix A.

Dimensions: B batch, S side in pixels, L tokens, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from likewise.batches.batch import Batch
from likewise.data.columns import REQUIRED, STATEMENT, Needs
from likewise.methods.base import (
    BuildContext,
    Embeddings,
    LossOutput,
    Step,
    make_views,
)
from likewise.methods.fine_tuning import (
    DistillationOptions,
    DistilledFineTuning,
    checked_classes,
    judgement_loss,
)
from likewise.networks.pair_reasoner import PairReasoner

__all__ = ["NLVR", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config(DistillationOptions):
    """Options of two-image reasoning."""


class NLVR(DistilledFineTuning):
    """A fusion encoder reads a statement about two images: each of its layers attends to both images, with
    the same maps of keys and values, and merges what it has read. A classifier says whether the statement is
    true.

    Choose it when: You have pairs of images with statements about both, and want new ones judged. Start from
    a TCL run on captions (`--training.start-from`).
    """

    name = "nlvr"
    title = "Two-image reasoning"
    summary = "a fusion encoder judges a statement about two images"
    paper = "Suhr 2018, arXiv 1811.00491; Li 2021, arXiv 2107.07651; Li 2022, arXiv 2201.12086"
    needs = Needs("image", "image_2", text=STATEMENT, label=REQUIRED)
    options = Config
    monitored_embeddings = ()

    config: Config
    network: PairReasoner

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        classes = checked_classes(context, such_as="true and false")
        self.network = PairReasoner(*context.fusion_encoders(config.fusion_depth), classes=classes)
        self.start_distillation(config, context)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Logits of the network, and of the EMA encoder on the same views."""
        encoder, views = self.network.image, self.view_configs["views"]
        second = make_views(batch.with_columns(image=batch.image_2), step, encoder, views, range(1, 2))
        given = self.views(batch, step), second, batch.text.tokens, batch.text.mask
        found = {"logits": self.network.compare(*given), "label": batch.label}  # (B, C), (B,)
        if self.ema_encoder is not None:
            with torch.no_grad():
                found["ema_logits"] = self.ema_encoder.module.compare(*given)  # type: ignore[operator]
        return found

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy with the label and, in part, with the EMA encoder."""
        return judgement_loss(embeddings, self.alpha)
