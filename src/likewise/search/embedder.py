"""What an index needs of a model, and the fingerprint that tells models apart."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Embedder", "model_fingerprint"]


class Embedder(Protocol):
    """A model that turns images or sounds, texts or both into vectors (D,); see `likewise.model.Model`."""

    config: dict[str, Any]
    tokenizer: Any

    @property
    def network(self) -> Any:
        """The network."""

    def encoder_of(self, column: str) -> Any:
        """The encoder of images ("image") or sounds ("audio"), which says size or rate."""

    @property
    def abilities(self) -> list[str]:
        """What the model can do, such as `encode_images`."""

    @property
    def dim(self) -> int:
        """D."""

    def needs(self, ability: str) -> Any:
        """Raises AbilityError where the model lacks the ability."""

    def encode_squares(self, squares: Tensor) -> np.ndarray:
        """(B, D) float32 unit vectors of (B, 3, S, S) uint8 squares, or of (B, L) int16 waves."""

    def encode_audio(self, sounds: Any, *, batch_size: int = 128) -> np.ndarray | Tensor:
        """(N, D) float32 unit vectors of sounds in any form."""

    def encode_images(self, images: Any, *, batch_size: int = 256) -> np.ndarray:
        """(N, D) float32 unit vectors of images in any form."""

    def encode_texts(self, texts: Any, *, batch_size: int = 256) -> np.ndarray:
        """(N, D) float32 unit vectors of texts."""


def model_fingerprint(model: Embedder) -> str:
    """A name for what the model computes, wherever its folder lies: weights, network, tokenizer, squares."""
    network: nn.Module = model.network
    digest = hashlib.blake2b(digest_size=16)
    described = {name: model.config[name] for name in ("network", "images", "texts")}
    digest.update(json.dumps(described, sort_keys=True).encode())
    if model.tokenizer is not None:
        digest.update(model.tokenizer.to_json().encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        # As bytes: numpy knows no bfloat16.
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
