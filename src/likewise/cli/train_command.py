"""`likewise train METHOD --data SOURCE --out RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.catalog import find_method, methods
from likewise.collectives import rank
from likewise.errors import ConfigError, Interrupted
from likewise.methods.method import Method
from likewise.training.engine import train
from likewise.training.run import RunFolder
from likewise.training.settings import file_arguments, parse_settings, preset_arguments

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
    """Go on with the run in --out from its newest checkpoint and with its own settings. --data says where the
    data lies now, if it was moved."""

    quiet: bool = False
    """Say nothing while training."""


def run(arguments: Sequence[str]) -> None:
    """Parse, train, say where everything is."""
    if not arguments or arguments[0] in ("-h", "--help"):
        _help()
        return
    name = arguments[0]
    method = find_method(name)
    flags = list(arguments[1:])
    folder = Path(_value_of("--out", flags) or f"runs/{name}")
    flags = [*_said_elsewhere(method, folder, flags), *flags]
    settings, options = parse_settings(method, flags, prog=f"likewise train {name}", command=TrainCommand)
    try:
        out = train(settings, folder, resume=options.resume, show=not options.quiet)
    except Interrupted as error:
        raise Interrupted(f"{error} Go on with the same command and --resume.") from error
    if not options.quiet and rank() == 0:
        print(f"trained: {out.path}\n  model     {out.model}\n  figures   {out.results}")
        print(f"  next      likewise report {out.path}")


def _said_elsewhere(method: type[Method], folder: Path, flags: list[str]) -> list[str]:
    """The flags that a run's own settings, a preset or a file stand for; those of the line override them."""
    file, preset = _value_of("--config", flags), _value_of("--preset", flags)
    if preset is not None and file is not None:
        raise ConfigError("--preset and --config both say everything; give one of them.")
    said = []
    if "--resume" in flags:
        own = RunFolder(folder).config
        if not own.is_file():
            raise ConfigError(
                f"--resume: there is no run in {folder} (no config.toml); name the run's folder with --out, "
                "or leave --resume out to start one."
            )
        if preset is None:  # a run knows its own settings: `--resume --out RUN` needs nothing else
            said += file_arguments(method, own)
        elif not any(word.split("=")[0] == "--data" for word in flags):
            raise ConfigError(
                f"--resume: {folder} has its own settings; leave --preset out, or give the whole command "
                "again, with --data."
            )
    if preset is not None:
        said += preset_arguments(method, preset)
    elif file is not None:
        said += file_arguments(method, file)
    return said


def _value_of(flag: str, arguments: list[str]) -> str | None:
    for place, word in enumerate(arguments):
        if word.startswith(f"{flag}="):
            return word.split("=", 1)[1]
        if word == flag:
            if place + 1 == len(arguments):
                raise ConfigError(f"{flag} wants a value.")
            return arguments[place + 1]
    return None


def _help() -> None:
    print("usage: likewise train METHOD --data SOURCE [--out RUN] [--preset NAME] [--config FILE] [--resume]")
    print("                      [--quiet] [options]")
    print("\nmethods:")
    for name, method in methods().items():
        print(f"  {name:<12} {method.summary} (needs {', '.join(sorted(method.needs))})")
    print("\nlikewise train METHOD --help lists all options of a method.")
