"""`likewise methods [NAME]`."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence

from likewise.errors import ConfigError
from likewise.methods.base import Method
from likewise.methods.catalog import find_method, methods
from likewise.methods.on_sounds import SOUND_METHODS, SUFFIX

__all__ = ["run"]

_HELP = """usage: likewise methods [NAME]

Lists the training methods: what each learns from, and its paper. With a NAME: its idea, when to choose it,
and its options' defaults."""


def run(arguments: Sequence[str]) -> None:
    """List the methods, a line each, or describe one."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(_HELP)
    elif len(arguments) > 1:
        raise ConfigError(f"expected one method's name, got {' '.join(arguments)}.")
    elif arguments:
        _describe(find_method(arguments[0]))
    else:
        _list()


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("method", "what belongs together", "needs", "cost", "paper"):
        table.add_column(heading)
    for name, method in methods().items():
        cost = "" if method.cost is None else f"{method.cost:.1f}"
        table.add_row(name, method.summary, str(method.needs), cost, method.paper)
    console = Console()
    console.print(table)
    names = ", ".join(name + SUFFIX for name in SOUND_METHODS)
    console.print(f"\non sounds in place of images: {names}")
    console.print("\ncost: the time of a step, relative to SimCLR's. More about one: likewise methods NAME")


def _describe(method: type[Method]) -> None:
    print(f"{method.name}: {method.summary}\n")
    for heading, text in (
        ("Idea", method.idea),
        ("Choose it when", method.choose_when),
        ("Needs", str(method.needs)),
        ("A step costs", "" if method.cost is None else f"{method.cost:.1f} times SimCLR's"),
        ("Paper", method.paper),
        ("Presets", _presets(method)),
        ("Options", _options(method)),
    ):
        if text:
            lines = (textwrap.fill(line, 98, subsequent_indent="  ") for line in text.splitlines())
            body = textwrap.indent(
                "\n".join(lines) if heading == "Presets" else textwrap.fill(text, 98), "  "
            )
            print(f"{heading}\n{body}\n")
    print(f"All options: likewise train {method.name} --help")


def _presets(method: type[Method]) -> str:
    """A line for each preset, with its flags."""
    lines = []
    for name, sections in method.presets.items():
        flags = (f"{s}.{key} {value}" for s, values in sections.items() for key, value in values.items())
        lines.append(f"{name}: {', '.join(flags)}")
    return "\n".join(lines)


def _options(method: type[Method]) -> str:
    defaults = method.options()
    named = (f"{field.name} {getattr(defaults, field.name)}" for field in dataclasses.fields(defaults))
    return "; ".join(named)
