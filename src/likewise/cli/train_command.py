"""`likewise train METHOD --data SOURCE --out RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.collectives import rank
from likewise.errors import ConfigError, Interrupted
from likewise.methods.base import Method
from likewise.methods.catalog import find_method, methods
from likewise.option_flags import parse_flags
from likewise.runs.folder import RunFolder
from likewise.runs.settings import file_arguments, parse_settings, preset_arguments
from likewise.training.engine import train
from likewise.training.warm_start import image_size_of

__all__ = ["TrainCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Options of the command itself."""

    out: str | None = None
    """The run's folder; runs/METHOD by default."""

    config: str | None = None
    """A TOML file with any of the settings below; flags override it. A run's config.toml repeats the run."""

    preset: str | None = None
    """Settings of the method that go together, by name; flags override them. `likewise methods METHOD` lists
    them."""

    resume: bool = False
    """Go on with the run in --out from its newest checkpoint and with its own settings. --data (and
    --data.validation, --data.image-root, --data.cache-dir) says where the data lies now, if it was moved;
    --training.accelerator, --training.devices, --training.num-nodes and --training.loggers may differ too."""

    quiet: bool = False
    """Say nothing while training."""


def run(arguments: Sequence[str]) -> None:
    """Parse, train, say where everything is."""
    if not arguments or arguments[0] in ("-h", "--help"):
        _help()
        return
    name, flags = arguments[0], list(arguments[1:])
    method, prog = find_method(name), f"likewise train {name}"
    # The command's own options first: they say what stands for the settings that are not on the line.
    options, _ = parse_flags(TrainCommand, flags, prog=prog, add_help=False, return_unknown_args=True)
    folder = Path(options.out or f"runs/{name}")
    flags = [*_said_elsewhere(method, folder, options, flags), *flags]
    settings, _ = parse_settings(method, flags, prog=prog, command=TrainCommand)
    start = settings.training.start_from
    if (
        start is not None
        and "image" in method.needs
        and "--image.image-size" not in {_flag_of(word) for word in flags}
    ):
        flags = ["--image.image-size", str(image_size_of(start)), *flags]
        settings, _ = parse_settings(method, flags, prog=prog, command=TrainCommand)
    try:
        out = train(settings, folder, resume=options.resume, show=not options.quiet)
    except Interrupted as error:
        raise Interrupted(f"{error} Go on with the same command and --resume.") from error
    if not options.quiet and rank() == 0:
        print(f"trained: {out.path}\n  model     {out.model}\n  figures   {out.results}")
        print(f"  next      likewise report {out.path}")


def _flag_of(word: str) -> str:
    """The flag that a word of the command line names, however its hyphens and its value are written."""
    return word.split("=")[0].replace("_", "-")


def _said_elsewhere(method: type[Method], folder: Path, options: TrainCommand, flags: list[str]) -> list[str]:
    """The flags that a run's own settings, a preset or a file stand for; those of the line override them."""
    file, preset = options.config, options.preset
    if preset is not None and file is not None:
        raise ConfigError("--preset and --config both say everything; give one of them.")
    said = []
    if options.resume:
        own = RunFolder(folder).config
        if not own.is_file():
            raise ConfigError(
                f"--resume: there is no run in {folder} (no config.toml); name the run's folder with --out, "
                "or leave --resume out to start one."
            )
        if preset is None:  # a run knows its own settings: `--resume --out RUN` needs nothing else
            said += file_arguments(method, own)
        elif "--data" not in {_flag_of(word) for word in flags}:
            raise ConfigError(
                f"--resume: {folder} has its own settings; leave --preset out, or give the whole command "
                "again, with --data."
            )
    if preset is not None:
        said += preset_arguments(method, preset)
    elif file is not None:
        said += file_arguments(method, file)
    return said


def _help() -> None:
    print("usage: likewise train METHOD --data SOURCE [--out RUN] [--preset NAME] [--config FILE] [--resume]")
    print("                      [--quiet] [options]")
    print("\nmethods:")
    for name, method in methods().items():
        print(f"  {name:<12} {method.summary} (needs {method.needs})")
    print("\nlikewise train METHOD --help lists all options of a method.")
