"""What several commands open alike: a model, with the data of its run or another."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

from likewise.data import DataConfig, Splits, prepare
from likewise.errors import ConfigError
from likewise.model import Model, load
from likewise.training.run import RunFolder
from likewise.training.settings import read_settings

__all__ = ["OWN_DATA", "is_run", "open_model", "open_splits", "whole_source"]

OWN_DATA = "the run's own"
"""The default of `--data` where a run is at hand."""


def open_model(path: str, device: str = "auto") -> Model:
    """The model of a run or model folder, on the GPU where there is one."""
    import torch

    try:
        torch.device("cpu" if device == "auto" else device)
    except RuntimeError as error:
        raise ConfigError(f"--device {device}: {str(error).splitlines()[0]}") from error
    return load(path, device=("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


def open_splits(
    model: Model,
    path: str,
    data: DataConfig | None = None,
    *,
    needs: frozenset[str] | None = None,
    progress: bool = True,
) -> Splits:
    """The data named, or else the run's own, at the size the model sees.

    Args:
        model: decides the pictures' size and how they become square.
        path: the run's folder (or a model folder, which knows no data).
        data: what `--data` and its options say; None, or OWN_DATA as its source, for the run's own.
        needs: what the data must have; what the model reads when None.
        progress: show how far decoding is.

    Raises:
        ConfigError: no source is named and `path` is no run.
    """
    if data is not None and data.source == OWN_DATA and data != DataConfig(source=OWN_DATA):
        raise ConfigError(
            "options of --data need --data SOURCE; a run's own data is read as its config.toml says."
        )
    config = data
    if config is None or config.source == OWN_DATA:
        if not is_run(path):
            raise ConfigError(
                f"{path} is a model without a run, so it knows no data; name some: --data SOURCE."
            )
        settings = read_settings(RunFolder(path).config)
        config, needs = settings.data, needs or settings.method_type.needs
    elif "encode_images" in model.abilities:
        # Pictures must become squares as they did in training, whatever --data.fit says.
        images = model.config["images"]
        config = dataclasses.replace(config, fit=images["fit"], store_size=images["store_size"])
    if needs is None:
        needs = frozenset({"images" if "encode_images" in model.abilities else "texts"})
    size = None
    if "images" in needs and "encode_images" in model.abilities:
        size = int(cast(Any, model.network).image.image_size)
    return prepare(config, image_size=size, needs=needs, progress=progress)


def whole_source(splits: Splits) -> Splits:
    """A source that names no parts of its own, as one held-out part: nothing of it was trained on."""
    drawn = str(splits.summary.get("splits_from", "")).startswith("drawn")
    if not drawn or splits.validation is None:
        return splits
    return dataclasses.replace(splits, validation=splits.validation.joined(splits.train))


def is_run(path: str) -> bool:
    """Whether `path` is a run's folder."""
    return (Path(path) / "config.toml").is_file()
