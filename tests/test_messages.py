"""Messages name an option as the flag that one pastes on the command line, and only flags that there are."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from likewise.methods.catalog import find_method, methods
from likewise.methods.on_sounds import SOUND_METHODS
from likewise.runs.settings import default_settings

PACKAGE = Path(__file__).parents[1] / "src" / "likewise"


def options() -> dict[str, set[str]]:
    """The options of every section, of all methods."""
    found: dict[str, set[str]] = {}
    for method in [*methods().values(), *(find_method(f"{name}-audio") for name in SOUND_METHODS)]:
        for section, config in default_settings(method, "scenes").sections().items():
            found.setdefault(section, set()).update(field.name for field in dataclasses.fields(config))
    return found


OPTIONS = options()
SECTIONS = "|".join(OPTIONS)
DOTTED = re.compile(rf"(?<![-\w.])({SECTIONS})\.(\w+|\{{)")
FLAG = re.compile(rf"--({SECTIONS})\.([\w-]*\w)")


def messages(path: Path) -> Iterator[str]:
    """Strings of a file with several words, except docstrings; `{}` stands for what an f-string fills in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_options_are_named_by_their_flags(path: Path) -> None:
    for message in filter(lambda message: " " in message or "{" in message, messages(path)):
        for section, option in DOTTED.findall(message):
            assert option not in {"{", *OPTIONS[section]}, message
        for section, option in FLAG.findall(message):
            flags = {name.replace("_", "-") for name in OPTIONS[section]}
            assert option.removeprefix("no-") in flags, message
