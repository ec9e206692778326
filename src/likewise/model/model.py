"""A trained model as users meet it. `folder` reads and writes it, `runtime` runs its network.

Dimensions: N items, D width of the embedding, S side in pixels.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, cast, overload

import numpy as np
import torch
from torch import Tensor, nn

from likewise.encoders.own import own_encoders
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import DataError
from likewise.model.answers import Answers
from likewise.model.captions import Captions
from likewise.model.classes import class_probabilities
from likewise.model.classifiers.probe import Probe
from likewise.model.explanations.explain import explain_images, kind_of_explanation
from likewise.model.explanations.explanation import Explanation
from likewise.model.folder import FORMAT, read_model, write_model
from likewise.model.inputs import (
    ImageInput,
    Images,
    Texts,
    batches,
    checked_texts,
    dataset_batches,
    several_images,
)
from likewise.model.pair_scorer import PairScorer, match_pairs
from likewise.model.runtime import ENCODING, joined_vectors, returned_as
from likewise.model.sounds import SoundModel
from likewise.model.statement_model import StatementModel
from likewise.model.text_model import TextModel
from likewise.networks.base import Network
from likewise.search.build import build_index
from likewise.search.index import Index

if TYPE_CHECKING:
    from likewise.data.config import DataConfig
    from likewise.data.dataset import Dataset

__all__ = ["ImageInput", "Model", "load"]


def load(
    path: str | os.PathLike[str],
    *,
    device: str | torch.device = "cpu",
    image_encoder: nn.Module | None = None,
    text_encoder: nn.Module | None = None,
) -> Model:
    """Open a trained model, or one that others trained (see `likewise.model.transformers_folder`).

    Args:
        path: a model folder, a run's folder, or a name on the Hugging Face hub.
        device: of the network.
        image_encoder: a network of your own, of any weights, that the model was trained with.
        text_encoder: the same of texts.

    Raises:
        ConfigError: there is no such device.
        ModelError: there is no usable model; the message says what was looked for.
    """
    with own_encoders(image=image_encoder, text=text_encoder):
        return Model.load(path, device=device)


class Model(Captions, Answers, StatementModel, TextModel, SoundModel):
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
        texts = tokenizer and {"max_tokens": tokenizer.max_tokens, "pad_id": tokenizer.pad_id}
        config = {
            "format": FORMAT,
            "method": method,
            "network": network.spec(),
            "images": {"fit": fit, "store_size": store_size} if network.reads_images else None,
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
        images: Images,
        *,
        batch_size: int = 256,
        normalize: bool = True,
        return_tensors: Literal["np"] = "np",
    ) -> np.ndarray: ...

    @overload
    def encode_images(
        self, images: Images, *, batch_size: int = 256, normalize: bool = True, return_tensors: Literal["pt"]
    ) -> Tensor: ...

    def encode_images(
        self,
        images: Images,
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
        batches = self.stored_batches(images, batch_size)
        vectors = joined_vectors(map(self.embed_stored, batches), dim=self.dim, normalize=normalize)
        return returned_as(return_tensors, vectors)

    def match(self, images: Images, texts: Texts, *, batch_size: int = 256) -> np.ndarray:
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
        return match_pairs(
            self, several_images(images), checked_texts(texts), self.stored_squares, batch_size=batch_size
        )

    def explain(
        self,
        images: Images,
        texts: Texts | None = None,
        *,
        other_images: Images | None = None,
        batch_size: int = 64,
    ) -> list[Explanation]:
        """The image regions behind a match, a cosine or a caption; see `likewise.model.explanations.explain`.

        Args:
            images: N, in any form that `encode_images` takes.
            texts: N texts to compare with; of a captioner N captions, its own when None.
            other_images: N images to compare with, in place of texts.
            batch_size: images per pass, forward and backward.

        Raises:
            AbilityError: the model has no such explanation; the message says what it can explain.
            DataError: the numbers of images and texts differ, or one cannot be read.
            ValueError: `batch_size` below 1, or both texts and other images.
        """
        if texts is not None and other_images is not None:
            raise ValueError("give texts or other_images, not both")
        kind_of_explanation(self, of_texts=texts is not None, of_images=other_images is not None)
        several = several_images(images)  # read only now
        sentences = None if texts is None else checked_texts(texts)
        others = None if other_images is None else several_images(other_images)
        for given, words in ((sentences, "texts"), (others, "other images")):
            if given is not None and len(given) != len(several):
                raise DataError(
                    f"{len(several)} images and {len(given)} {words} do not make pairs; give as many of each."
                )
        explanations: list[Explanation] = []
        for rows in batches(len(several), batch_size):
            explanations += explain_images(
                self,
                self.stored_squares(several[rows], first=rows.start),
                texts=None if sentences is None else sentences[rows],
                others=None if others is None else self.stored_squares(others[rows], first=rows.start),
            )
        return explanations

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the C classes that `classify` tells apart; AbilityError where it cannot."""
        return cast("tuple[str, ...]", self.needs("classify").class_names())

    def classify(
        self, images: Images, *, probe: Probe | str | os.PathLike[str] | None = None, batch_size: int = 256
    ) -> np.ndarray:
        """Probability of each class: the model's own, or those of a probe.

        Args:
            images: N, in any form that `encode_images` takes.
            probe: fitted on this model's vectors, or its file.
            batch_size: images per forward pass.

        Returns:
            (N, C) float32, rows that sum to one; `classes`, the model's or the probe's, names the columns.

        Raises:
            AbilityError: the model cannot classify, or with a probe cannot embed images.
            DataError: an image cannot be read.
            ModelError: the probe is damaged, or of another model.
        """
        if probe is not None:
            opened = probe if isinstance(probe, Probe) else Probe.load(probe)
            opened.check_model(self)
            return opened.probabilities(self.encode_images(images, batch_size=batch_size))
        self.needs("classify")  # before any image is read
        return class_probabilities(self, self.stored_batches(images, batch_size))

    def encode_squares(self, squares: Tensor) -> np.ndarray:
        """(B, D) float32 unit vectors of (B, 3, S, S) uint8 squares, as `stored_squares` makes them, or of
        (B, L) int16 waves."""
        return joined_vectors([self.embed_stored(squares)], dim=self.dim)

    def encode_dataset_images(
        self, dataset: Dataset, *, column: str | None = None, batch_size: int = 256
    ) -> np.ndarray:
        """(N, D) float32 unit vectors of all images of a dataset, or of its sounds, read from its cache.

        Args:
            dataset: of N rows.
            column: "image" or "audio"; what the first encoder reads when None.
            batch_size: rows per forward pass.
        """
        column = column or self.column or "image"
        self.needs(ENCODING[column])
        batches = dataset_batches(dataset, batch_size, column)
        return joined_vectors(map(self.embed_stored, batches), dim=self.dim)

    def judge_dataset(self, dataset: Dataset, texts: list[str], *, batch_size: int = 256) -> PairScorer:
        """A scorer of pairs of a dataset's images and texts, each encoded once."""
        return PairScorer(self, dataset_batches(dataset, batch_size), texts, batch_size=batch_size)

    def index(
        self, source: str | os.PathLike[str] | DataConfig, out: str | os.PathLike[str], **options: Any
    ) -> Index:
        """Build an index of a source that can be searched, or bring one up to date with it.

        Args:
            source: a folder of images, a table, ...: anything that `likewise data` reads.
            out: the folder of the index, such as "photos.index".
            options: fields of `likewise.search.build.IndexOptions`.

        Raises:
            ConfigError, DataError, ModelError, WriteError: see `likewise.search.build.update_index`.
        """
        return build_index(self, source, out, **options)

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
