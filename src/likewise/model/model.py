"""A trained model as users meet it. `folder` reads and writes it, `runtime` runs its network.

Dimensions: N items, D width of the embedding, S side in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
import torch
from torch import Tensor, nn

from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import DataError
from likewise.model.answers import Answers
from likewise.model.captions import Captions
from likewise.model.folder import FORMAT, read_model, write_model
from likewise.model.grad_cam import Explanation, explain, explainable
from likewise.model.inputs import ImageInput, batches, checked_texts, dataset_batches, several_images
from likewise.model.pair_scorer import PairScorer
from likewise.model.runtime import returned_as
from likewise.model.statement_model import StatementModel
from likewise.networks.base import Network

if TYPE_CHECKING:
    from likewise.data.dataset import Dataset

__all__ = ["ImageInput", "Model", "load"]


def load(path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Model:
    """Open a trained model.

    Args:
        path: a model folder, a run's folder, or a name on the Hugging Face hub.
        device: of the network.

    Raises:
        ConfigError: there is no such device.
        ModelError: there is no usable model; the message says what was looked for.
    """
    return Model.load(path, device=device)


class Model(Captions, Answers, StatementModel):
    """A trained network that takes images and texts in any form; see `Runtime` for the arguments.

    Captions and other abilities that need more than a few lines are bases in files of their own."""

    @classmethod
    def trained(
        cls,
        network: Network,
        *,
        tokenizer: TextTokenizer | None,
        method: str,
        fit: str,
        store_size: int | None,
        trained_on: dict[str, Any],
    ) -> Model:
        """A model around a network that was just trained (they share weights).

        Args:
            network: of `likewise.networks`.
            tokenizer: None where the network reads no texts.
            method: the method's name.
            fit: how images became square; no matter where the network reads none.
            store_size: side of the stored images, from which training took views.
            trained_on: a description of the data, for the model card.
        """
        images = {"fit": fit, "store_size": store_size}
        texts = tokenizer and {"max_tokens": tokenizer.max_tokens, "pad_id": tokenizer.pad_id}
        config = {
            "format": FORMAT,
            "method": method,
            "network": network.spec(),
            "images": None if network.image_encoder is None else images,
            "texts": texts,
            "trained_on": trained_on,
        }
        return cls(network, config, tokenizer)

    def __repr__(self) -> str:
        """Method, abilities and sizes."""
        return (
            f"<Model of {self.config['method']}: {', '.join(self.abilities)}; embeddings of {self.dim} "
            f"dimensions, {self.num_weights:,} weights>"
        )

    def to(self, device: str | torch.device) -> Model:
        """Move the network; returns this model."""
        self.network.to(device)
        return self

    @overload
    def encode_images(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["np"] = "np",
    ) -> np.ndarray: ...

    @overload
    def encode_images(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["pt"],
    ) -> Tensor: ...

    def encode_images(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["np", "pt"] = "np",
    ) -> np.ndarray | Tensor:
        """Embed images of any size.

        Args:
            images: one or several of: a path, encoded bytes, a PIL image, a uint8 array (H, W, 3) or (H,
                W), a uint8 tensor (3, H, W). URLs are rejected: download them first.
            batch_size: images per forward pass.
            normalize: scale the vectors to unit length.
            return_tensors: "np" for an array, "pt" for a tensor on the CPU.

        Returns:
            (N, D) float32; (1, D) for a single image.

        Raises:
            AbilityError: the model has no image encoder.
            DataError: an image cannot be read; the message says which.
            ValueError: `batch_size` below 1.
        """
        self.needs("encode_images")  # before any image is read
        vectors = self._collect(map(self._embed_images, self.stored_batches(images, batch_size)), normalize)
        return returned_as(return_tensors, vectors)

    @overload
    def encode_texts(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["np"] = "np",
    ) -> np.ndarray: ...

    @overload
    def encode_texts(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["pt"],
    ) -> Tensor: ...

    def encode_texts(
        self,
        texts: str | Sequence[str],
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["np", "pt"] = "np",
    ) -> np.ndarray | Tensor:
        """Embed texts.

        Args:
            texts: one or several; those longer than the model reads are cut.
            batch_size: texts per forward pass.
            normalize: scale the vectors to unit length.
            return_tensors: "np" for an array, "pt" for a tensor on the CPU.

        Returns:
            (N, D) float32; (1, D) for a single text.

        Raises:
            AbilityError: the model has no text encoder.
            DataError: a text is empty or not a string.
            ValueError: `batch_size` below 1.
        """
        network, several = self.needs("encode_texts"), checked_texts(texts)

        def embed(rows: slice) -> Tensor:
            with self.computing():
                return cast(Tensor, network.encode_texts(*self.tokens(several[rows])))

        vectors = self._collect(map(embed, batches(len(several), batch_size)), normalize)
        return returned_as(return_tensors, vectors)

    def match(
        self, images: ImageInput | Sequence[ImageInput], texts: str | Sequence[str], *, batch_size: int = 256
    ) -> np.ndarray:
        """Probability that each image and text belong together.

        Args:
            images: N, in any form that `encode_images` takes.
            texts: as many; or one for all images, or one image for all texts.
            batch_size: pairs per forward pass.

        Returns:
            (N,) float32 in [0, 1].

        Raises:
            AbilityError: the model cannot match pairs.
            DataError: the numbers of images and texts differ, or one cannot be read.
            ValueError: `batch_size` below 1.
        """
        self.needs("match")  # before any image is read
        several, sentences = several_images(images), checked_texts(texts)
        lengths = {len(several), len(sentences)}
        if len(lengths) > 1 and (1 not in lengths or 0 in lengths):
            raise DataError(
                f"{len(several)} images and {len(sentences)} texts do not make pairs; "
                "give as many of each, or one of either."
            )
        probabilities = np.empty(max(lengths), np.float32)
        for rows in batches(len(probabilities), batch_size):
            # A single image or text is in every pair, and encoded again for each batch of the others.
            of_images, of_texts = (
                rows if len(given) == len(probabilities) else slice(0, 1) for given in (several, sentences)
            )
            stored = self.stored_squares(several[of_images], first=of_images.start)
            scorer = PairScorer(self, [stored], sentences[of_texts], batch_size=batch_size)
            pairs = np.arange(len(probabilities[rows]))
            probabilities[rows] = scorer.probabilities(pairs % len(stored), pairs % len(sentences[of_texts]))
        return probabilities

    def explain(
        self, images: ImageInput | Sequence[ImageInput], texts: str | Sequence[str], *, batch_size: int = 64
    ) -> list[Explanation]:
        """The image regions that each word attends to; see `likewise.model.grad_cam`.

        Args:
            images: N, in any form that `encode_images` takes.
            texts: N.
            batch_size: pairs per pass, forward and backward.

        Raises:
            AbilityError: the model has no fusion encoder.
            DataError: the numbers of images and texts differ, or one cannot be read.
            ValueError: `batch_size` below 1.
        """
        explainable(self)  # before any image is read
        several, sentences = several_images(images), checked_texts(texts)
        if len(several) != len(sentences):
            raise DataError(
                f"{len(several)} images and {len(sentences)} texts do not make pairs; give as many of each."
            )
        explanations: list[Explanation] = []
        for rows in batches(len(several), batch_size):
            stored = self.stored_squares(several[rows], first=rows.start)
            explanations += explain(self, stored, sentences[rows])
        return explanations

    def encode_dataset_images(self, dataset: Dataset, *, batch_size: int = 256) -> np.ndarray:
        """(N, D) float32 unit vectors of all images of a dataset, read from its cache."""
        self.needs("encode_images")
        return self._collect(map(self._embed_images, dataset_batches(dataset, batch_size)), normalize=True)

    def judge_dataset(self, dataset: Dataset, texts: list[str], *, batch_size: int = 256) -> PairScorer:
        """A scorer of pairs of a dataset's images and texts, each encoded once."""
        return PairScorer(self, dataset_batches(dataset, batch_size), texts, batch_size=batch_size)

    def _embed_images(self, stored: Tensor) -> Tensor:
        """(B, D) of stored (B, 3, S, S) uint8 squares."""
        with self.computing():
            return cast(Tensor, self.needs("encode_images").encode_images(self.pixels(stored)))

    def _collect(self, batches: Iterable[Tensor], normalize: bool) -> np.ndarray:
        # Each batch leaves the device: all N vectors may not fit there.
        vectors = [
            (nn.functional.normalize(batch.float(), dim=1) if normalize else batch.float()).cpu()
            for batch in batches
        ]
        return torch.cat(vectors).numpy() if vectors else np.zeros((0, self.dim), np.float32)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model folder, whole or not at all.

        Args:
            path: a folder that does not exist, is empty or holds a model, which is replaced.

        Raises:
            ModelError: the folder holds something else, or cannot be written (a full disk).
        """
        write_model(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Model:
        """See `load`."""
        return cls(*read_model(path, device=device))
