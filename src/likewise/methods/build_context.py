"""What a method is built from: options of its encoders, or the network that training starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from likewise.encoders import AudioEncoder, AudioEncoderConfig, ImageEncoderConfig, TextEncoderConfig
from likewise.encoders.audio.encoder import stored_form
from likewise.encoders.fusion import FusionEncoder, cut_fusion, fusion_above
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.errors import ConfigError
from likewise.networks.registry import encoder_spec, has_encoder

__all__ = ["BuildContext", "TokenizerInfo"]


class TokenizerInfo(NamedTuple):
    """What a method knows of the tokenizer.

    Attributes:
        vocabulary_size: number of tokens.
        mask_id: the mask token; None if there is none.
        special_ids: tokens that are never masked.
        max_tokens: longest text.
    """

    vocabulary_size: int
    mask_id: int | None
    special_ids: tuple[int, ...]
    max_tokens: int = 77


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What a method is built from, besides its own options.

    Attributes:
        image: options of the image encoder; None for a method that reads no images.
        audio: options of the audio encoder, which takes its place in a method on sounds alone.
        text: options of the text encoder; None for a method that reads no texts.
        views: options of each view family.
        tokenizer: None for a method that reads no texts.
        num_rows: rows of the training split, for memory banks and queues.
        answers: of the training split, the most frequent first; none where the method reads none.
        classes: names of the labels, in the order of their numbers.
        trained: `spec` of the network that training starts from. The encoders are then built like that
            network's, whatever their options say; its weights are loaded after the method is built.
    """

    image: ImageEncoderConfig | None = None
    audio: AudioEncoderConfig | None = None
    text: TextEncoderConfig | None = None
    views: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: TokenizerInfo | None = None
    num_rows: int = 0
    answers: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    trained: dict[str, Any] | None = None

    @property
    def is_pretrained(self) -> bool:
        """Whether every encoder starts from trained weights: those of the network that training starts from,
        which may lack one of them, or published ones."""
        trained = {} if self.trained is None else self.trained
        return all(
            options is None or options.pretrained is not None or has_encoder(trained, name)
            for name, options in (
                ("image", self.image or self.audio),
                ("audio", self.image and self.audio),
                ("text", self.text),
            )
        )

    def image_encoder(self) -> ImageEncoder:
        """An image encoder for images of the configured size, or an audio encoder in its place."""
        if self.image is None:
            return self.audio_encoder("image")
        if self.trained is None or not has_encoder(self.trained, "image"):
            return ImageEncoder.build(self.image)
        encoder = ImageEncoder.from_spec(encoder_spec(self.trained, "image"))
        encoder.resize(self.image.image_size)
        encoder.freeze_unused()
        return encoder

    def audio_encoder(self, part: str = "audio") -> AudioEncoder:
        """An audio encoder.

        Args:
            part: what it is in the network: "image" where it takes the place of an image encoder.
        """
        assert self.audio is not None, "the method's `needs` must name the column image or audio"
        if self.trained is None or not has_encoder(self.trained, part):
            return AudioEncoder.of_options(self.audio)
        trained = ImageEncoder.from_spec(encoder_spec(self.trained, part))
        if not isinstance(trained, AudioEncoder) or trained.form != stored_form(self.audio):
            raise ConfigError(
                "--training.start-from: that model takes sounds of another rate or length; leave the "
                "--audio options out."
            )
        trained.freeze_unused()
        return trained

    def text_encoder(self) -> TextEncoder:
        """A text encoder for the tokenizer's vocabulary."""
        assert self.text is not None, "the method's `needs` must name the column text"
        assert self.tokenizer is not None
        if self.trained is None or not has_encoder(self.trained, "text"):
            return TextEncoder.build(self.text, vocabulary_size=self.tokenizer.vocabulary_size)
        encoder = TextEncoder.from_spec(encoder_spec(self.trained, "text"))
        encoder.freeze_unused()
        return encoder

    def fusion_encoders(self, depth: int | None) -> tuple[ImageEncoder, TextEncoder, FusionEncoder]:
        """Encoders of images and texts with fusion layers above both, for fine-tuning to a task.

        The fusion layers are those of the network that training starts from, if it has some; fresh ones above
        its text encoder, if it has one; and otherwise cut from the top of a new or pre-trained BERT.

        Args:
            depth: `method.fusion_depth`, the number of fusion layers; None for half of the text encoder's, or
                as many as the network has that training starts from.

        Raises:
            ConfigError: the text encoder is no BERT, or another depth cannot be had.
        """
        image, text = self.image_encoder(), self.text_encoder()
        trained = {} if self.trained is None else self.trained
        if "fusion" not in trained:
            make = fusion_above if has_encoder(trained, "text") else cut_fusion
            positions = image.convolutional
            return image, text, make(text, depth=depth, image_dim=image.dim, image_positions=positions)
        fusion = FusionEncoder.from_spec(trained["fusion"])
        if depth not in (None, len(fusion.layers)):
            raise ConfigError(
                f"--method.fusion-depth is {depth}, and that of --training.start-from's model "
                f"{len(fusion.layers)}; leave it out."
            )
        return image, text, fusion
