"""Text assignment: does a text belong to the first of two images, to the second, or to neither?

Li et al. 2021, arXiv 2107.07651, section 5.1: pre-training for two-image reasoning, on images with
captions alone.

Dimensions: B batch of a process, R rows of all processes, N image tokens, E their width, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.fine_tuning import FusionFineTuning, FusionOptions
from likewise.networks.pair_reasoner import ASSIGNMENTS, PairReasoner
from likewise.step_random import StepRandom

__all__ = ["Config", "TextAssignment", "draw_triples"]


@dataclass(frozen=True, kw_only=True)
class Config(FusionOptions):
    """Options of text assignment."""


class TextAssignment(FusionFineTuning):
    """The network of two-image reasoning learns from captions: it reads a caption with two images and says
    whether it belongs to the first, the second or neither.

    Choose it when: You want two-image reasoning (nlvr), have few labelled statements about two images, and
    many images with captions. Start it from a TCL run, and nlvr from its run (`--training.start-from`).
    """

    name = "text-assignment"
    title = "Text assignment"
    summary = "which of two images does a caption belong to? Prepares two-image reasoning"
    paper = "Li 2021, arXiv 2107.07651"
    needs = Needs("image", "text")
    options = Config
    monitored_embeddings = ()
    no_grad_cache_reason = "because a caption is fused with other images of its batch"

    config: Config
    network: PairReasoner

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = PairReasoner(*context.fusion_encoders(config.fusion_depth), classes=ASSIGNMENTS)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Logits of each caption with two images of the batch; each image is encoded once."""
        images = gather_rows(self.network.image_states(self.views(batch, step)))  # (R, 1 + N, E)
        group, own = gather_rows(batch.group), own_rows(batch.group)
        first, second, label, judged = draw_triples(group, own, batch.key, step.random)
        logits = self.network.compare_states(
            images[first], images[second], batch.text.tokens, batch.text.mask
        )
        return {"logits": logits, "label": label, "judged": judged}  # (B, 3), (B,), (B,)

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Cross-entropy, over the rows that have a row of another group beside them."""
        judged = embeddings["judged"].to(embeddings["logits"].dtype)
        count = gather_rows(judged).mean().clamp(min=1e-6) * len(judged)  # equal in all processes
        losses = F.cross_entropy(embeddings["logits"], embeddings["label"], reduction="none")
        total = (losses * judged).sum() / count
        right = (embeddings["logits"].detach().argmax(1) == embeddings["label"]) * judged
        return LossOutput(total, {"cross_entropy": total.detach(), "accuracy": right.sum() / count})


def draw_triples(
    group: Tensor, own: Tensor, key: Tensor, draw: StepRandom
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw two images for each text: its own and another, in either order, or two others.

    Others are of other groups than the text's: another caption of its image is no negative. Where there is
    only one other image, "neither" gets it twice.

    Args:
        group: (R,) int64 of the rows of all processes, equal for rows of one image.
        own: (B,) this process's rows among them.
        key: (B,) int64 keys of the own rows' random numbers.
        draw: the step's random numbers.

    Returns:
        The rows of the first and of the second image, (B,) each; the class, (B,): first, second, neither; and
        whether the row has another image, (B,) bool.
    """
    equal = group[own][:, None] == group[None, :]  # (B, R)
    order = draw.uniform(key, len(group), purpose="other image").masked_fill(equal, 2.0)  # after all others
    drawn, others = order.sort(dim=1)
    last = min(1, len(group) - 1)
    one = others[:, 0]
    two = torch.where(drawn[:, last] < 1, others[:, last], one)
    label = (draw.uniform(key, 1, purpose="assignment")[:, 0] * 3).long()
    first = torch.where(label == 0, own, one)
    second = torch.where(label == 1, own, torch.where(label == 0, one, two))
    return first, second, label, ~equal.all(dim=1)
