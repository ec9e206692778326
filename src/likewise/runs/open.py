"""What several commands open alike: a model, with the data of its run or another."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, cast

from likewise.data import DataConfig, Splits, prepare
from likewise.data.columns import Needs
from likewise.data.files import is_remote
from likewise.data.splits import Parts
from likewise.errors import ConfigError, DataError, SourceError
from likewise.model.model import Model, load
from likewise.runs.folder import RunFolder
from likewise.runs.settings import read_settings

__all__ = [
    "CHANGED",
    "OWN_DATA",
    "fingerprint_of_run",
    "is_gone",
    "is_run",
    "open_model",
    "open_moved",
    "open_own_splits",
    "open_splits",
    "own_data",
    "run_data_config",
]

OWN_DATA = "own data of the run"
"""The default of `--data` where a run is at hand."""

CHANGED = "{source} is not as it was when training read it"
"""How a warning begins where the run's own data has another fingerprint."""


def open_model(path: str, device: str = "auto") -> Model:
    """The model of a run or model folder, on the GPU where there is one."""
    import torch

    return load(path, device=("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


def open_splits(
    model: Model,
    path: str,
    data: DataConfig | None = None,
    *,
    needs: Needs | None = None,
    parts: Parts = "any",
    progress: bool = True,
) -> Splits:
    """The data named, or else the run's own, at the size the model sees.

    Args:
        model: decides the pictures' size and how they become square.
        path: the run's folder (or a model folder, which knows no data).
        data: what `--data` and its options say; None, or OWN_DATA as its source, for the run's own.
        needs: what the data must have; what the model reads when None.
        parts: of another source; see `likewise.data.preparation`. The run's own has those of training.
        progress: show how far decoding is.

    Raises:
        ConfigError: no source is named and `path` is no run.
    """
    own = own_data(model, path, data)
    if own is None:
        assert data is not None
        config = dataclasses.replace(data, **_squares(model, data))
        reads = Needs("image" if "encode_images" in model.abilities else "text")
        return _prepared(model, config, needs or reads, parts, progress)
    needs = needs or read_settings(RunFolder(path).config).method_type.needs
    try:
        return _prepared(model, own, needs, "splits", progress)
    except SourceError as error:
        if os.path.exists(own.source):
            raise
        said = "It is the run's own data"
        if not os.path.isabs(own.source):
            said += ", named relative to the folder where training was started: run this from there, or"
        else:
            said += ": if it has moved,"
        raise SourceError(f"{error}. {said} say where it is with --data") from error


def open_own_splits(model: Model, path: str, data: DataConfig | None = None) -> Splits:
    """The run's own data with the parts of training, in another place than training's where `--data` names
    one.

    Args:
        model: decides the pictures' size and how they become square.
        path: the run's folder.
        data: what `--data` and its options say; None, or OWN_DATA as its source, for where training found it.
    """
    settings = read_settings(RunFolder(path).config)
    config = own_data(model, path, data)
    if config is None:
        assert data is not None
        config = run_data_config(model, settings.data, data, source=data.source)
    return open_splits(model, path, config, needs=settings.method_type.needs, parts="splits")


def open_moved(model: Model, path: str, source: str, *, progress: bool = True) -> Splits | None:
    """The run's own data, as training read it, in another place than training found it; None where something
    else is there, by its fingerprint."""
    settings = read_settings(RunFolder(path).config)
    moved = dataclasses.replace(settings.data, source=source)
    needs = settings.method_type.needs
    try:
        splits = open_splits(model, path, moved, needs=needs, parts="splits", progress=progress)
    except DataError:
        return None  # the user's own options may suit it
    return splits if splits.summary["fingerprint"] == fingerprint_of_run(path) else None


def is_gone(source: str) -> bool:
    """Whether nothing lies at a place of this machine; True of patterns, whose files may be gone."""
    address = source.removeprefix("file://")
    return not (is_remote(source) or source.startswith("scenes") or os.path.exists(address))


def fingerprint_of_run(path: str) -> dict[str, str] | None:
    """Of a run's data as training read it."""
    run = RunFolder(path)
    return run.read_json(run.data).get("fingerprint")


def _prepared(
    model: Model,
    config: DataConfig,
    needs: Needs,
    parts: Parts,
    progress: bool,
) -> Splits:
    size = None
    if "image" in needs and "encode_images" in model.abilities:
        size = int(cast(Any, model.network).image.image_size)
    return prepare(config, image_size=size, needs=needs, parts=parts, progress=progress)


def own_data(model: Model, path: str, data: DataConfig | None) -> DataConfig | None:
    """How the run's own data is read, where that is what is asked for; None where it is another source.

    Other options than the run's may stand beside its own source; the others stay as the run has them.
    """
    if data is None or data.source == OWN_DATA:
        if data is not None and data != DataConfig(source=OWN_DATA):
            raise ConfigError(
                "options of --data need --data SOURCE; a run's own data is read as its config.toml says."
            )
        if not is_run(path):
            raise ConfigError(
                f"{path} is a model without a run, so it knows no data; name some: --data SOURCE."
            )
        return read_settings(RunFolder(path).config).data
    if not is_run(path):
        return None
    own = read_settings(RunFolder(path).config).data
    if not _same_source(own.source, data.source):
        return None
    return run_data_config(model, own, data, source=own.source)


def run_data_config(model: Model, own: DataConfig, data: DataConfig, *, source: str) -> DataConfig:
    """The run's own options with those of `--data` that were given, for a source that is the run's own."""
    _squares(model, data)
    given = {
        field.name: getattr(data, field.name)
        for field in dataclasses.fields(data)
        if field.name not in ("source", "fit", "store_size") and getattr(data, field.name) != field.default
    }
    return dataclasses.replace(own, **(given | {"source": source}))


def _same_source(first: str, second: str) -> bool:
    first, second = (source.removeprefix("file://") for source in (first, second))
    if first == second:
        return True
    return os.path.exists(first) and os.path.exists(second) and os.path.samefile(first, second)


def _squares(model: Model, data: DataConfig) -> dict[str, Any]:
    """How pictures become squares: as they did in training.

    Raises:
        ConfigError: something else was asked for.
    """
    if "encode_images" not in model.abilities:
        return {}
    trained = {name: model.config["images"][name] for name in ("fit", "store_size")}
    usual = {field.name: field.default for field in dataclasses.fields(data)}
    for name, value in trained.items():
        given = getattr(data, name)
        if given not in (usual[name], value):
            raise ConfigError(
                f"--data.{name.replace('_', '-')} {given}: this model was trained with {value}, and its "
                "pictures are made square as they were then; leave the option out."
            )
    return trained


def is_run(path: str) -> bool:
    """Whether `path` is a run's folder."""
    return (Path(path) / "config.toml").is_file()
