"""Opening a model, and the data to use it on: its run's own, or another source."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from likewise.data import DataConfig, Splits, prepare
from likewise.data.columns import OPTIONAL, Needs
from likewise.data.files import is_remote
from likewise.data.splits import Parts
from likewise.encoders import AudioEncoder
from likewise.errors import ConfigError, DataError, SourceError
from likewise.messages import flag
from likewise.model.model import Model, load
from likewise.runs.folder import RunFolder
from likewise.runs.settings import read_settings

__all__ = [
    "CHANGED",
    "OWN_DATA",
    "RunData",
    "is_run",
    "open_data",
    "open_model",
    "open_other",
    "with_optional",
]

OWN_DATA = "own data of the run"
"""The default of `--data` of commands that take a run."""

CHANGED = "{source} is not as it was when training read it"
"""Begins the warning that the run's own data has another fingerprint."""


def open_model(path: str | Path, device: str = "auto") -> Model:
    """The model of a run or model folder, by default on the GPU if there is one."""
    import torch

    return load(path, device=("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)


def is_run(path: str | Path) -> bool:
    """Whether `path` is a run's folder."""
    return RunFolder(path).config.is_file()


class RunData:
    """The data that a run was trained on, prepared for its model.

    Args:
        model: the run's model; decides the size of the images and how they become square.
        path: the run's folder.

    Attributes:
        config: how training read the data.
    """

    def __init__(self, model: Model, path: str | Path) -> None:
        run = RunFolder.existing(path)
        settings = read_settings(run.config)
        self.config = settings.data
        self._model = model
        self._needs = settings.method_type.needs
        self._fingerprint = run.read_json(run.data).get("fingerprint")

    def config_for(self, data: DataConfig | None) -> DataConfig | None:
        """How the run's data is read with the user's options; None if they name another source."""
        if data is None or data.source == OWN_DATA:
            if data not in (None, DataConfig(source=OWN_DATA)):
                raise ConfigError(
                    "options of --data need --data SOURCE; a run's own data is read as its config.toml says."
                )
            return self.config
        return self.with_options(data, self.config.source) if self._is_source(data.source) else None

    def _is_source(self, source: str) -> bool:
        first, second = (one.removeprefix("file://") for one in (self.config.source, source))
        if first == second:
            return True
        return os.path.exists(first) and os.path.exists(second) and os.path.samefile(first, second)

    def with_options(self, data: DataConfig, source: str) -> DataConfig:
        """The options of training, overridden by those of `data` that are not at their default.

        Args:
            data: the user's options.
            source: where the run's data lies.
        """
        _trained_squares(self._model, data)
        given = {
            field.name: getattr(data, field.name)
            for field in dataclasses.fields(data)
            if field.name not in ("fit", "store_size") and getattr(data, field.name) != field.default
        }
        return dataclasses.replace(self.config, **(given | {"source": source}))

    def own_config(self, data: DataConfig | None) -> DataConfig:
        """As `config_for`; another source is taken for the place where the run's data lies now."""
        config = self.config_for(data)
        if config is None:
            assert data is not None
            config = self.with_options(data, data.source)
        return config

    def lacks(self, columns: Iterable[str]) -> bool:
        """Whether training did not read one of these columns."""
        return not set(columns) <= set(self._needs)

    def open(
        self, config: DataConfig | None = None, *, progress: bool = True, also: Iterable[str] = ()
    ) -> Splits:
        """The data in the parts of training.

        Args:
            config: how it is read; as training read it when None.
            progress: show a progress bar while images are decoded.
            also: columns that are read too, where they are there; the data then has another fingerprint.
        """
        config = config or self.config
        try:
            return _prepared(self._model, config, with_optional(self._needs, also), "splits", progress)
        except SourceError as error:
            if config.source != self.config.source or os.path.exists(config.source):
                raise
            hint = "It is the run's own data"
            if os.path.isabs(config.source):
                hint += ": if it has moved,"
            else:
                hint += ", named relative to the folder where training was started: run this from there, or"
            raise SourceError(f"{error}. {hint} say where it is with --data") from error

    def open_moved(self, source: str, *, progress: bool = True) -> Splits | None:
        """The data at another place; None if what is there has another fingerprint."""
        try:
            splits = self.open(dataclasses.replace(self.config, source=source), progress=progress)
        except DataError:
            return None  # the user's own options may suit it
        return splits if splits.summary["fingerprint"] == self._fingerprint else None

    def is_gone(self) -> bool:
        """Whether nothing lies where training found the data; True for a pattern, whose files may be gone."""
        source = self.config.source
        there = os.path.exists(source.removeprefix("file://"))
        return not (is_remote(source) or source.startswith(("scenes", "sounds")) or there)

    def has_changed(self, splits: Splits) -> bool:
        """Whether the data, as opened, has another fingerprint than in training."""
        return self._fingerprint not in (None, splits.summary["fingerprint"])


def open_data(
    model: Model, path: str | Path, data: DataConfig | None, *, needs: Needs
) -> tuple[Splits, str | None]:
    """The source that `data` names; of the run's own data, also when it was moved, in the parts of training.

    Args:
        model: decides the size of the images and how they become square.
        path: of the model: a run, or a model folder.
        data: the source and its options; None, or OWN_DATA as the source, for the run's own.
        needs: the columns to read of another source.

    Returns:
        The data; and a warning if the run's own data has changed, else None.

    Raises:
        ConfigError: no source is named, and `path` is no run.
    """
    if not is_run(path):
        return open_other(model, path, data, needs=needs), None
    run = RunData(model, path)
    config = run.config_for(data)
    if config is None:
        config = run.own_config(data)
        # If training's data still lies where it lay, another place is another source.
        if not run.is_gone() or run.open_moved(config.source) is None:
            return open_other(model, path, data, needs=needs), None
    splits = run.open(config)
    changed = config == run.config and run.has_changed(splits)
    return splits, CHANGED.format(source=config.source) if changed else None


def open_other(
    model: Model,
    path: str | Path,
    data: DataConfig | None,
    *,
    needs: Needs | None = None,
    parts: Parts = "any",
    progress: bool = True,
) -> Splits:
    """Another source than the run's own, with images as large and as square as the model's.

    Args:
        model: decides the size of the images and how they become square.
        path: of the model, for messages.
        data: the source and its options.
        needs: the columns to read; images, or else texts, when None.
        parts: see `likewise.data.prepare`.
        progress: show a progress bar while images are decoded.

    Raises:
        ConfigError: no source is named.
    """
    if data is None or data.source == OWN_DATA:
        raise ConfigError(f"{path} is a model without a run, so it knows no data; name some: --data SOURCE.")
    if data.retain is not None:
        raise ConfigError("--data.retain is for training; measure that source by itself, as --data.")
    config = dataclasses.replace(data, **_trained_squares(model, data))
    reads = Needs(model.column or "text")
    return _prepared(model, config, needs or reads, parts, progress)


def with_optional(needs: Needs, columns: Iterable[str]) -> Needs:
    """The same needs, and these columns where they are there."""
    return Needs(**dict.fromkeys(columns, OPTIONAL) | needs.columns)


def _prepared(model: Model, config: DataConfig, needs: Needs, parts: Parts, progress: bool) -> Splits:
    encoder = model.network.image_encoder
    size = encoder.image_size if "image" in needs and encoder is not None else None
    audio = model.network.encoder_of("audio")
    sounds = audio.form if isinstance(audio, AudioEncoder) else None
    return prepare(config, image_size=size, needs=needs, parts=parts, progress=progress, sounds=sounds)


def _trained_squares(model: Model, data: DataConfig) -> dict[str, Any]:
    """The options by which training made images square.

    Raises:
        ConfigError: the user's options differ.
    """
    if model.column != "image":
        return {}
    trained = {name: model.config["images"][name] for name in ("fit", "store_size")}
    for name in data.given(*trained):
        value = getattr(data, name)
        if value != trained[name]:
            raise ConfigError(
                f"{flag('data', name)} {value}: this model was trained with {trained[name]}, and "
                "its images are made square as they were then; leave the option out."
            )
    return trained
