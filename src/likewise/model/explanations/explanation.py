"""What an explanation is: a map over the image for each word and for all, and how to draw one.

Dimensions: W words, g side of the map, S side of the image in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Explanation", "by_words", "overlay"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The image regions behind a match, a cosine or a generated caption."""

    words: list[str]
    """W words, as written in the text; none where the words have no maps of their own."""
    maps: NDArray[np.float32]
    """(W, g, g), at least 0: how much each region matters, word by word; not scaled."""
    whole: NDArray[np.float32]
    """(g, g), at least 0, the same for the whole text or the other image."""
    text: str | None = None
    """The text; None where the image is compared with another image."""
    probability: float | None = None
    """Of the match of image and text, by models with a fusion encoder."""
    cosine: float | None = None
    """Of the image's embedding with the text's or the other image's, where that is explained."""

    @property
    def figure(self) -> str:
        """The figure that is explained, in words; a generated caption has none."""
        if self.probability is not None:
            return f"match {self.probability:.0%}"
        return "image" if self.cosine is None else f"cosine {self.cosine:.2f}"

    def word_maps(self) -> list[tuple[str, NDArray[np.float32]]]:
        """Each word with its (g, g) map; signs alone, such as a full stop, are no words."""
        pairs = zip(self.words, self.maps, strict=True)
        return [(word, heat) for word, heat in pairs if any(sign.isalnum() for sign in word)]

    def drawn(self, image: NDArray[np.uint8], heat: NDArray[np.float32]) -> Any:
        """One of its maps over the image; of attention, which is nowhere 0, what is above the average."""
        is_attention = self.probability is None and self.cosine is None
        return overlay(image, heat, floor=float(heat.mean()) if is_attention else 0.0)

    def phrase(self, first: int, last: int) -> NDArray[np.float32]:
        """(g, g), the mean over the words `first` to `last`, both included."""
        return np.asarray(self.maps[first : last + 1].mean(axis=0), np.float32)


def by_words(
    spans: list[tuple[str, list[int]]], maps: NDArray[np.float32]
) -> tuple[list[str], NDArray[np.float32]]:
    """The words of a text and their maps, each the mean over the word's tokens.

    Args:
        spans: words with the places of their tokens, see `TextTokenizer.word_spans`.
        maps: (L, g, g), one for each token.
    """
    grids = [maps[places].mean(axis=0) for _, places in spans]
    stacked = np.stack(grids) if grids else np.zeros((0, *maps.shape[1:]), np.float32)
    return [word for word, _ in spans], stacked


def overlay(
    image: NDArray[np.uint8], heat: NDArray[np.float32], *, floor: float = 0.0, strength: float = 0.6
) -> Any:
    """An image with a map over it, as a PIL image.

    Args:
        image: (3, S, S) uint8.
        heat: (g, g), at least 0; scaled to its own maximum.
        floor: what is shown as nothing.
        strength: opacity at the map's maximum, in [0, 1].
    """
    import matplotlib
    from PIL import Image

    side = image.shape[1]
    scaled = np.maximum(heat - floor, 0) / max(float(heat.max()), 1e-12)
    wide = np.asarray(
        Image.fromarray(scaled.astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
    )
    wide = np.clip(wide, 0, 1)[..., None]
    colors = matplotlib.colormaps["inferno"](wide[..., 0])[..., :3] * 255
    share = strength * np.sqrt(wide)
    mixed = (1 - share) * image.transpose(1, 2, 0) + share * colors
    return Image.fromarray(mixed.round().astype(np.uint8))
