"""Fitted probes in a run's folder: `RUN/probes/NAME.safetensors`."""

from __future__ import annotations

import re
from pathlib import Path

from likewise.errors import ConfigError
from likewise.messages import closest, first_names
from likewise.model.classifiers.probe import Probe
from likewise.model.model import Model
from likewise.runs.folder import RunFolder
from likewise.runs.open import is_run

__all__ = ["open_probe", "probe_file", "saved_probes"]

_SUFFIX = ".safetensors"
_NAME = re.compile(r"[\w-][\w.-]*")  # no hidden file, and none elsewhere


def probe_file(run: str, name: str, option: str) -> Path:
    """Where a probe lies.

    Args:
        run: the run's folder; or of a model, whose probes have no place of their own.
        name: of a probe of the run, or a path that ends in .safetensors.
        option: that gave the name, for messages.

    Raises:
        ConfigError: the name is none, or needs a run.
    """
    if name.endswith(_SUFFIX):
        return Path(name)
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{option} {name}: expected a name of letters, digits, hyphens and dots, or a path that ends in "
            f"{_SUFFIX}."
        )
    if not is_run(run):
        raise ConfigError(
            f"{option} {name}: {run} is not a run's folder, which would hold the probe; give a file, such as "
            f"{name}{_SUFFIX}."
        )
    return RunFolder(run).probes / f"{name}{_SUFFIX}"


def saved_probes(run: str) -> dict[str, Path]:
    """The probes of a run by name.

    Raises:
        ConfigError: it is not a run's folder.
    """
    if not is_run(run):
        raise ConfigError(f"{run} is not a run's folder, and only these keep probes.")
    return {
        path.name.removesuffix(_SUFFIX): path for path in sorted(RunFolder(run).probes.glob(f"*{_SUFFIX}"))
    }


def open_probe(run: str, name: str, model: Model) -> Probe:
    """A probe that fits the model.

    Args:
        run: as of `probe_file`.
        name: the same.
        model: the run's.

    Raises:
        ConfigError: there is no such probe; the message names those that are there.
        ModelError: the file is damaged, or of another model.
    """
    path = probe_file(run, name, "--probe")
    if not path.is_file():
        raise ConfigError(f"--probe {name}: there is no file {path}; {_instead(run, name)}")
    probe = Probe.load(path)
    probe.check_model(model)
    return probe


def _instead(run: str, name: str) -> str:
    """What may be given in place of a probe that is not there."""
    fit = f"`likewise evaluate {run} probe --save-probe NAME` fits one."
    if not is_run(run):
        return fit
    there = list(saved_probes(run))
    has = f"{run} has {first_names(there) if there else 'none'}"
    return f"{has}; {closest(name, there) or fit}"
