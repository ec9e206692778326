"""The model folder: writes, finds, checks and reads it.

It holds `config.json`, `model.safetensors`, `tokenizer.json` (if the network reads texts) and `README.md`,
the model card. There is no pickle and no code in it, so opening a stranger's model runs none.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from likewise.atomic_files import sync_folder
from likewise.encoders.backbone_spec import MAX_SIZE, MAX_VOCABULARY, shown
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ModelError
from likewise.hardware import check_device
from likewise.messages import first_line, first_names, without_folders
from likewise.model.locate import CARD, CONFIG, TOKENIZER, WEIGHTS, find_folder, leftovers
from likewise.model.runtime import Runtime
from likewise.model.sentence_transformers_folder import is_sentence_transformers, read_sentence_transformers
from likewise.model.transformers_folder import is_transformers, read_transformers
from likewise.networks.abilities import ABILITIES
from likewise.networks.base import Network
from likewise.networks.registry import network_from_spec

__all__ = ["FORMAT", "misfit_of_weights", "read_config", "read_model", "training_section", "write_model"]

FORMAT = 1
"""Version of config.json; newer ones are rejected."""


Reader = Callable[[Path], tuple[Network, dict[str, Any], TextTokenizer | None]]
_READERS: tuple[tuple[Callable[[Path], bool], Reader], ...] = (
    (is_sentence_transformers, read_sentence_transformers),
    (is_transformers, read_transformers),
)
"""Folders of other libraries: how they are told, and read."""

_MAXCONFIG_BYTES, _MAX_BUFFERS = 1 << 24, 1 << 28

_AGAIN = "it is not a model of likewise or was changed since it was saved: save or fetch it again"


def _is_whole(value: Any, *, least: int = 1, most: int = MAX_VOCABULARY) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_object_or_null(value: Any) -> bool:
    return value is None or isinstance(value, dict)


# The required parts of config.json by dotted name: in words, and as a check.
_PARTS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "format": ("a whole number from 1", _is_whole),
    "method": ("the method's name", lambda value: isinstance(value, str)),
    "network": ("an object, the parts of the network", lambda value: isinstance(value, dict)),
    "images": ("an object, or null where no images are read", _is_object_or_null),
    "images.fit": ("crop, pad or squash", lambda value: value in ("crop", "pad", "squash")),
    "images.store_size": (
        f"a whole number from 1 to {MAX_SIZE:,} or null",
        lambda value: value is None or _is_whole(value, most=MAX_SIZE),
    ),
    "texts": ("an object, or null where no texts are read", _is_object_or_null),
    "texts.max_tokens": (
        f"a whole number from 1 to {MAX_SIZE:,}",
        lambda value: _is_whole(value, most=MAX_SIZE),
    ),
    "texts.pad_id": ("a whole number from 0", lambda value: _is_whole(value, least=0)),
}


# -- writing


def write_model(model: Runtime, path: str | os.PathLike[str]) -> None:
    """Write the model folder, whole or not at all.

    Args:
        model: the model.
        path: a folder that does not exist, is empty or holds a model, which is replaced.

    Raises:
        ModelError: the folder holds something else, or cannot be written (a full disk).
    """
    from safetensors import SafetensorError

    folder = Path(path).resolve()
    _check_replaceable(folder)
    beside = folder.with_name(f".{folder.name}.writing-{os.getpid()}")
    try:
        _write(model, beside)
        _replace_folder(beside, folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise ModelError(f"{folder} cannot be written: {first_line(error)}") from error


def _check_replaceable(folder: Path) -> None:
    """Reject a folder that holds anything but a model: it would be lost."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ModelError(f"{folder} is a file; name a folder for the model.")
    ours = {CONFIG, WEIGHTS, TOKENIZER, CARD}
    others = sorted(path.name for path in folder.iterdir() if path.name not in ours)
    if others:
        shown = first_names(others, most=3)
        raise ModelError(f"{folder} holds {shown}, which a model would replace; name another folder.")


