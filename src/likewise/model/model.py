"""A trained model as users meet it: what it can do. What it is kept in is a `model_folder`.

Dimensions: N items, D width of the embedding, S side in pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np
import torch
from torch import Tensor, nn

from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import AbilityError, DataError
from likewise.model.folder import FORMAT, read_model, write_model
from likewise.networks.abilities import EncodesImages, EncodesTexts, MatchesPairs
from likewise.views import center_view

if TYPE_CHECKING:
    from PIL.Image import Image

    from likewise.data.dataset import Dataset
    from likewise.model.grad_cam import Explanation
    from likewise.model.pair_scorer import PairScorer

__all__ = ["ImageInput", "Model", "load"]

ImageInput = Union[str, "os.PathLike[str]", bytes, "Image", "np.ndarray[Any, Any]", Tensor]


def load(path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Model:
    """Open a trained model.

    Args:
        path: a model folder, a run's folder, or a name on the Hugging Face hub.
        device: where it computes.

    Raises:
        ConfigError: there is no such device.
        ModelError: nothing usable is there; the message says what was looked for.
    """
    return Model.load(path, device=device)


class Model:
    """A network with all that is needed to feed it.

    Args:
        network: what computes; its methods say what it can do.
        config: what config.json holds.
        tokenizer: reads texts; None where the network does not.
    """

    def __init__(self, network: nn.Module, config: dict[str, Any], tokenizer: TextTokenizer | None) -> None:
        self.network = network
        self.config = config
        self.tokenizer = tokenizer

    @classmethod
    def trained(
        cls,
        network: nn.Module,
        *,
        tokenizer: TextTokenizer | None,
        method: str,
        fit: str,
        store_size: int | None,
        trained_on: dict[str, Any],
    ) -> Model:
        """A model around a network that was just trained (they share weights).

        Args:
            network: of `likewise.networks.registry`.
            tokenizer: reads texts.
            method: the method's name.
            fit: how pictures become square.
            store_size: the side at which training saw them before a view was taken.
            trained_on: what the data was, for the model card.
        """
        config = {
            "format": FORMAT,
            "method": method,
            "network": network.spec(),  # type: ignore[operator]
            "images": {"fit": fit, "store_size": store_size},
            "texts": None
            if tokenizer is None
            else {"max_tokens": tokenizer.max_tokens, "pad_id": tokenizer.pad_id},
            "trained_on": trained_on,
        }
        return cls(network, config, tokenizer)

    @property
    def abilities(self) -> list[str]:
        """What this model can do, such as `encode_images`."""
        protocols = {"encode_images": EncodesImages, "encode_texts": EncodesTexts, "match": MatchesPairs}
        return [name for name, protocol in protocols.items() if isinstance(self.network, protocol)]

    @property
    def dim(self) -> int:
        """D, the width of its embeddings."""
        return int(cast(int, self.network.dim))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.parameters()).device

    def to(self, device: str | torch.device) -> Model:
        """The same model, computing elsewhere."""
        self.network.to(device)
        return self

    # -- encoding
    # ------------------------------------------------------------------------------------------------

    def encode_images(
        self, images: ImageInput | Sequence[ImageInput], *, batch_size: int = 256, normalize: bool = True
    ) -> np.ndarray:
        """Embed pictures of any size.

        Args:
            images: one or several of: a path, encoded bytes, a PIL image, a uint8 array (H, W, 3) or (H,
                W), a uint8 tensor (3, H, W). Addresses (http://...) are refused: fetch them first.
            batch_size: pictures computed at once.
            normalize: bring the vectors to unit length.

        Returns:
            (N, D) float32; (1, D) for a single picture.

        Raises:
            AbilityError: the model has no image encoder.
            DataError: a picture cannot be read; the message says which.
            ValueError: `batch_size` below 1.
        """
        several = _several_images(images)
        stored = (self._stored(several[rows], rows.start) for rows in _batches(len(several), batch_size))
        return self._collect((self._image_vectors(batch) for batch in stored), normalize)

    def encode_texts(
        self, texts: str | Sequence[str], *, batch_size: int = 256, normalize: bool = True
    ) -> np.ndarray:
        """Embed texts.

        Args:
            texts: one or several; longer ones than the model reads are cut.
            batch_size: texts computed at once.
            normalize: bring the vectors to unit length.

        Returns:
            (N, D) float32; (1, D) for a single text.

        Raises:
            AbilityError: the model has no text encoder.
            DataError: a text is empty or not a string.
            ValueError: `batch_size` below 1.
        """
        several = _checked_texts(texts)
        vectors = (self._text_vectors(several[rows]) for rows in _batches(len(several), batch_size))
        return self._collect(vectors, normalize)

    def match(
        self, images: ImageInput | Sequence[ImageInput], texts: str | Sequence[str], *, batch_size: int = 256
    ) -> np.ndarray:
        """Probability that each picture and text belong together.

        Args:
            images: N, in any form that `encode_images` takes.
            texts: as many; or one for all pictures, or one picture for all texts.
            batch_size: pairs computed at once.

        Returns:
            (N,) float32 in [0, 1].

        Raises:
            AbilityError: the model cannot match pairs.
            DataError: other numbers of pictures and texts; a picture or text that cannot be read.
            ValueError: `batch_size` below 1.
        """
        from likewise.model.pair_scorer import PairScorer

        self.needs("match", MatchesPairs)  # before any picture is read
        several = _several_images(images)
        sentences = _checked_texts(texts)
        lengths = {len(several), len(sentences)}
        if len(lengths) > 1 and (1 not in lengths or 0 in lengths):
            raise DataError(
                f"{len(several)} pictures and {len(sentences)} texts do not make pairs; "
                "give as many of each, or one of either."
            )
        found = np.empty(max(lengths), np.float32)
        for rows in _batches(len(found), batch_size):
            one = slice(0, 1)  # stands in every pair, and is encoded again for each batch of the others
            seen, read = (rows if len(given) == len(found) else one for given in (several, sentences))
            stored, captions = self._stored(several[seen], seen.start), sentences[read]
            judge = PairScorer(self, [stored], captions, batch_size=batch_size)
            pairs = np.arange(len(found[rows]))
            found[rows] = judge.probabilities(pairs % len(stored), pairs % len(captions))
        return found

    def encode_dataset_images(self, dataset: Dataset, *, batch_size: int = 256) -> np.ndarray:
        """(N, D) float32 unit vectors of all pictures of a dataset, read from its cache."""
        places = np.arange(len(dataset))
        stored = (dataset.images(places[rows]) for rows in _batches(len(dataset), batch_size))
        return self._collect((self._image_vectors(batch) for batch in stored), normalize=True)

    def explain(
        self, images: ImageInput | Sequence[ImageInput], texts: str | Sequence[str], *, batch_size: int = 64
    ) -> list[Explanation]:
        """Where the words of texts look in pictures; see `likewise.model.grad_cam`.

        Args:
            images: N, in any form that `encode_images` takes.
            texts: N.
            batch_size: pairs computed at once, with their gradients.

        Raises:
            AbilityError: the model has no fusion encoder.
            DataError: other numbers of pictures and texts; a picture or text that cannot be read.
            ValueError: `batch_size` below 1.
        """
        from likewise.model.grad_cam import explain, explainable

        explainable(self)  # before any picture is read
        several = _several_images(images)
        sentences = _checked_texts(texts)
        if len(several) != len(sentences):
            raise DataError(
                f"{len(several)} pictures and {len(sentences)} texts do not make pairs; give as many of each."
            )
        found: list[Explanation] = []
        for rows in _batches(len(several), batch_size):
            found += explain(self, self._stored(several[rows], rows.start), sentences[rows])
        return found

    def judge_dataset(self, dataset: Dataset, texts: list[str], *, batch_size: int = 256) -> PairScorer:
        """A judge of pairs of a dataset's pictures and some texts, each encoded once."""
        from likewise.model.pair_scorer import PairScorer

        places = np.arange(len(dataset))
        stored = (dataset.images(places[rows]) for rows in _batches(len(dataset), batch_size))
        return PairScorer(self, stored, texts, batch_size=batch_size)

    def _collect(self, batches: Iterable[Tensor], normalize: bool) -> np.ndarray:
        # A batch at a time off the device: N vectors may be more than fit there.
        vectors = [
            (nn.functional.normalize(batch.float(), dim=1) if normalize else batch.float()).cpu()
            for batch in batches
        ]
        return torch.cat(vectors).numpy() if vectors else np.zeros((0, self.dim), np.float32)

    def _image_vectors(self, stored: Tensor) -> Tensor:
        """(B, D) of stored (B, 3, S, S) uint8 squares."""
        network = self.needs("encode_images", EncodesImages)
        with self.computing():
            return cast(Tensor, network.encode_images(self.pixels(stored)))

    def pixels(self, stored: Tensor) -> Tensor:
        """(B, 3, S, S) of stored (B, 3, S', S') uint8 squares, as the image encoder wants them."""
        encoder = cast(Any, self.network).image
        return center_view(
            stored.to(self.device), size=encoder.image_size, mean=encoder.mean, std=encoder.std
        )

    def _text_vectors(self, texts: Sequence[str]) -> Tensor:
        """(B, D) of some texts."""
        network = self.needs("encode_texts", EncodesTexts)
        assert self.tokenizer is not None
        tokens, mask = self.tokenizer.pad(self.tokenizer.encode(texts))
        with self.computing():
            device = self.device
            return cast(
                Tensor,
                network.encode_texts(torch.from_numpy(tokens).to(device), torch.from_numpy(mask).to(device)),
            )

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Evaluation mode without a graph; training mode comes back afterwards."""
        training = self.network.training
        self.network.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.network.train(training)

    def needs(self, ability: str, protocol: type) -> Any:
        """The network, if it has an ability; else an AbilityError that says which methods give it."""
        if isinstance(self.network, protocol):
            return self.network
        able = {
            "encode_images": "models of the methods that learn from images can, see `likewise methods`",
            "encode_texts": "models of the methods that learn from texts can, see `likewise methods`",
            "match": "a model trained by tcl can",
        }[ability]
        raise AbilityError(
            f"this model ({self.config['method']}) cannot {ability.replace('_', ' ')}; {able}."
        )

    def stored_squares(self, images: Sequence[ImageInput]) -> Tensor:
        """(N, 3, S, S) uint8 squares of pictures given in any form, as training saw them."""
        return self._stored(images, 0)

    def _stored(self, images: Sequence[ImageInput], first: int) -> Tensor:
        """(B, 3, S, S) uint8 squares of pictures given in any form."""
        from likewise.data.images.inputs import square_images

        options = self.config["images"]
        encoder = self.needs("encode_images", EncodesImages).image
        size = options["store_size"] or encoder.image_size
        return square_images(images, size=size, fit=options["fit"], first=first)

    # -- the folder
    # ----------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model folder, whole or not at all.

        Args:
            path: a folder that is not there, is empty or holds a model, which is replaced.

        Raises:
            ModelError: something else is there, or it cannot be written (a full disk).
        """
        write_model(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Model:
        """See `load`."""
        return cls(*read_model(path, device=device))


def _batches(count: int, batch_size: int) -> Iterator[slice]:
    """The rows of each batch."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    yield from (slice(start, start + batch_size) for start in range(0, count, batch_size))


def _checked_texts(texts: str | Sequence[str]) -> list[str]:
    """Several texts, none of them empty."""
    several = [texts] if isinstance(texts, str) else list(texts)
    for place, text in enumerate(several):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"text {place} is {text!r}; expected a text that is not empty.")
    return several


def _several_images(images: ImageInput | Sequence[ImageInput]) -> list[ImageInput]:
    return cast("list[ImageInput]", [images] if _is_single_image(images) else list(cast(Any, images)))


def _is_single_image(images: Any) -> bool:
    if isinstance(images, (str, bytes, os.PathLike)):
        return True
    if isinstance(images, (np.ndarray, Tensor)):
        return images.ndim <= 3
    return not isinstance(images, Sequence)
