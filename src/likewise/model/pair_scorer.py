"""Scores pairs: does this text belong to this image?

Each image and each text is encoded once; only the fusion layers run for every pair.
Dimensions: N images, M texts, P pairs, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from likewise.encoders.pairing import Pairing
from likewise.errors import DataError
from likewise.model.inputs import ImageInput, batches
from likewise.model.runtime import Runtime
from likewise.networks.abilities import MatchesPairs

__all__ = ["PairScorer", "match_pairs"]


class PairScorer:
    """Encoded images and texts, whose pairs can be scored.

    Args:
        model: has the ability `match`.
        stored: batches of stored (B, 3, S, S) uint8 squares, N in all.
        texts: M texts.
        batch_size: pairs fused at once.
    """

    def __init__(
        self, model: Runtime, stored: Iterable[Tensor], texts: list[str], *, batch_size: int = 256
    ) -> None:
        self._network: MatchesPairs = model.needs("match")
        self._model = model
        self._batch_size = batch_size
        tokens, self._mask = model.tokens(texts)  # (M, L)
        with model.computing():
            # In the CPU's memory: at the papers' sizes an image's states take megabytes. A call sorts its
            # pairs by image, so each is moved about once.
            images, firsts = [], []
            for batch in stored:
                encoded = self._network.image_states(model.pixels(batch))
                firsts.append(encoded[:, :1].clone())
                images.append(encoded.cpu())
            self._images = torch.cat(images)  # (N, 1 + patches, E)
            states = [
                self._network.text_states(
                    tokens[start : start + batch_size], self._mask[start : start + batch_size]
                )
                for start in range(0, len(texts), batch_size)
            ]
            self._texts = torch.cat(states)  # (M, L, F)
            self._rows = self._network.project(torch.cat(firsts), self._texts)  # (N, D), (M, D)
            self._temperature = float(self._network.temperature)

    def __call__(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Log odds of the matching head that each pair belongs together.

        Args:
            images: (P,) rows of the images.
            texts: (P,) rows of the texts.

        Returns:
            (P,) float32; above 0 means more likely than not.
        """
        # Pairs of one image go together: the fusion encoder computes the keys and values of its many tokens
        # once per batch.
        order = np.argsort(images, kind="stable")
        odds = np.empty(len(order), np.float32)
        with self._model.computing():
            for start in range(0, len(order), self._batch_size):
                places = order[start : start + self._batch_size]
                used, rows_of_used = np.unique(images[places], return_inverse=True)
                image, text = (
                    torch.from_numpy(rows).to(self._mask.device) for rows in (rows_of_used, texts[places])
                )
                mask = self._mask[text]
                longest = int(mask.sum(dim=1).max())
                logits = self._network.match_logits(
                    self._texts[text, :longest],
                    mask[:, :longest],
                    self._images[torch.from_numpy(used)].to(self._mask.device),
                    Pairing(others=image),
                ).float()  # (p, 2)
                odds[places] = (logits[:, 1] - logits[:, 0]).cpu().numpy()
        return odds

    def probabilities(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """(P,) float32 in [0, 1] that each pair belongs together; arguments as of a call."""
        probabilities: np.ndarray = torch.from_numpy(self(images, texts)).sigmoid().numpy()
        return probabilities

    def posterior(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Log odds plus cosine / temperature, to rank the candidates of a search.

        The head learned to tell true pairs from negatives drawn by softmax(cosine / temperature), so its odds
        are relative to what the shared space already says, and the two add up (as in Deng 2020, arXiv
        2004.11714, eq. 2).

        Args:
            images: (P,) rows of the images.
            texts: (P,) rows of the texts.

        Returns:
            (P,) float32, comparable among the candidates of one query.
        """
        rows = (torch.from_numpy(np.ascontiguousarray(places)) for places in (images, texts))
        image, text = (kind[row] for kind, row in zip(self._rows, rows, strict=True))
        cosines = (image * text).sum(dim=1).cpu().numpy()
        combined: np.ndarray = self(images, texts) + cosines / self._temperature
        return combined


def match_pairs(
    model: Runtime,
    images: Sequence[ImageInput],
    texts: list[str],
    stored_squares: Callable[..., Tensor],
    *,
    batch_size: int,
) -> np.ndarray:
    """(N,) float32 probabilities that images and texts belong together; see `Model.match`.

    Args:
        model: has the ability `match`.
        images: N, or one for all texts.
        texts: N, or one for all images.
        stored_squares: reads images, see `Model.stored_squares`.
        batch_size: pairs per forward pass.

    Raises:
        DataError: the numbers of images and texts differ, or an image cannot be read.
    """
    lengths = {len(images), len(texts)}
    if len(lengths) > 1 and (1 not in lengths or 0 in lengths):
        raise DataError(
            f"{len(images)} images and {len(texts)} texts do not make pairs; "
            "give as many of each, or one of either."
        )
    probabilities = np.empty(max(lengths), np.float32)
    for rows in batches(len(probabilities), batch_size):
        # A single image or text is in every pair, and encoded again for each batch of the others.
        of_images, of_texts = (
            rows if len(given) == len(probabilities) else slice(0, 1) for given in (images, texts)
        )
        stored = stored_squares(images[of_images], first=of_images.start)
        scorer = PairScorer(model, [stored], texts[of_texts], batch_size=batch_size)
        pairs = np.arange(len(probabilities[rows]))
        probabilities[rows] = scorer.probabilities(pairs % len(stored), pairs % len(texts[of_texts]))
    return probabilities
