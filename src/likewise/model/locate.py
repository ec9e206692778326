"""Where a model lies: a folder, a run, or a name on the Hugging Face hub."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

from likewise.errors import ModelError
from likewise.messages import first_line

__all__ = ["CARD", "CONFIG", "TOKENIZER", "WEIGHTS", "find_folder", "leftovers"]

CONFIG, WEIGHTS, TOKENIZER, CARD = "config.json", "model.safetensors", "tokenizer.json", "README.md"

# Of sentence-transformers and transformers: modules, their options, weights in parts, older vocabularies.
_OF_OTHERS = (
    *("modules.json", "[0-9]_*/config.json", "*config*.json", "special_tokens_map.json"),
    *("model*.safetensors", "model.safetensors.index.json", "vocab.txt", "vocab.json", "merges.txt"),
)


def find_folder(path: str | os.PathLike[str]) -> Path:
    """The folder with config.json: the path, a run's `model`, or a snapshot from the hub.

    Raises:
        ModelError: there is none, or the hub refuses it.
    """
    folder = Path(path)
    for candidate in (folder, folder / "model"):
        if (candidate / CONFIG).is_file():
            return candidate
    if folder.exists():
        unfinished = (
            " It is a run that has not finished: resume it." if (folder / "config.toml").is_file() else ""
        )
        raise ModelError(
            f"{folder} holds no model: neither config.json nor model/config.json is there.{unfinished}"
        )
    if former := sorted(leftovers(folder.resolve(), "old")):
        raise ModelError(
            f"{folder} does not exist: a process was killed while it replaced it. The former model is "
            f"{former[-1]}; rename that folder."
        )
    name = str(path)
    if name.count("/") != 1 or name.startswith((".", "/")) or folder.parent.is_dir():
        raise ModelError(f"{name} does not exist.")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    try:
        return Path(snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS, TOKENIZER, CARD, *_OF_OTHERS]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        if isinstance(error, GatedRepoError):
            raise ModelError(
                f"access to {name} is restricted: accept its terms on https://huggingface.co/{name}, then "
                "log in: hf auth login."
            ) from error
        raise ModelError(f"no folder {name} here, and the hub gave none: {first_line(error)}") from error


def leftovers(folder: Path, kind: str) -> Iterator[Path]:
    """Leftovers beside a folder: `writing`, a new one, or `old`, the one it replaced."""
    return folder.parent.glob(f".{glob.escape(folder.name)}.{kind}-*")
