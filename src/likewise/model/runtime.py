"""A trained network with what it takes to run it: tokenizer, device, preparation of pixels.

Dimensions: B batch, S side in pixels, L tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from likewise.encoders.image import ImageEncoder
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import AbilityError
from likewise.model.inputs import ImageInput, batches, several_images
from likewise.networks.abilities import ABILITIES
from likewise.networks.base import Network

__all__ = ["ENCODING", "Runtime", "joined_vectors", "returned_as"]

ENCODING = {"image": "encode_images", "audio": "encode_audio"}
"""The ability that embeds a column."""

_SHOWN = 40  # of a long text in a warning


def _column(stored: Tensor) -> str:
    """What is stored so: squares (B, 3, S, S) of images, waves (B, L) of sounds."""
    return "audio" if stored.ndim == 2 else "image"


class Runtime:
    """A network that takes stored images and texts.

    Args:
        network: of `likewise.networks`.
        config: the content of config.json.
        tokenizer: None where the network reads no texts.
    """

    def __init__(self, network: Network, config: dict[str, Any], tokenizer: TextTokenizer | None) -> None:
        self.network = network
        self.config = config
        self.tokenizer = tokenizer

    @property
    def abilities(self) -> list[str]:
        """What this model can do, such as `encode_images`."""
        return self.network.abilities()

    @property
    def encoding(self) -> str:
        """The ability of its first encoder, `encode_images` or `encode_audio`."""
        return ENCODING[self.column or "image"]

    @property
    def dim(self) -> int:
        """D, the width of its embeddings."""
        return self.network.dim

    @property
    def num_weights(self) -> int:
        """The number of weights."""
        return sum(weight.numel() for weight in self.network.parameters())

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return next(self.network.parameters()).device

    def needs(self, ability: str) -> Any:
        """The network, which satisfies the ability's protocol.

        Args:
            ability: a name of `likewise.networks.abilities.ABILITIES`.

        Raises:
            AbilityError: it lacks the ability; the message says which methods give it.
        """
        if ability in self.abilities:
            return self.network
        able = " and ".join(self.abilities).replace("_", " ") or "do nothing"
        raise AbilityError(
            f"this model ({self.config['method']}) cannot {ability.replace('_', ' ')}, it can {able}; "
            f"that ability comes with {ABILITIES[ability].methods}, see `likewise methods`."
        )

    @property
    def image_encoder(self) -> ImageEncoder:
        """The image encoder, or the audio encoder in its place, which says size and normalization.

        Raises:
            AbilityError: there is none.
        """
        return self.encoder_of(None)

    def encoder_of(self, column: str | None) -> ImageEncoder:
        """The encoder that reads a column, "image" or "audio"; the first of either when None.

        Raises:
            AbilityError: there is none.
        """
        encoder = self.network.encoder_of(column)
        if encoder is None:
            raise AbilityError(f"this model ({self.config['method']}) has no {column or 'image'} encoder.")
        return encoder

    @property
    def column(self) -> str | None:
        """The column that its first encoder reads, "image" or "audio"; None for a model of texts."""
        encoder = self.network.image_encoder
        return None if encoder is None else encoder.column

    def pixels(self, stored: Tensor) -> Tensor:
        """(B, 3, S', S') stored uint8 squares to (B, 3, S, S) normalized pixels on the device, or (B, L)
        int16 waves to (B, 1, M, F) spectrograms."""
        return self.encoder_of(_column(stored)).whole_view(stored.to(self.device))

    def stored_squares(
        self, images: Sequence[ImageInput], *, first: int = 0, such_as: str = "image"
    ) -> Tensor:
        """(N, 3, S, S) uint8 squares of images in any form, as training saw them.

        Args:
            images: N.
            first: number of the first one, for messages.
            such_as: what they are, for messages.
        """
        from likewise.data.images.inputs import square_images

        size, options = self.image_encoder.image_size, self.config["images"]
        size = options["store_size"] or size
        return square_images(images, size=size, fit=options["fit"], first=first, such_as=such_as)

    def embed_stored(self, stored: Tensor) -> Tensor:
        """(B, D) of stored (B, 3, S, S) uint8 squares, or (B, L) int16 waves."""
        network, pixels = self.needs(ENCODING[_column(stored)]), self.pixels(stored)
        with self.computing():
            vectors = network.encode_audio(pixels) if stored.ndim == 2 else network.encode_images(pixels)
            return cast(Tensor, vectors)

    def stored_batches(self, images: ImageInput | Sequence[ImageInput], batch_size: int) -> Iterator[Tensor]:
        """`stored_squares` of some images at a time."""
        several = several_images(images)
        for rows in batches(len(several), batch_size):
            yield self.stored_squares(several[rows], first=rows.start)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """(B, L) tokens and (B, L) mask of texts, on the device."""
        assert self.tokenizer is not None
        return self.padded(self.tokenizer.encode(texts))

    def padded(self, rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """(B, L) tokens and (B, L) mask of rows of tokens, on the device."""
        assert self.tokenizer is not None
        tokens, mask = self.tokenizer.pad(rows)
        return torch.from_numpy(tokens).to(self.device), torch.from_numpy(mask).to(self.device)

    def warn_of_cut(self, texts: Sequence[str], such_as: str) -> None:
        """Warn of texts that are longer than the model reads.

        Args:
            texts: any.
            such_as: what they are, such as "questions".
        """
        assert self.tokenizer is not None
        most = self.tokenizer.max_tokens
        lengths = [len(row) for row in self.tokenizer.uncut().encode(texts)]
        cut = [place for place, length in enumerate(lengths) if length > most]
        if cut:
            first = texts[cut[0]]
            shown = first if len(first) <= _SHOWN else f"{first[:_SHOWN]}..."
            warnings.warn(
                f"{len(cut):,} of {len(lengths):,} {such_as} are longer than this model reads, the first is "
                f"{shown!r}: of its {lengths[cut[0]]:,} tokens the last {lengths[cut[0]] - most:,} were not "
                "read",
                stacklevel=4,
            )

    @contextmanager
    def computing(self, *, with_gradients: bool = False) -> Iterator[None]:
        """Evaluation mode, without a graph unless asked for; the mode is restored afterwards."""
        training = self.network.training
        if training:  # switching takes a while in large networks
            self.network.eval()
        try:
            with torch.enable_grad() if with_gradients else torch.inference_mode():
                yield
        finally:
            if training:
                self.network.train()


def joined_vectors(batches: Iterable[Tensor], *, dim: int, normalize: bool = True) -> np.ndarray:
    """(N, D) float32 vectors of all batches, of unit length where `normalize`."""
    # Each batch leaves the device: all N vectors may not fit there.
    vectors = [
        (nn.functional.normalize(batch.float(), dim=1) if normalize else batch.float()).cpu()
        for batch in batches
    ]
    return torch.cat(vectors).numpy() if vectors else np.zeros((0, dim), np.float32)


def returned_as(kind: str, vectors: np.ndarray) -> np.ndarray | Tensor:
    """The vectors as an array ("np") or a tensor that shares their memory ("pt")."""
    if kind not in ("np", "pt"):
        raise ValueError(f"return_tensors must be 'np' or 'pt', got {kind!r}")
    return torch.from_numpy(vectors) if kind == "pt" else vectors
