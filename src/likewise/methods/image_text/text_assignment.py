"""Text assignment: does a caption belong to the first image, to the second, or to neither?

The stage before two-image reasoning in Li et al. 2021, arXiv 2107.07651, section 5.1 and appendix A, which
teaches fusion layers of two blocks to read two images, from images with captions alone.

Dimensions: B batch, S side in pixels, L tokens.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from likewise.batches.batch import Batch
from likewise.collectives import replica_share
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Step
from likewise.methods.checks import check_counts
from likewise.methods.fine_tuning import PRESETS, TEXT_DEFAULTS, TRAINING_DEFAULTS
from likewise.networks.pair_reasoner import PairReasoner
from likewise.objectives import classification_loss
from likewise.views import view_preset

__all__ = ["Config", "TextAssignment"]

_CLASSES = ("first", "second", "neither")
_IGNORED = -1


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of text assignment."""

    fusion_depth: int | None = None
    """Fusion layers: cut from the top of a new BERT, by default half of it; above the text encoder of a run
    that has none; a run of tcl brings its own. Each becomes two blocks, one for either image."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "fusion_depth")


class TextAssignment(Method):
    """A caption is shown with two images of the batch, its own and another in either order, or two others. A
    fusion encoder whose layers attend to both learns to say which image the caption belongs to: the first,
    the second, or neither.

    Choose it when: You want two-image reasoning, have few pairs with statements, and more images with
    captions. Train it for about one epoch on these, from a TCL run, and start nlvr from it.
    """

    name = "text-assignment"
    title = "Text assignment"
    summary = "a caption belongs to the first of two images, to the second, or to neither"
    paper = "Li 2021, arXiv 2107.07651"
    needs = Needs("image", "text")
    options = Config
    # A mild crop only; every view respects its caption.
    view_families: ClassVar = {"views": lambda _: view_preset("clip")}
    text_defaults: ClassVar = TEXT_DEFAULTS
    training_defaults: ClassVar = TRAINING_DEFAULTS
    presets = PRESETS
    monitored_embeddings = ()
    no_grad_cache_reason = "because its pairs of images are drawn from the whole batch"

    config: Config
    network: PairReasoner

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = PairReasoner(*context.fusion_encoders(config.fusion_depth), classes=_CLASSES)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Each image is encoded once, and meets captions as its own or as another's."""
        first, second, label = _pairs(batch, step)  # (B,) each
        images = self.network.image_states(self.views(batch, step))  # (B, 1 + N, E)
        logits = self.network.compare_states(
            images[first], images[second], batch.text.tokens, batch.text.mask
        )  # (B, 3)
        return {"logits": logits, "label": label}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy over the three classes, mean over the rows of all processes that have others."""
        logits, label = embeddings["logits"], embeddings["label"]
        judged = label != _IGNORED
        count = replica_share(judged.sum(), logits).clamp_min(1e-6)
        total = classification_loss(logits, label, ignore=_IGNORED, count=count)
        right = (logits.detach().argmax(1) == label).sum() / judged.sum().clamp_min(1)
        return LossOutput(total, {"cross_entropy": total.detach(), "accuracy": right})

    def start_rest(self, loaded: Collection[str]) -> None:
        """Both blocks of a fusion layer start from the same weights."""
        if "fusion" in loaded:
            self.network.second.start_from(self.network.fusion)


def _pairs(batch: Batch, step: Step) -> tuple[Tensor, Tensor, Tensor]:
    """For each caption the rows of its first and second image, and its class: each as likely.

    The other images are two different rows of other groups, drawn evenly. A caption without two such rows
    is not judged.
    """
    B = len(batch)
    own = torch.arange(B, device=batch.group.device)
    label = (step.random.uniform(batch.key, 1, purpose="assignment")[:, 0] * len(_CLASSES)).long()
    numbers = step.random.uniform(batch.key, B, purpose="other images")  # (B, B)
    numbers = numbers.masked_fill(batch.group[:, None] == batch.group, -1.0)
    drawn, others = numbers.topk(min(2, B), dim=1)
    one, two = others[:, 0], others[:, -1]
    first = torch.where(label == 0, own, one)
    second = torch.where(label == 0, one, torch.where(label == 1, own, two))
    return first, second, torch.where(drawn[:, -1] >= 0, label, _IGNORED)
