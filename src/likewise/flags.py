"""Flags from dataclasses: tyro's parser, with a help whose lines flow.

tyro takes an option's help from its docstring and keeps the line breaks of an indented one, so that every
line of ours, written for a wider page, would break once more in the middle. Here each paragraph is one line,
which the help then breaks where the terminal ends.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, get_type_hints

__all__ = ["parse_flags"]


def parse_flags(kind: type, arguments: Sequence[str], *, prog: str, **how: Any) -> Any:
    """A dataclass from flags; prints the help and exits when asked to.

    Args:
        kind: the dataclass.
        arguments: the flags.
        prog: the command's name in messages.
        how: what else `tyro.cli` should know.

    Returns:
        What `tyro.cli` returns: an instance, with `return_unknown_args` a pair of it and the other words.

    Raises:
        SystemExit: an unknown flag or a value of the wrong type; tyro has printed which, and the nearest.
    """
    import tyro

    return tyro.cli(kind, args=list(arguments), prog=prog, registry=_flowing(), **how)


@cache
def _flowing() -> Any:
    """Tyro's rules, but for the help of a dataclass's fields."""
    from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec

    registry = ConstructorRegistry()

    @registry.struct_rule
    def dataclass_rule(info: Any) -> Any:
        if not (isinstance(info.type, type) and dataclasses.is_dataclass(info.type)):
            return None
        hints = get_type_hints(info.type, include_extras=True)
        fields = (
            StructFieldSpec(
                name=field.name,
                type=hints[field.name],
                default=_default(field, info.default),
                helptext=_documented(info.type).get(field.name),
            )
            for field in dataclasses.fields(info.type)
        )
        return StructConstructorSpec(instantiate=info.type, fields=tuple(fields))

    return registry


def _default(field: dataclasses.Field[Any], whole: Any) -> Any:
    """A field's value in the `whole` dataclass's default, or else its own default."""
    import tyro

    if dataclasses.is_dataclass(whole):
        return getattr(whole, field.name)
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return tyro.MISSING


@cache
def _documented(kind: type) -> dict[str, str]:
    """Each field's docstring, one line a paragraph; of the class itself and of those that it extends."""
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
