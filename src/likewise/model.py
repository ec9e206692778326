"""A trained model as users meet it: load, save, and what it can do.

A model folder holds `config.json`, `model.safetensors`, `tokenizer.json` (where texts are read) and
`README.md`, the model card. Nothing in it is code: opening a stranger's model runs none.

Dimensions: N items, D width of the embedding, S side in pixels.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union, cast

import numpy as np
import torch
from torch import Tensor, nn

from likewise.encoders.networks import EncodesImages, EncodesTexts, MatchesPairs, network_from_spec
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import AbilityError, ConfigError, DataError, ModelError, first_line, first_names
from likewise.views import center_view

if TYPE_CHECKING:
    from PIL.Image import Image

    from likewise.data.dataset import Dataset
    from likewise.explaining import Explanation
    from likewise.matching import PairJudge

__all__ = ["ImageInput", "Model", "load", "misfit_of_weights"]

ImageInput = Union[str, "os.PathLike[str]", bytes, "Image", "np.ndarray[Any, Any]", Tensor]

_FORMAT = 1
_CONFIG, _WEIGHTS, _TOKENIZER, _CARD = "config.json", "model.safetensors", "tokenizer.json", "README.md"


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
            network: of `likewise.encoders.networks`.
            tokenizer: reads texts.
            method: the method's name.
            fit: how pictures become square.
            store_size: the side at which training saw them before a view was taken.
            trained_on: what the data was, for the model card.
        """
        config = {
            "format": _FORMAT,
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
            ValueError: a batch of no pictures.
        """
        several = cast("list[ImageInput]", [images] if _is_single_image(images) else list(cast(Any, images)))
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
            ValueError: a batch of no texts.
        """
        several = _checked_texts(texts)
        vectors = (self._text_vectors(several[rows]) for rows in _batches(len(several), batch_size))
        return self._collect(vectors, normalize)

    def match(self, images: ImageInput | Sequence[ImageInput], texts: str | Sequence[str]) -> np.ndarray:
        """Probability that each picture and text belong together.

        Args:
            images: N, in any form that `encode_images` takes.
            texts: as many; or one for all pictures, or one picture for all texts.

        Returns:
            (N,) float32 in [0, 1].

        Raises:
            AbilityError: the model cannot match pairs.
            DataError: other numbers of pictures and texts; a picture or text that cannot be read.
        """
        from likewise.matching import PairJudge

        several = cast("list[ImageInput]", [images] if _is_single_image(images) else list(cast(Any, images)))
        sentences = _checked_texts(texts)
        count = max(len(several), len(sentences))
        if {len(several), len(sentences)} - {1, count} or not (several and sentences):
            raise DataError(f"{len(several)} pictures and {len(sentences)} texts do not make pairs.")
        judge = PairJudge(self, [self.stored_squares(several)], sentences)
        image_places, text_places = (
            np.arange(count) if number == count else np.zeros(count, np.int64)
            for number in (len(several), len(sentences))
        )
        odds = judge(image_places, text_places)
        return np.asarray(1 / (1 + np.exp(-odds)), np.float32)

    def encode_dataset_images(self, dataset: Dataset, *, batch_size: int = 256) -> np.ndarray:
        """(N, D) float32 unit vectors of all pictures of a dataset, read from its cache."""
        places = np.arange(len(dataset))
        stored = (dataset.images(places[rows]) for rows in _batches(len(dataset), batch_size))
        return self._collect((self._image_vectors(batch) for batch in stored), normalize=True)

    def explain(
        self, images: ImageInput | Sequence[ImageInput], texts: str | Sequence[str]
    ) -> list[Explanation]:
        """Where the words of texts look in pictures; see `likewise.explaining`.

        Args:
            images: N, in any form that `encode_images` takes.
            texts: N.

        Raises:
            AbilityError: the model has no fusion encoder.
            DataError: other numbers of pictures and texts; a picture or text that cannot be read.
        """
        from likewise.explaining import explain

        several = cast("list[ImageInput]", [images] if _is_single_image(images) else list(cast(Any, images)))
        sentences = _checked_texts(texts)
        if len(several) != len(sentences):
            raise DataError(f"{len(several)} pictures and {len(sentences)} texts do not make pairs.")
        return explain(self, self.stored_squares(several), sentences)

    def judge_dataset(self, dataset: Dataset, texts: list[str], *, batch_size: int = 256) -> PairJudge:
        """A judge of pairs of a dataset's pictures and some texts, each encoded once."""
        from likewise.matching import PairJudge

        places = np.arange(len(dataset))
        stored = (dataset.images(places[rows]) for rows in _batches(len(dataset), batch_size))
        return PairJudge(self, stored, texts, batch_size=batch_size)

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
        needed = {"encode_images": "images", "encode_texts": "texts", "match": "images and texts by fusion"}[
            ability
        ]
        raise AbilityError(
            f"this model ({self.config['method']}) cannot {ability.replace('_', ' ')}; models of the methods "
            f"that learn from {needed} can, see `likewise methods`."
        )

    def stored_squares(self, images: Sequence[ImageInput]) -> Tensor:
        """(N, 3, S, S) uint8 squares of pictures given in any form, as training saw them."""
        return self._stored(images, 0)

    def _stored(self, images: Sequence[ImageInput], first: int) -> Tensor:
        """(B, 3, S, S) uint8 squares of pictures given in any form."""
        from likewise.data.picture_input import square_pictures

        options = self.config["images"]
        encoder = self.needs("encode_images", EncodesImages).image
        size = options["store_size"] or encoder.image_size
        return square_pictures(images, size=size, fit=options["fit"], first=first)

    # -- the folder
    # ----------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model folder, whole or not at all.

        Args:
            path: a folder that is not there, is empty or holds a model, which is replaced.

        Raises:
            ModelError: something else is there, or it cannot be written (a full disk).
        """
        from safetensors import SafetensorError

        folder = Path(path).resolve()
        _check_replaceable(folder)
        beside = folder.with_name(f".{folder.name}.writing-{os.getpid()}")
        try:
            self._write(beside)
            _replace_folder(beside, folder)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(beside, ignore_errors=True)
            raise ModelError(f"{folder} cannot be written: {first_line(error)}") from error

    def _write(self, folder: Path) -> None:
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        (folder / _CONFIG).write_text(
            json.dumps(self.config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        weights = {
            name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()
        }
        save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
        if self.tokenizer is not None:
            self.tokenizer.save(folder / _TOKENIZER)
        (folder / _CARD).write_text(_card(self), encoding="utf-8")
        for file in folder.iterdir():
            _sync_file(file)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, device: str | torch.device = "cpu") -> Model:
        """See `load`."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        _check_device(device)
        folder = _model_folder(path)
        try:
            config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder / _CONFIG} cannot be read: {error}") from error
        if not isinstance(config, dict) or "network" not in config:
            raise ModelError(f"{folder} is not a model of likewise: its config.json has no 'network'.")
        if not isinstance(config.get("format"), int) or config["format"] > _FORMAT:
            version = config.get("format")
            raise ModelError(f"{folder} is of format {version}, of a newer likewise; update to open it.")
        network = network_from_spec(config["network"])
        try:
            weights = load_file(folder / _WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{folder / _WEIGHTS} cannot be read: {first_line(error)}") from error
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise ModelError(
                f"{folder / _WEIGHTS} does not fit its config.json: {misfit_of_weights(error)}"
            ) from error
        tokenizer = None
        if config.get("texts") is not None:
            if not (folder / _TOKENIZER).is_file():
                raise ModelError(f"{folder} reads texts, but its {_TOKENIZER} is missing.")
            tokenizer = TextTokenizer.load(folder / _TOKENIZER, **config["texts"])
        network.to(device).eval()
        return cls(network, config, tokenizer)


def misfit_of_weights(error: RuntimeError) -> str:
    """The first reasons why weights do not fit a network; torch's first line names the network alone."""
    return " ".join(line.strip() for line in str(error).splitlines()[1:3])


def _check_device(device: str | torch.device) -> None:
    """Compute a little there: what is spelled right may still not be on this machine."""
    try:
        torch.device(device)
    except RuntimeError as error:  # it would list every kind of device there could be
        raise ConfigError(f"device {device} cannot be used here; expected cpu, cuda, cuda:1, ...") from error
    try:
        torch.zeros(1, device=device).add(1).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"device {device} cannot be used here ({first_line(error)}); cpu always can."
        ) from error


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


