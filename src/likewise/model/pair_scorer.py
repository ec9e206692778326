"""Judging pairs: does this text belong to this picture?

Each picture and each text is encoded once, whatever the number of pairs; only the fusion layers run for every
pair. Dimensions: N pictures, M texts, P pairs, L tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from likewise.encoders.fusion import Pairing
from likewise.networks.abilities import MatchesPairs

if TYPE_CHECKING:
    from likewise.model.model import Model

__all__ = ["PairScorer"]


class PairScorer:
    """Pictures and texts, encoded, whose pairs can be judged.

    Args:
        model: has the ability to match.
        stored: batches of stored (B, 3, S, S) uint8 squares, N in all.
        texts: M texts.
        batch_size: pairs fused at once.
    """

    def __init__(
        self, model: Model, stored: Iterable[Tensor], texts: list[str], *, batch_size: int = 256
    ) -> None:
        self._network: MatchesPairs = model.needs("match", MatchesPairs)
        self._model = model
        self._batch_size = batch_size
        assert model.tokenizer is not None
        tokens, mask = model.tokenizer.pad(model.tokenizer.encode(texts))
        self._mask = torch.from_numpy(mask).to(model.device)  # (M, L)
        with model.computing():
            # In the processor's memory: at the papers' sizes a picture's take megabytes. A call sorts its
            # pairs by picture, so each travels about once.
            images, firsts = [], []
            for batch in stored:
                encoded = self._network.image_states(model.pixels(batch))
                firsts.append(encoded[:, :1].clone())
                images.append(encoded.cpu())
            self._images = torch.cat(images)  # (N, 1 + patches, E)
            states = [
                self._network.text_states(
                    torch.from_numpy(tokens[start : start + batch_size]).to(model.device),
                    self._mask[start : start + batch_size],
                )
                for start in range(0, len(tokens), batch_size)
            ]
            self._texts = torch.cat(states)  # (M, L, F)
            self._rows = self._network.project(torch.cat(firsts), self._texts)  # (N, D), (M, D)
            self._temperature = float(self._network.temperature)

    def __call__(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Log odds that each pair belongs together, as the matching head sees it.

        Args:
            images: (P,) places among the pictures.
            texts: (P,) places among the texts.

        Returns:
            (P,) float32; above 0 means more likely than not.
        """
        # Pairs of one picture side by side: what the fusion encoder makes of its tokens, which outnumber a
        # text's by far, is made once a batch for all of them.
        order = np.argsort(images, kind="stable")
        odds = np.empty(len(order), np.float32)
        with self._model.computing():
            for start in range(0, len(order), self._batch_size):
                places = order[start : start + self._batch_size]
                seen, of_seen = np.unique(images[places], return_inverse=True)
                image, text = (
                    torch.from_numpy(rows).to(self._mask.device) for rows in (of_seen, texts[places])
                )
                mask = self._mask[text]
                longest = int(mask.sum(dim=1).max())
                logits = self._network.match_logits(
                    self._texts[text, :longest],
                    mask[:, :longest],
                    self._images[torch.from_numpy(seen)].to(self._mask.device),
                    Pairing(others=image),
                ).float()  # (p, 2)
                odds[places] = (logits[:, 1] - logits[:, 0]).cpu().numpy()
        return odds

    def probabilities(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """(P,) float32 in [0, 1] that each pair belongs together; arguments as of a call."""
        probabilities: np.ndarray = torch.from_numpy(self(images, texts)).sigmoid().numpy()
        return probabilities

    def posterior(self, images: np.ndarray, texts: np.ndarray) -> np.ndarray:
        """Log odds and cosine / temperature together: the order in which candidates of a search belong.

        The head learned to tell true pairs from such as softmax(cosine / temperature) draws, so its odds say
        how much more likely a pair is than the shared space says already, and the two add up (as in Deng
        2020, arXiv 2004.11714, eq. 2). The odds alone forget what the search has found.

        Args:
            images: (P,) places among the pictures.
            texts: (P,) places among the texts.

        Returns:
            (P,) float32, comparable among the candidates of one query.
        """
        rows = (torch.from_numpy(np.ascontiguousarray(places)) for places in (images, texts))
        image, text = (kind[row] for kind, row in zip(self._rows, rows, strict=True))
        cosines = (image * text).sum(dim=1).cpu().numpy()
        combined: np.ndarray = self(images, texts) + cosines / self._temperature
        return combined
