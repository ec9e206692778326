"""Visual question answering as fine-tuning of TCL or ALBEF.

Li et al. 2021, arXiv 2107.07651, section 4; Yang et al. 2022, arXiv 2202.10401. A fusion encoder reads the
question while attending to the image; a causal decoder, started from the fusion layers, writes the answer.
Each answer counts by the share of annotators who gave it. An EMA encoder's distribution over the vocabulary
is part of every token's target (momentum distillation).

Dimensions: B batch, K answers a question, L tokens of a question, T tokens of an answer, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from likewise.batches.batch import Batch
from likewise.collectives import replica_share
from likewise.data.columns import QUESTION, REQUIRED, Needs
from likewise.encoders.decoders import decoder_like_fusion, start_from_fusion
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Step
from likewise.methods.checks import check_counts
from likewise.methods.fine_tuning import DistillationOptions, DistilledFineTuning
from likewise.networks.answerer import AnswerNetwork
from likewise.objectives import sequence_losses
from likewise.views import IGNORE_INDEX

__all__ = ["VQA", "Config"]


@dataclass(frozen=True, kw_only=True)
class Config(DistillationOptions):
    """Options of visual question answering; the decoder has as many layers as the fusion encoder."""

    max_answers: int = 3000
    """Training answers that are saved with the model, the most frequent ones; it chooses among them unless
    it is given a list."""

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        check_counts(self, "max_answers")


class VQA(DistilledFineTuning):
    """A fusion encoder reads the question while it attends to the image, and a decoder writes the answer from
    what was read. At use the decoder scores every answer of a list, or writes one freely.

    Choose it when: You have questions about images with their answers. Start from a TCL run on images with
    captions (`--training.start-from`) if you have one, or from a CLIP run, whose encoders get fresh fusion
    layers.
    """

    name = "vqa"
    title = "VQA"
    summary = "a decoder writes the answer to a question about an image"
    paper = "Li 2021, arXiv 2107.07651; Yang 2022, arXiv 2202.10401"
    needs = Needs("image", text=QUESTION, answer=REQUIRED)
    options = Config

    config: Config
    network: AnswerNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        assert context.tokenizer is not None
        image, text, fusion = context.fusion_encoders(config.fusion_depth)
        decoder = decoder_like_fusion(
            fusion,
            vocabulary_size=context.tokenizer.vocabulary_size,
            max_tokens=context.tokenizer.max_tokens,
        )
        start_from_fusion(decoder, fusion, text)
        answers = context.answers[: config.max_answers]
        self.network = AnswerNetwork(image, text, fusion, decoder, answers=answers)
        self.start_distillation(config, context)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Loss of each question: the weighted sum over its answers of their tokens' cross-entropies."""
        answers = batch.answer
        tokens, mask = answers.tokens.flatten(0, 1), answers.mask.flatten(0, 1)  # (B K, T) each
        pixels = self.views(batch, step)
        labels = tokens[:, 1:].masked_fill(~mask[:, 1:], IGNORE_INDEX)  # (B K, T - 1)
        losses = sequence_losses(
            _logits(self.network, pixels, batch, tokens),
            labels,
            teacher_logits=self._ema_logits(pixels, batch, tokens),
            teacher_weight=self.alpha,
            ignore=IGNORE_INDEX,
        )  # (B K,)
        return {"loss": (losses.view_as(answers.weights) * answers.weights).sum(dim=1)}  # (B,)

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Mean over the questions of all processes."""
        losses = embeddings["loss"]
        total = losses.sum() / replica_share(losses.new_full((), len(losses)), losses)
        return LossOutput(total, {"answer": total.detach()})

    @torch.no_grad()
    def _ema_logits(self, pixels: Tensor, batch: Batch, tokens: Tensor) -> Tensor | None:
        """(B K, T - 1, V) of the EMA encoder; None where there is none."""
        if self.ema_encoder is None:
            return None
        network = self.ema_encoder.module
        assert isinstance(network, AnswerNetwork)
        return _logits(network, pixels, batch, tokens)


def _logits(network: AnswerNetwork, pixels: Tensor, batch: Batch, tokens: Tensor) -> Tensor:
    """Teacher-forced logits of (B K, T) answers: (B K, T - 1, V)."""
    memory = network.read_questions(pixels, batch.text.tokens, batch.text.mask)
    return network.answer_logits(memory, tokens)
