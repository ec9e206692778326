"""`likewise train METHOD --data SOURCE --out RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likewise.catalog import find_method, methods
from likewise.collectives import rank
from likewise.errors import ConfigError
from likewise.training.engine import train
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
    """Go on with the run in --out from its newest checkpoint."""

    quiet: bool = False
    """Say nothing while training."""


def run(arguments: Sequence[str]) -> None:
    """Parse, train, say where everything is."""
    if not arguments or arguments[0] in ("-h", "--help"):
        _help()
        return
    name = arguments[0]
    method = find_method(name)
    arguments = list(arguments[1:])
    file, preset = _value_of("--config", arguments), _value_of("--preset", arguments)
    if preset is not None:
        if file is not None:
            raise ConfigError("--preset and --config both say everything; give one of them.")
        arguments = [*preset_arguments(method, preset), *arguments]
    elif file is not None:
        arguments = [*file_arguments(method, file), *arguments]
    elif "--resume" in arguments and not any(word.split("=")[0] == "--data" for word in arguments):
        # A run knows its own settings: `--resume --out RUN` needs nothing else.
        folder = Path(_value_of("--out", arguments) or f"runs/{name}")
        if (folder / "config.toml").is_file():
            arguments = [*file_arguments(method, folder / "config.toml"), *arguments]
    settings, options = parse_settings(method, arguments, prog=f"likewise train {name}", command=TrainCommand)
    out = train(settings, options.out or f"runs/{name}", resume=options.resume, show=not options.quiet)
    if not options.quiet and rank() == 0:
        print(f"trained: {out.path}\n  model     {out.model}\n  figures   {out.results}")
        print(f"  next      likewise report {out.path}")


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
    print("usage: likewise train METHOD --data SOURCE [--out RUN] [--config FILE] [--resume] [options]")
    print("\nmethods:")
    for name, method in methods().items():
        print(f"  {name:<12} {method.summary} (needs {', '.join(sorted(method.needs))})")
    print("\nlikewise train METHOD --help lists all options of a method.")