def _write(model: Runtime, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(
        json.dumps(model.config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    weights = {name: value.detach().cpu().contiguous() for name, value in model.network.state_dict().items()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    shutil.copymode(folder / CONFIG, folder / WEIGHTS)  # safetensors lets only the owner read it
    if model.tokenizer is not None:
        model.tokenizer.save(folder / TOKENIZER)
    (folder / CARD).write_text(_card(model), encoding="utf-8")
    for file in folder.iterdir():
        with file.open("r+b") as opened:  # Windows syncs only writable files
            os.fsync(opened.fileno())


def _replace_folder(new: Path, folder: Path) -> None:
    """Rename `new` to `folder`; what is there is moved aside first, and removed."""
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    sync_folder(folder.parent)
    # The old one, and leftovers of processes killed while saving.
    for rest in (*leftovers(folder, "writing"), *leftovers(folder, "old")):
        shutil.rmtree(rest, ignore_errors=True)


def _card(model: Runtime) -> str:
    lines = [
        "---",
        "library_name: likewise",
        "---",
        "",
        f"# A {model.config['method']} model",
        "",
        f"Trained with Likewise. {model.num_weights / 1e6:.1f} million weights, embeddings of {model.dim} "
        f"dimensions, abilities: {', '.join(model.abilities)}.",
        "",
        "```python",
        "import likewise",
        "",
        'model = likewise.load("path/to/this/folder")',
        *(f"model.{ABILITIES[ability].example}" for ability in model.abilities),
        "```",
        "",
        *training_section(model),
    ]
    return "\n".join(lines)


def training_section(model: Runtime) -> list[str]:
    """Lines of a model card: the data of the training."""
    return [
        "## What it was trained on",
        "",
        "```json",
        json.dumps(without_folders(model.config.get("trained_on")), indent=2, ensure_ascii=False),
        "```",
        "",
        "The model shares the gaps and biases of this data; evaluate it on your own before relying on it.",
        "",
    ]


# -- reading


def read_model(
    path: str | os.PathLike[str], *, device: str | torch.device
) -> tuple[Network, dict[str, Any], TextTokenizer | None]:
    """The parts of a model: its network, the content of config.json, and its tokenizer.

    Args:
        path: a model folder, a run's folder, or a name on the Hugging Face hub.
        device: of the network.

    Raises:
        ConfigError: there is no such device.
        ModelError: there is no usable model; the message says what was looked for.
    """
    check_device(device)
    folder = find_folder(path)
    reader = next((read for is_theirs, read in _READERS if is_theirs(folder)), None)
    if reader is not None:
        network, described, tokenizer = reader(folder)
        network.to(device).eval()
        return network, {"format": FORMAT, **described}, tokenizer
    config = _checked_config(folder)
    network = _built_network(folder, config["network"])
    for name, is_read in (
        ("images", network.reads_images),
        ("texts", "encode_texts" in network.abilities()),
    ):
        if is_read and config[name] is None:
            raise ModelError(
                f"{folder / CONFIG} has null as {name!r}, but its network reads {name}; {_AGAIN}."
            )
    own_tokenizer = None
    if config["texts"] is not None:
        if not (folder / TOKENIZER).is_file():
            raise ModelError(f"{folder} reads texts, but its {TOKENIZER} is missing.")
        options = {name: config["texts"][name] for name in ("max_tokens", "pad_id")}
        own_tokenizer = TextTokenizer.load(folder / TOKENIZER, **options)
    network.to(device).eval()
    return network, config, own_tokenizer


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of a model's config.json, or of another library's model what it would be here; path and
    errors as of `read_model`."""
    folder = find_folder(path)
    if any(is_theirs(folder) for is_theirs, _ in _READERS):
        return read_model(folder, device="cpu")[1]
    return _checked_config(folder)


def _checked_config(folder: Path) -> dict[str, Any]:
    """The content of config.json, with every part checked.

    Raises:
        ModelError: a part is missing or invalid; the message names it and the file.
    """
    file = folder / CONFIG
    try:
        if file.stat().st_size > _MAXCONFIG_BYTES:
            raise ModelError(f"{file} has more than {_MAXCONFIG_BYTES >> 20} MiB; {_AGAIN}.")
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{file} holds {type(config).__name__}, not an object; {_AGAIN}.")
    version = _part(file, config, "format")
    if version > FORMAT:  # whose parts may differ
        raise ModelError(f"{file} has format {version}, of a newer likewise; update to open it.")
    for name in _PARTS:
        _part(file, config, name)
    return config


def _part(file: Path, config: dict[str, Any], name: str) -> Any:
    """A part by its dotted name, whose parent was checked before; None where the parent is null."""
    *outer, key = name.split(".")
    holder = config[outer[0]] if outer else config
    if holder is None:
        return None
    expected, is_right = _PARTS[name]
    if key not in holder:
        raise ModelError(f"{file} has no {name!r}, {expected}; {_AGAIN}.")
    if not is_right(holder[key]):
        raise ModelError(f"{file} has {shown(holder[key])} as {name!r}; expected {expected}.")
    return holder[key]


def _built_network(folder: Path, spec: dict[str, Any]) -> Network:
    """The network of a spec, with the weights of the folder."""
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    try:
        with safe_open(folder / WEIGHTS, framework="pt") as stored:
            shapes = {name: stored.get_slice(name).get_shape() for name in stored.keys()}  # noqa: SIM118
        # First without memory: what does not fit the stored weights is never allocated.
        with torch.device("meta"):
            sketch = _network_of(folder, spec)
            _load(folder, sketch, {name: torch.empty(shape) for name, shape in shapes.items()})
        if sum(buffer.numel() for buffer in sketch.buffers()) > _MAX_BUFFERS:
            raise ModelError(f"{folder / CONFIG}: its network needs too much memory besides its weights.")
        network, weights = _network_of(folder, spec), load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder / WEIGHTS} cannot be read: {first_line(error)}") from error
    _load(folder, network, weights)
    return network


def _network_of(folder: Path, spec: dict[str, Any]) -> Network:
    try:
        return network_from_spec(spec)
    except ModelError as error:
        raise ModelError(f"{folder / CONFIG}: {error}") from error


def _load(folder: Path, network: Network, weights: dict[str, torch.Tensor]) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ModelError(
            f"{folder / WEIGHTS} does not fit its config.json: {misfit_of_weights(error)}; {_AGAIN}."
        ) from error


def misfit_of_weights(error: RuntimeError) -> str:
    """The first reasons why weights do not fit a network, with the first names of each.

    torch's first line names the network only, and one of the next may name every weight.
    """
    reasons = []
    for line in str(error).splitlines()[1:3]:
        reason = line.strip().rstrip(". ")
        what, _, names = reason.partition(": ")
        is_list = names.startswith('"')
        reasons.append(f"{what}: {first_names(names.split(', '), most=3)}" if is_list else reason)
    return "; ".join(reasons)