def _is_single_image(images: Any) -> bool:
    if isinstance(images, (str, bytes, os.PathLike)):
        return True
    if isinstance(images, (np.ndarray, Tensor)):
        return images.ndim <= 3
    return not isinstance(images, Sequence)


def _model_folder(path: str | os.PathLike[str]) -> Path:
    """The folder with config.json: the path, the run's `model`, or a snapshot from the hub."""
    folder = Path(path)
    for candidate in (folder, folder / "model"):
        if (candidate / _CONFIG).is_file():
            return candidate
    if folder.exists():
        unfinished = (
            " It is a run that has not finished: resume it." if (folder / "config.toml").is_file() else ""
        )
        raise ModelError(
            f"{folder} holds no model: neither config.json nor model/config.json is there.{unfinished}"
        )
    name = str(path)
    if name.count("/") != 1 or name.startswith((".", "/")) or folder.parent.is_dir():
        raise ModelError(f"{name} does not exist.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=[_CONFIG, _WEIGHTS, _TOKENIZER, _CARD]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"no folder {name} here, and the hub gave none: {first_line(error)}") from error


def _sync_file(path: Path) -> None:
    """Make a file's content last through a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _check_replaceable(folder: Path) -> None:
    """Refuse to write a model over anything but a model: what was there would be lost."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ModelError(f"{folder} is a file; name a folder for the model.")
    ours = {_CONFIG, _WEIGHTS, _TOKENIZER, _CARD}
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    if others:
        shown = first_names(others, most=3)
        raise ModelError(f"{folder} holds {shown}, which a model would replace; name another folder.")


def _replace_folder(new: Path, folder: Path) -> None:
    """Put `new` where `folder` is; a full folder cannot be renamed over, so the old one steps aside."""
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    # The old one, and what a process killed while saving has left.
    for rest in (
        *folder.parent.glob(f".{folder.name}.writing-*"),
        *folder.parent.glob(f".{folder.name}.old-*"),
    ):
        shutil.rmtree(rest, ignore_errors=True)


def _card(model: Model) -> str:
    data = model.config["trained_on"]
    weights = sum(parameter.numel() for parameter in model.network.parameters())
    lines = [
        "---",
        "library_name: likewise",
        "---",
        "",
        f"# A {model.config['method']} model",
        "",
        f"Trained with Likewise. {weights / 1e6:.1f} million weights, embeddings of {model.dim} dimensions, "
        f"abilities: {', '.join(model.abilities)}.",
        "",
        "```python",
        "import likewise",
        "",
        'model = likewise.load("path/to/this/folder")',
        *(['model.encode_images(["picture.jpg"])  # (1, D)'] if "encode_images" in model.abilities else []),
        *(['model.encode_texts(["a text"])  # (1, D)'] if "encode_texts" in model.abilities else []),
        "```",
        "",
        "## What it was trained on",
        "",
        "```json",
        json.dumps(data, indent=2, ensure_ascii=False),
        "```",
        "",
        "It knows what this data showed and shares its gaps and biases; measure it on your own data before "
        "relying on it.",
        "",
    ]
    return "\n".join(lines)
