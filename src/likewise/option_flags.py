"""Flags from dataclasses: tyro's parser, with help and messages that read better.

- tyro takes an option's help from its docstring and keeps the line breaks of an indented one, so that every
  line of ours, written for a wider page, would break once more in the middle. Here each paragraph is one
  line, which breaks where the terminal ends.
- What may be left out is shown as what it is when given: `--out STR`, not `--out {None}|STR`. The word None
  is understood nevertheless.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Sequence
from functools import cache
from typing import Any, Union, get_args, get_type_hints

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

    return tyro.cli(kind, args=list(arguments), prog=prog, registry=_rules(), **how)


@cache
def _rules() -> Any:
    from tyro.constructors import ConstructorRegistry

    registry = ConstructorRegistry()
    registry.struct_rule(_rule_of_dataclasses)
    registry.primitive_rule(_rule_of_what_may_be_none)
    return registry


def _rule_of_dataclasses(info: Any) -> Any:
    """As tyro's own, but for the help."""
    from tyro.constructors import StructConstructorSpec, StructFieldSpec

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


def _rule_of_what_may_be_none(info: Any) -> Any:
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
