from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Annotated, Literal

import pytest
import tyro

from likewise.option_flags import given_flags, parse_flags


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    """What is inside."""

    weights: tuple[float, ...] = (1.0,)
    """Of the parts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Base:
    """What is extended."""

    folder: str | None = None
    """Where it goes, and this line is about as long as those of the project, so that it ends about here
    and the sentence here, on a second line.

    A paragraph of its own."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command(Base):
    """What is asked."""

    source: Annotated[str, tyro.conf.Positional]
    """Where it comes from."""
    inner: Inner = dataclasses.field(default_factory=Inner)
    count: int | None = None
    """How many."""
    way: Literal["there", "back"] | None = "back"
    """Which."""
    fast: bool = False
    """Whether it hurries."""


def _help(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit, match="0"):
        parse_flags(Command, ["--help"], prog="x")
    return [line.strip(" │") for line in capsys.readouterr().out.splitlines()]


def test_values_come_from_flags_and_defaults() -> None:
    assert parse_flags(Command, ["here"], prog="x") == Command(source="here")
    words = ["here", "--folder", "there", "--inner.weights", "1", "2", "--fast"]
    expected = Command(source="here", folder="there", inner=Inner(weights=(1.0, 2.0)), fast=True)
    assert parse_flags(Command, words, prog="x") == expected
    with pytest.raises(SystemExit, match="2"):
        parse_flags(Command, [], prog="x")


def test_only_what_was_given_is_returned(capsys: pytest.CaptureFixture[str]) -> None:
    default = Command(source="here", inner=Inner(weights=(5.0,)), fast=True)
    words = ["--count", "None", "--no-fast"]
    given = given_flags(Command, words, prog="x", description=None, default=default)
    assert given == {"inner": {}, "count": None, "fast": False}
    given = given_flags(Command, ["--inner.weights", "5"], prog="x", description=None, default=default)
    assert given == {"inner": {"weights": (5.0,)}}  # although it is the default
    with pytest.raises(SystemExit, match="0"):
        given_flags(Command, ["--help"], prog="x", description="What it does.", default=default)
    text = capsys.readouterr().out
    assert "What it does." in text
    assert "Of the parts. (default: 5.0)" in text


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_lines_of_the_help_break_where_the_terminal_ends(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = _help(capsys, monkeypatch, columns)
    start = next(place for place, line in enumerate(lines) if "Where it goes" in line)
    lines[start] = lines[start][lines[start].index("Where") :]
    end = lines.index("", start)
    assert " ".join(lines[start:end]).endswith("about here and the sentence here, on a second line.")
    assert lines[end + 1].startswith("A paragraph of its own.")
    indent = len("│ --folder STR  ")
    room = columns - indent - len(" │")
    for line, after in pairwise(lines[start:end]):
        assert len(line) + 1 + len(after.split()[0]) > room  # the first word of the next has no place here


def test_help_says_what_classes_and_positional_words_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = " ".join(_help(capsys, monkeypatch, 200))
    for said in (
        "Where it comes from.",
        "What is inside.",
        "Of the parts. (default: 1.0)",
        "--fast, --no-fast",
    ):
        assert said in text


def test_what_may_be_none_is_shown_and_read_as_what_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "\n".join(_help(capsys, monkeypatch, 80))
    for said in ("--folder STR", "--count INT", "--way {there,back}"):
        assert said in text
    assert "{None}" not in text
    given = parse_flags(Command, ["here", "--count", "3", "--way", "there"], prog="x")
    assert given == Command(source="here", count=3, way="there")
    none = parse_flags(Command, ["here", "--count", "None", "--way", "None"], prog="x")
    assert none == Command(source="here", count=None, way=None)


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--count", "1.5"], "invalid literal for int"), (["--way", "up"], "invalid choice 'up'")],
)
def test_a_wrong_value_is_called_so(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit, match="2"):
        parse_flags(Command, ["here", *words], prog="x")
    captured = capsys.readouterr()
    assert said in captured.out + captured.err
    assert "NoneType" not in captured.out + captured.err
