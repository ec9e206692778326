"""Flags from dataclasses: parsed by tyro, with a help that reads better.

- `given_flags` returns only what the command line says, so that a file or a preset can say the rest.
- tyro keeps the line breaks of a field's docstring. Here each paragraph is one line; the terminal wraps it.
- An error is one line with a hint, not a box.
- A list that is given several times, `--box A --box B`, is all of them.
- An optional value is shown by its type: `--out STR`, not `--out {None}|STR`. The word None is accepted.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import re
import shlex
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from typing_extensions import Required, TypedDict

from likewise.errors import ConfigError

__all__ = ["check_counts", "given_flags", "parse_flags", "source_first"]

_NONE = dataclasses.MISSING


def parse_flags(kind: type, arguments: Sequence[str], *, prog: str) -> Any:
    """A dataclass from flags; prints the help and exits when asked to.

    Args:
        kind: the dataclass. A field may be a dataclass itself; its flags are `--field.option`.
        arguments: the flags.
        prog: the command's name in messages.

    Raises:
        ConfigError: an unknown flag, or a value of the wrong type.
    """
    return _filled(kind, _NONE, given_flags(kind, arguments, prog=prog, description=kind.__doc__))


def check_counts(options: Any, *names: str) -> None:
    """Reject counts below 1.

    Args:
        options: of a command.
        names: fields that are counts.

    Raises:
        ConfigError: names the first such flag.
    """
    for name in names:
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} is {getattr(options, name)}; expected at least 1.")


def given_flags(
    kind: type,
    arguments: Sequence[str],
    *,
    prog: str,
    description: str | None,
    default: Any = _NONE,
    hidden: Mapping[str, Collection[str]] = types.MappingProxyType({}),
) -> dict[str, Any]:
    """The flags that were given, by field name, nested as the dataclass is; what was left out is absent.

    Args:
        kind: see `parse_flags`.
        arguments: see `parse_flags`.
        prog: see `parse_flags`.
        description: what the help begins with.
        default: an instance of `kind`, for the values in the help; every flag may then be left out.
        hidden: fields of `kind` with those of their own fields that have no flag.

    Raises:
        ConfigError: see `parse_flags`.
    """
    import tyro

    text = _flow(description or "")
    shown = io.StringIO()
    try:
        with redirect_stderr(shown):
            given = tyro.cli(
                _optional(kind, default, hidden),
                args=_side_by_side(arguments, frozenset(_list_flags(kind))),
                prog=prog,
                registry=_rules(),
                description=text,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise ConfigError(f"{_in_one_line(shown.getvalue())} {prog} --help lists the options.") from None
    return dict(given)


def _list_flags(kind: Any, before: str = "--") -> Iterator[str]:
    """The flags of a dataclass that take several values."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        inner, *own = get_args(hint) if get_origin(hint) is Annotated else (hint,)
        named = next((part.name for part in own if getattr(part, "name", None) is not None), name)
        flag = f"{before}{named.replace('_', '-')}"
        if dataclasses.is_dataclass(inner):
            yield from _list_flags(inner, f"{flag}." if named else before)
        elif get_origin(inner) is tuple and get_args(inner)[-1:] == (...,):
            yield flag


def _side_by_side(arguments: Sequence[str], flags: Collection[str]) -> list[str]:
    """The arguments, with all values of each of these flags behind its first place."""
    latest: list[str] = []
    groups, first = [latest], dict[str, list[str]]()
    for place, word in enumerate(arguments):
        flag, sign, value = word.partition("=")
        flag = flag.replace("_", "-")
        if word == "--":
            groups.append(list(arguments[place:]))
            break
        if flag in flags and flag in first:
            latest = first[flag]
            latest += [value] if sign else []
        elif word.startswith("-") and not re.match(r"-[\d.]", word):
            latest = [word]
            groups.append(latest)
            first[flag] = latest
        else:
            latest.append(word)
    return [word for group in groups for word in group]


def source_first(arguments: Sequence[str]) -> list[str]:
    """The arguments with --data before a first word that is no flag: `likewise data SOURCE`.

    Raises:
        ConfigError: --data is given too.
    """
    words = list(arguments)
    if not words or words[0].startswith("-"):
        return words
    if any(word == "--data" or word.startswith("--data=") for word in words):
        raise ConfigError(f"the source is given twice: {words[0]} and --data; give one of them.")
    return ["--data", *words]


