"""What the model computes for batches of inputs; each result is ready to be written as JSON.

Dimensions: B of a batch, S side in pixels, L tokens, D width of the embedding, g side of a map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likewise.encoders.decoders import Decoding
from likewise.model.answers import Score
from likewise.model.classes import class_probabilities
from likewise.model.explanations.answer_maps import answer_maps
from likewise.model.explanations.explain import explain_images
from likewise.model.explanations.grounding import ground_squares
from likewise.model.model import Model
from likewise.model.pair_scorer import PairScorer
from likewise.model.runtime import joined_vectors
from likewise.model.text_vectors import most_tokens
from likewise.model.verdicts import class_probabilities as verdict_probabilities
from likewise.model.verdicts import look, verdicts
from likewise.serving.batcher import Work
from likewise.serving.inputs import Square
from likewise.serving.limits import Limits

__all__ = ["Works", "rounded_map"]


class Works:
    """The kinds of work of a model.

    Args:
        model: its methods are called in the batcher's thread alone.
        limits: of batches.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self._model = model
        self._network: Any = model.network.eval()
        self._most = limits.max_batch_images
        self.texts = Work(
            "texts",
            self._texts,
            limits.max_batch_texts,
            limits.max_batch_tokens or most_tokens(model.device),
        )
        """(L,) tokens to a (D,) unit vector."""
        self.images = self._of_images("images", self._images)
        """A Square to a (D,) unit vector."""
        self.classes = self._of_images("classes", self._classes)
        """A Square to (C,) probabilities."""
        self.match = self._of_images("match", self._match)
        """A Square and a text to a probability."""
        self.explain = self._of_images("explain", self._explain)
        """A Square and a text, or None, to the regions behind a match, a cosine or a caption."""

    def _of_images(self, key: Any, run: Any) -> Work:
        return Work(key, run, self._most)

    def captions(self, decoding: Decoding) -> Work:
        """A Square to its captions."""

        def run(squares: list[Square]) -> list[Any]:
            found = self._model.caption_stored(_stored(squares), decoding)
            return [
                [
                    {"text": one.text, "log_prob": _finite(one.log_prob), "ended": one.ended}
                    for one in captions
                ]
                for captions in found
            ]

        return self._of_images(("captions", decoding), run)

    def answers(
        self, answers: tuple[str, ...] | None, *, free: bool, score: Score, num_answers: int, looks: bool
    ) -> Work:
        """A Square and a question to answers, with a map of the best one where `looks`."""

        def run(rows: list[tuple[Square, str]]) -> list[Any]:
            squares, questions = map(list, zip(*rows, strict=True))
            stored = _stored(squares)
            found = self._model.answer_stored(
                [stored], questions, answers, free=free, score=score, num_answers=num_answers
            )
            results: list[dict[str, Any]] = [
                {"answers": [one._asdict() | {"log_prob": _finite(one.log_prob)} for one in row]}
                for row in found
            ]
            if looks:
                best = [row[0].text if row else " " for row in found]
                for result, heat in zip(
                    results, answer_maps(self._model, stored, questions, best), strict=True
                ):
                    result["map"] = rounded_map(heat)
            return results

        return self._of_images(("answers", answers, free, score, num_answers, looks), run)

    def judge(self, ability: str, *, looks: bool) -> Work:
        """One Square (`entail`) or two (`compare`) and a statement to a verdict, with maps where `looks`."""

        def run(rows: list[Any]) -> list[Any]:
            *images, statements = map(list, zip(*rows, strict=True))
            stored = [_stored(squares) for squares in images]
            if looks:
                seen = look(self._model, ability, stored, statements)
                return [_verdict(one.verdict) | {"maps": [*map(rounded_map, one.maps)]} for one in seen]
            found = verdict_probabilities(self._model, ability, stored, statements)
            return [_verdict(one) for one in verdicts(self._model, found)]

        return self._of_images((ability, looks), run)

    @property
    def ground(self) -> Work:
        """A Square, a phrase and K boxes to the region that the phrase names."""

        def run(rows: list[Any]) -> list[Any]:
            squares, phrases, boxes = map(list, zip(*rows, strict=True))
            sizes = [square.size for square in squares]
            found = ground_squares(self._model, _stored(squares), sizes, phrases, boxes)
            return [
                {
                    "probability": one.probability,
                    "point": one.point,
                    "region": one.region,
                    "box_scores": one.box_scores,
                    "best_box": one.best_box,
                    "map": rounded_map(one.heat),
                }
                for one in found
            ]

        return self._of_images("ground", run)

    def _texts(self, rows: list[NDArray[np.int32]]) -> NDArray[np.float32]:
        with self._model.computing():
            vectors: Tensor = self._network.encode_texts(*self._model.padded(rows))
        return joined_vectors([vectors], dim=self._model.dim)

    def _images(self, squares: list[Square]) -> NDArray[np.float32]:
        with self._model.computing():
            vectors: Tensor = self._network.encode_images(self._model.pixels(_stored(squares)))
        return joined_vectors([vectors], dim=self._model.dim)

    def _classes(self, squares: list[Square]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = class_probabilities(self._model, [_stored(squares)])
        return found

    def _match(self, rows: list[tuple[Square, str]]) -> list[float]:
        squares, texts = map(list, zip(*rows, strict=True))
        scorer = PairScorer(self._model, [_stored(squares)], texts)
        places = np.arange(len(rows))
        probabilities: list[float] = scorer.probabilities(places, places).tolist()
        return probabilities

    def _explain(self, rows: list[tuple[Square, str | None]]) -> list[Any]:
        # Those with a text and those without are two kinds, of which one batch holds one.
        squares, texts = map(list, zip(*rows, strict=True))
        with_texts = [text is not None for text in texts]
        if any(with_texts) != all(with_texts):
            return [self._explain([row])[0] for row in rows]
        found = explain_images(self._model, _stored(squares), texts=texts if all(with_texts) else None)
        return [
            {
                "text": one.text,
                "probability": one.probability,
                "cosine": one.cosine,
                "map": rounded_map(one.whole),
                "words": [{"word": word, "map": rounded_map(heat)} for word, heat in one.word_maps()],
            }
            for one in found
        ]


def rounded_map(heat: NDArray[np.float32]) -> list[list[float]]:
    """(g, g) of at least 0, as lists scaled to a maximum of 1: what is drawn needs no more digits."""
    scaled = np.nan_to_num(heat / max(float(heat.max()), 1e-12))
    rows: list[list[float]] = np.round(scaled.astype(np.float64), 3).tolist()
    return rows


def _stored(squares: Sequence[Square]) -> Tensor:
    """(B, 3, S, S) uint8."""
    pixels = np.stack([square.pixels for square in squares])  # (B, S, S, 3)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


def _finite(number: float) -> float | None:
    """JSON has no infinite numbers."""
    return number if math.isfinite(number) else None


def _verdict(verdict: Any) -> dict[str, Any]:
    return {"label": verdict.label, "probabilities": verdict.probabilities}
