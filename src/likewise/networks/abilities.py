"""What a network can do: each ability, its protocol and the methods that train it.

This is the only list of abilities. A network has an ability when its class has the methods of the protocol.
Protocols name methods alone: since Python 3.12 `isinstance` does not see the submodules of an `nn.Module`.

Dimensions: B batch, S side in pixels, L tokens, D width of the embedding.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from likewise.encoders.decoders import Candidates, Decoding, Memory
from likewise.encoders.pairing import Pairing

__all__ = [
    "ABILITIES",
    "Ability",
    "AnswersQuestions",
    "ClassifiesImages",
    "ComparesImages",
    "EncodesAudio",
    "EncodesImages",
    "EncodesTexts",
    "EntailsStatements",
    "GroundsPhrases",
    "MatchesPairs",
    "WritesCaptions",
]


@runtime_checkable
class EncodesImages(Protocol):
    """Turns pixels into vectors."""

    def encode_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, D) vectors, not of unit length."""


@runtime_checkable
class EncodesAudio(Protocol):
    """Turns the spectrograms of sounds into vectors."""

    def encode_audio(self, spectrograms: Tensor) -> Tensor:
        """(B, 1, M, F) normalized spectrograms to (B, D) vectors, not of unit length."""


@runtime_checkable
class EncodesTexts(Protocol):
    """Turns texts into vectors."""

    def encode_texts(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, D) vectors, not of unit length."""


@runtime_checkable
class MatchesPairs(Protocol):
    """Decides whether a text belongs to an image."""

    def image_states(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, N, E) tokens."""

    def text_states(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, L) tokens and mask to (B, L, F)."""

    @property
    def temperature(self) -> Tensor:
        """(), the divisor of cosines in the shared space."""

    def project(self, image_states: Tensor, text_states: Tensor) -> tuple[Tensor, Tensor]:
        """States of N images (N, 1 or more, E) and of M texts (M, 1 or more, F) to unit vectors (N, D) and
        (M, D) of the shared space; only the first token of each is used."""

    def match_logits(
        self, text_states: Tensor, mask: Tensor, image_states: Tensor, pairing: Pairing | None = None
    ) -> Tensor:
        """(P, L, F), (P, L) and (M, N, E) to (P, 2); class 1 is "they belong together"."""


@runtime_checkable
class WritesCaptions(Protocol):
    """Writes captions of images."""

    def caption(
        self, pixels: Tensor, *, begin_id: int, end_id: int, decoding: Decoding, index: Tensor | None = None
    ) -> Candidates:
        """(B, 3, S, S) normalized pixels to captions; index: (B,) places of the images, which key draws."""

    def caption_attention(self, pixels: Tensor, tokens: Tensor) -> Tensor | None:
        """(B, 3, S, S) and (B, L) to (B, L - 1, N), where the decoder looks; None without attention."""


@runtime_checkable
class ClassifiesImages(Protocol):
    """Names the classes of images."""

    def class_names(self) -> tuple[str, ...]:
        """The C classes."""

    def classify_images(self, pixels: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels to (B, C) logits."""


@runtime_checkable
class EntailsStatements(Protocol):
    """Judges statements about images; the network's `classes` names the verdicts."""

    def entail(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """(B, 3, S, S) normalized pixels, (B, L) tokens and mask to (B, C) logits."""

    def entail_attention(
        self, pixels: Tensor, tokens: Tensor, mask: Tensor, *, layer: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same, and a fusion layer's (B, H, L, 1 + N) attention to the image, with its graph."""


@runtime_checkable
class ComparesImages(Protocol):
    """Judges statements about two images; the network's `classes` names the verdicts."""

    def compare(self, pixels: Tensor, pixels_2: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        """Twice (B, 3, S, S) normalized pixels, (B, L) tokens and mask to (B, C) logits."""

    def compare_attention(
        self, pixels: Tensor, pixels_2: Tensor, tokens: Tensor, mask: Tensor, *, layer: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The same, and a fusion layer's (B, H, L, 1 + N) attention to either image, with its graph."""


@runtime_checkable
class GroundsPhrases(Protocol):
    """Finds the region of an image that a phrase names, by its attention."""

    def ground_attention(
        self, pixels: Tensor, tokens: Tensor, mask: Tensor, *, layer: int
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(B, 3, S, S) normalized pixels, (B, L) tokens and mask to the match's (B, 2) logits, and a fusion
        layer's (B, H, L, 1 + N) attention to the image, with its graph."""


@runtime_checkable
class AnswersQuestions(Protocol):
    """Answers questions about images."""

    def known_answers(self) -> list[str]:
        """The answers of the training data, the most frequent first."""

    def read_questions(self, pixels: Tensor, tokens: Tensor, mask: Tensor) -> Memory:
        """(B, 3, S, S) normalized pixels, (B, L) tokens and mask to what the decoder reads."""

    def score_answers(self, memory: Memory, tokens: Tensor, mask: Tensor) -> Tensor:
        """Log-likelihoods (B, A) of (A, T) answers, the sum over their tokens, in nats."""

    def write_answers(
        self,
        memory: Memory,
        *,
        begin_id: int,
        end_id: int,
        decoding: Decoding,
        index: Tensor | None = None,
    ) -> Candidates:
        """Answers in the decoder's own words."""


class Ability(NamedTuple):
    """One entry of `ABILITIES`.

    Attributes:
        protocol: the methods a network needs for it.
        methods: the training methods that give it, for messages.
        example: how `Model` has it, for model cards.
        column: what one of its encoders reads, "image" or "audio"; None where that does not matter.
    """

    protocol: type
    methods: str
    example: str
    column: str | None = "image"


ABILITIES: dict[str, Ability] = {
    "encode_images": Ability(
        EncodesImages, "the methods that learn from images", 'encode_images(["image.jpg"])'
    ),
    "encode_audio": Ability(
        EncodesAudio, "the methods on sounds (NAME-audio)", 'encode_audio(["sound.wav"])', column="audio"
    ),
    "encode_texts": Ability(
        EncodesTexts, "the methods that learn from texts", 'encode_texts(["a text"])', column=None
    ),
    "match": Ability(MatchesPairs, "tcl", 'match("image.jpg", "a text")'),
    "caption": Ability(WritesCaptions, "captioning", 'caption(["image.jpg"])'),
    "classify": Ability(ClassifiesImages, "the methods of domain adaptation", 'classify(["image.jpg"])'),
    "entail": Ability(EntailsStatements, "entailment", 'entail("image.jpg", "a statement")'),
    "compare": Ability(ComparesImages, "nlvr", 'compare("left.jpg", "right.jpg", "a statement")'),
    "ground": Ability(GroundsPhrases, "tcl", 'ground("image.jpg", "a phrase")'),
    "answer": Ability(AnswersQuestions, "vqa", 'answer("image.jpg", "a question")'),
}
"""By name. To add one, add its protocol and an entry."""