def _in_one_line(box: str) -> str:
    """What one of tyro's boxes says, without the descriptions of options.

    A terminal that lacks the characters of boxes has a line of dashes below the title instead.
    """
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).strip("│").rstrip() for line in box.splitlines()]
    content = lines[1:] if box.startswith("╭") else lines[2:]
    inside = inspect.cleandoc("\n" + "\n".join(content)).splitlines()
    rule = next(
        (place for place, line in enumerate(inside) if line.strip()[:3] in ("───", "---")), len(inside)
    )
    said = " ".join(line.strip() for line in inside[:rule] if not line.startswith(" " * 8))
    hints = inside[rule:] if "Unrecognized" in said else []
    near = next((found[0] for line in hints if (found := re.match(r" {4,5}--[\w.-]+", line))), None)
    return f"{said.rstrip('.')}." if near is None else f"{said}; did you mean {near.strip()}?"


def _filled(kind: type, default: Any, given: Mapping[str, Any]) -> Any:
    """The dataclass, with defaults for what was not given."""
    values, hints = _defaults(kind, default), get_type_hints(kind)
    for name, value in given.items():
        nested = dataclasses.is_dataclass(hints[name])
        values[name] = _filled(hints[name], values[name], value) if nested else value
    return kind(**values)


def _optional(
    kind: type, default: Any, hidden: Mapping[str, Collection[str]], left_out: Collection[str] = ()
) -> Any:
    """A TypedDict with a dataclass's fields, in which only fields without a default must be given."""
    import tyro

    hints = get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {}
    for name, value in _defaults(kind, default).items():
        if name in left_out:
            continue
        inner, *own = get_args(hints[name]) if get_origin(hints[name]) is Annotated else (hints[name],)
        nested = dataclasses.is_dataclass(inner)
        label = None if nested or value is _NONE else _label(value)
        shown = tyro.conf.arg(help=_documented(kind).get(name), help_behavior_hint=label)
        made = _optional(inner, value, {}, hidden.get(name, ())) if nested else inner
        parts = (made, shown, *own)  # the field's own counts most
        fields[name] = Annotated[parts] if nested or value is not _NONE else Required[Annotated[parts]]
    optional = TypedDict(kind.__name__, fields, total=False)  # type: ignore[misc]
    optional.__doc__ = kind.__doc__
    return optional


def _label(value: Any) -> str:
    import tyro

    if value is tyro.MISSING:
        return "(required)"
    words = value if isinstance(value, tuple) else [value]
    return f"(default: {' '.join(shlex.quote(str(word)) for word in words)})"


def _defaults(kind: Any, whole: Any) -> dict[str, Any]:
    """Each field's value in `whole`; its own default where `whole` is missing."""
    if whole is not _NONE:
        return {field.name: getattr(whole, field.name) for field in dataclasses.fields(kind)}
    return {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in dataclasses.fields(kind)
    }


@cache
def _rules() -> Any:
    from tyro.constructors import ConstructorRegistry

    registry = ConstructorRegistry()
    registry.primitive_rule(_rule_of_optional_values)
    return registry


@cache
def _documented(kind: type) -> dict[str, str]:
    """Each field's docstring, one line a paragraph; inherited fields included."""
    from docstring_parser import parse_from_object

    found: dict[str, str] = {}
    for one in reversed(kind.__mro__[:-1]):
        for field in parse_from_object(one).params:
            if field.description:
                found[field.arg_name] = _flow(field.description)
    return found


def _flow(text: str) -> str:
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text))
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _rule_of_optional_values(info: Any) -> Any:
    """`X | None` is read as X is, or from the word None."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    kinds = get_args(info.type)
    others = [kind for kind in kinds if kind is not type(None)]
    if info.type_origin not in (Union, types.UnionType) or len(others) != 1 or len(kinds) != 2:
        return None
    given = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(others[0], info.markers))
    if not isinstance(given, PrimitiveConstructorSpec) or given.nargs != 1:
        return None
    return dataclasses.replace(
        given,
        instance_from_str=lambda words: None if words == ["None"] else given.instance_from_str(words),
        is_instance=lambda value: value is None or given.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else given.str_from_instance(value),
        choices=None if given.choices is None else (*given.choices, "None"),
    )
