"""Writes a model in a format: checked against the model, with a model card, whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from likewise.encoders.pretrained import quiet_loading
from likewise.errors import ConfigError, ModelError
from likewise.export.card import card
from likewise.export.check import differences
from likewise.export.probes import Probes, generated_probes
from likewise.export.registry import formats
from likewise.messages import closest, first_line, first_names
from likewise.model.model import Model

__all__ = ["Exported", "export"]


class Exported(NamedTuple):
    """A written folder.

    Attributes:
        folder: where it is.
        differences: of what was compared, `images` and `texts`: the largest difference of a coordinate
            between the vectors of the model and those of the folder.
        notes: parts of the model that are not in it.
    """

    folder: Path
    differences: dict[str, float]
    notes: tuple[str, ...]


def export(model: Model, out: str | Path, *, format: str, probes: Probes | None = None) -> Exported:
    """Write a model in another library's format.

    Args:
        model: any model; a format may need certain abilities.
        out: a folder that does not exist or is empty.
        format: a name of `formats()`.
        probes: images and texts that model and folder must embed alike; generated ones when None.

    Returns:
        The folder, and how far its vectors are from the model's.

    Raises:
        ConfigError: there is no such format, or the folder holds files.
        ModelError: the format cannot hold this model, the folder cannot be written, or its vectors are not
            the model's; nothing is left behind.
    """
    known, folder = formats(), Path(out)
    if format not in known:
        hint = closest(format, known) or f"there are {', '.join(known)}."
        raise ConfigError(f"no format is called {format!r}; {hint}")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--out {folder} is a file; name a folder.")
    if folder.is_dir() and (others := sorted(path.name for path in folder.iterdir())):
        raise ConfigError(f"--out {folder} holds {first_names(others, most=3)}; name another folder.")
    whole = folder.resolve()  # "." has no name
    beside = whole.with_name(f".{whole.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        with quiet_loading():
            written = known[format].write(model, beside)
        if {"encode_images", "encode_audio"} <= set(model.abilities):
            written = written._replace(notes=(*written.notes, "The audio encoder is not in it."))
        apart = differences(model, beside, written, probes or generated_probes(model))
        (beside / "README.md").write_text(card(model, written, apart), encoding="utf-8")
        for file in beside.rglob("*"):
            if file.is_file():  # safetensors lets only the owner read its files
                file.chmod(0o644)
        if folder.is_dir():  # it stays: somebody may stand in it
            for part in beside.iterdir():
                part.rename(whole / part.name)
        else:
            beside.rename(whole)
    except OSError as error:
        raise ModelError(f"{folder} cannot be written: {first_line(error)}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Exported(folder, apart, written.notes)
