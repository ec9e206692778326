"""`likewise train METHOD SOURCE --out RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.collectives import rank
from likewise.errors import ConfigError, Interrupted
from likewise.methods.base import Method
from likewise.methods.catalog import find_method, methods
from likewise.methods.on_sounds import SOUND_METHODS, SUFFIX
from likewise.option_flags import source_first
from likewise.runs.folder import RunFolder
from likewise.runs.settings import (
    Tables,
    joined,
    parse_tables,
    preset_tables,
    read_tables,
)
from likewise.training.engine import train
from likewise.training.warm_start import settings_of

__all__ = ["TrainCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Options of the command itself."""

    out: str | None = None
    """The run's folder; runs/METHOD by default."""

    config: str | None = None
    """A TOML file with any of the settings below; flags override it. A run's config.toml repeats the run."""

    preset: str | None = None
    """A named set of the method's settings; flags override it. `likewise methods METHOD` lists them."""

    pretrained: str | None = None
    """A whole pre-trained model to fine-tune (a folder or hub name; CLIP, SigLIP, SigLIP 2, Chinese-CLIP,
    VisionTextDualEncoder of transformers, or a model of two towers trained here): its encoders, projections,
    temperature and tokenizer, at the method's low learning rate for that."""

    resume: bool = False
    """Go on with the run in --out from its newest checkpoint and with its own settings. --data (and
    --data.validation, --data.images, --data.annotations, --data.retain, --data.image-root, --data.cache-dir)
    says where the data lies now, if it was moved; --training.accelerator, --training.devices,
    --training.num-nodes and --training.loggers may differ too."""

    quiet: bool = False
    """Print nothing while training."""


def run(arguments: Sequence[str]) -> None:
    """Parse, train, print where everything is."""
    if not arguments or arguments[0] in ("-h", "--help"):
        _print_help()
        return
    name, *flags = arguments
    method = find_method(name)
    given, of_command = parse_tables(
        method, source_first(flags), prog=f"likewise train {name}", command=TrainCommand
    )
    options = TrainCommand(**of_command)
    folder = Path(options.out or f"runs/{name}")
    tables = joined(_base_settings(method, folder, options, given), given)
    settings = settings_of(method, tables, pretrained=options.pretrained)
    try:
        out = train(settings, folder, resume=options.resume, show=not options.quiet)
    except Interrupted as error:
        raise Interrupted(f"{error} Go on with the same command and --resume.") from error
    if not options.quiet and rank() == 0:
        print(f"trained: {out.path}\n  model     {out.model}\n  figures   {out.results}")
        print(f"  next      likewise report {out.path}")


def _base_settings(method: type[Method], folder: Path, options: TrainCommand, given: Tables) -> Tables:
    """The settings that flags override: of a preset, a file, a run that is resumed."""
    file, preset = options.config, options.preset
    if preset is not None and file is not None:
        raise ConfigError("--preset and --config both give the settings; give one of them.")
    tables: Tables = {}
    if options.resume:
        own = RunFolder(folder).config
        if not own.is_file():
            raise ConfigError(
                f"--resume: there is no run in {folder} (no config.toml); name the run's folder with --out, "
                "or leave --resume out to start one."
            )
        if preset is None:
            tables = read_tables(own, method)[1]
        elif "source" not in given["data"]:
            raise ConfigError(
                f"--resume: {folder} has its own settings; leave --preset out, or give the whole command "
                "again, with --data."
            )
    if preset is not None:
        return preset_tables(method, preset)
    return tables if file is None else joined(tables, read_tables(file, method)[1])


def _print_help() -> None:
    print("usage: likewise train METHOD SOURCE [--out RUN] [--preset NAME] [--config FILE]")
    print("                      [--pretrained MODEL] [--resume] [--quiet] [options]")
    print("\nmethods:")
    for name, method in methods().items():
        print(f"  {name:<12} {method.summary} (needs {method.needs})")
    print("\non sounds in place of images:")
    print(f"  {', '.join(name + SUFFIX for name in SOUND_METHODS)}")
    print("\nlikewise train METHOD --help lists all options of a method.")
