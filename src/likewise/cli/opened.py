"""What several commands open alike: a model, with the data of its run or another."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from likewise.data import DataConfig, Splits, prepare
from likewise.encoders.networks import EncodesImages
from likewise.errors import ConfigError
from likewise.model import Model, load
from likewise.training.run import RunFolder
from likewise.training.settings import read_settings

__all__ = ["open_model", "open_splits"]


def open_model(path: str, device: str = "auto") -> Model:
    """The model of a run or model folder, on the GPU where there is one."""
    import torch

    return load(path, device=("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


def open_splits(model: Model, path: str, source: str | None, *, progress: bool = True) -> Splits:
    """The data named, or else the run's own, at the size the model sees.

    Args:
        model: decides the pictures' size and how they become square.
        path: the run's folder (or a model folder, which knows no data).
        source: of `--data`; None for the run's own.
        progress: show how far decoding is.

    Raises:
        ConfigError: no source is named and `path` is no run.
    """
    run = RunFolder(path)
    if run.config.is_file():
        settings = read_settings(run.config)
        config, needs = settings.data, settings.method_type.needs
    elif source is None:
        raise ConfigError(
            f"{path} is a model without a run, so it knows no data; name some with --data SOURCE."
        )
    else:
        config, needs = DataConfig(source=source), frozenset({"images"})
    size = None
    if "encode_images" in model.abilities:
        size = int(cast(EncodesImages, model.network).image.image_size)
    if source is not None:
        images = model.config["images"]
        # Another source: the columns, splits and pictures named for the first need not fit it.
        config = DataConfig(
            source=source,
            fit=images["fit"],
            store_size=images["store_size"],
            cache_dir=config.cache_dir,
            cache=config.cache,
        )
        needs = frozenset({"images"}) if size is not None else frozenset({"texts"})
    return prepare(config, image_size=size, needs=frozenset(needs), progress=progress)


def is_run(path: str) -> bool:
    """Whether `path` is a run's folder."""
    return (Path(path) / "config.toml").is_file()
