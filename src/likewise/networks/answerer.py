"""The network of visual question answering: a fusion encoder over image and question, and a decoder.

Dimensions: B questions, A answers, S side in pixels, L tokens of a question, T tokens of an answer, N
patches, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from likewise.encoders.decoders import (
    Candidates,
    Decoder,
    Decoding,
    Memory,
    TransformerDecoder,
    generate,
    start_from_fusion,
)
from likewise.encoders.fusion import FusionEncoder
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.errors import ModelError
from likewise.networks.base import Network
from likewise.networks.fused_states import image_tokens, text_tokens
from likewise.networks.registry import network
from likewise.objectives import sequence_losses
from likewise.views import IGNORE_INDEX

__all__ = ["AnswerNetwork"]

_LOGITS_AT_ONCE = 1 << 26  # of a pass over the answers; bounds memory at 256 MiB for each copy


@network("answerer")
class AnswerNetwork(Network):
    """Reads an image and a question, and writes or judges answers.

    Args:
        image: the image encoder.
        text: encodes the question.
        fusion: reads the question while attending to the image.
        decoder: writes the answer while attending to the fused question.
        answers: the answers of the training data, the most frequent first.
    """

    def __init__(
        self,
        image: ImageEncoder,
        text: TextEncoder,
        fusion: FusionEncoder,
        decoder: Decoder,
        *,
        answers: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if not isinstance(answers, (list, tuple)) or not all(isinstance(one, str) for one in answers):
            raise ModelError("the network's answers are not a list of texts.")
        self.image, self.text, self.fusion, self.decoder = image, text, fusion, decoder
        self.answers = list(answers)
        self.dim = text.dim

    def start_rest(self, loaded: Collection[str]) -> None:
        """The decoder starts from the fusion layers."""
        if "fusion" in loaded or "text" in loaded:
            assert isinstance(self.decoder, TransformerDecoder)
            start_from_fusion(self.decoder, self.fusion, self.text)

    def known_answers(self) -> list[str]:
        """The answers of the training data, the most frequent first."""
        return list(self.answers)

    def read_questions(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Memory:
        """(B, 3, S, S) normalized pixels, (B, L) tokens and mask to what the decoder reads."""
        fused = self.fusion(text_tokens(self.text, tokens, mask), mask, image_tokens(self.image, pixels))
        return Memory(fused, fused[:, 0], mask)

    def answer_logits(self, memory: Memory, tokens: Tensor) -> Tensor:
        """Teacher forcing: (B K, T) tokens, those of a question side by side, to (B K, T - 1, V)."""
        return self.decoder.logits(self.decoder(tokens[:, :-1], memory).states)

    def log_likelihoods(self, memory: Memory, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B K,) of (B K, T) answers, those of a question side by side: sums over the tokens after the
        first."""
        labels = tokens[:, 1:].masked_fill(~mask[:, 1:], IGNORE_INDEX)
        return -sequence_losses(self.answer_logits(memory, tokens), labels, ignore=IGNORE_INDEX)

    def score_answers(self, memory: Memory, tokens: Tensor, mask: Tensor) -> Tensor:
        """Log-likelihood of each answer to each question: the sum over its tokens after the first, each once.

        Args:
            memory: of B questions.
            tokens: (A, T) answers with their begin and end tokens.
            mask: (A, T).

        Returns:
            (B, A) in nats, at most 0.
        """
        B, T = len(memory.tokens), tokens.shape[1]
        count = max(1, _LOGITS_AT_ONCE // (B * T * self.decoder.vocabulary_size))  # answers a pass
        scores = []
        for start in range(0, len(tokens), count):
            part = slice(start, start + count)
            rows, real = tokens[part].repeat(B, 1), mask[part].repeat(B, 1)  # (B a, T)
            scores.append(self.log_likelihoods(memory, rows, real).view(B, -1))
        return torch.cat(scores, dim=1)

    def write_answers(
        self,
        memory: Memory,
        *,
        begin_id: int,
        end_id: int,
        decoding: Decoding,
        index: Tensor | None = None,
    ) -> Candidates:
        """Answers in the decoder's own words; see `generate`."""
        return generate(
            self.decoder, memory, begin_id=begin_id, end_id=end_id, decoding=decoding, index=index
        )
