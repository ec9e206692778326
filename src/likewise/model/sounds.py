"""Embeddings of sounds, by a model with an encoder that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from likewise.data.audio.inputs import SoundInput, Sounds, several_sounds, sound_waves
from likewise.encoders.audio.encoder import AudioEncoder
from likewise.model.inputs import batches
from likewise.model.runtime import Runtime, joined_vectors, returned_as

__all__ = ["SoundModel"]


class SoundModel(Runtime):
    """A model that embeds sounds."""

    def encode_audio(
        self,
        sounds: Sounds,
        *,
        batch_size: int = 128,
        normalize: bool = True,
        return_tensors: Literal["np", "pt"] = "np",
    ) -> np.ndarray | Tensor:
        """Embed sounds of any rate and length.

        Args:
            sounds: one or several of: a path, encoded bytes, a pair (samples, rate) of a float or int16 array
                (n,) or (n, C) and its samples a second. A longer sound than the model takes keeps its
                beginning.
            batch_size: sounds per forward pass.
            normalize: scale the vectors to unit length.
            return_tensors: "np" for an array, "pt" for a tensor on the CPU.

        Returns:
            (N, D) float32; (1, D) for a single sound.

        Raises:
            AbilityError: the model has no audio encoder.
            DataError: a sound cannot be read; the message says which.
            ValueError: `batch_size` below 1.
        """
        self.needs("encode_audio")  # before any sound is read
        several = several_sounds(sounds)
        stored = (
            self.stored_waves(several[rows], first=rows.start) for rows in batches(len(several), batch_size)
        )
        vectors = joined_vectors(map(self.embed_stored, stored), dim=self.dim, normalize=normalize)
        return returned_as(return_tensors, vectors)

    def stored_waves(self, sounds: Sequence[SoundInput], *, first: int = 0) -> Tensor:
        """(N, L) int16 waves of sounds in any form, as training saw them; see `stored_squares`."""
        encoder = self.encoder_of("audio")
        assert isinstance(encoder, AudioEncoder), "the model has the ability encode_audio"
        return sound_waves(sounds, encoder.form, first=first)
