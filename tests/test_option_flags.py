from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Annotated, Literal

import pytest
import tyro

from likewise.errors import ConfigError
from likewise.option_flags import given_flags, parse_flags, source_first


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
    with pytest.raises(ConfigError, match=r"^Missing from x: STR\. x --help lists the options\.$"):
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
    [
        (["--count", "1.5"], "Error parsing --count: invalid literal for int() with base 10: '1.5'."),
        (
            ["--way", "up"],
            "invalid choice 'up' for argument '--way'. Expected one of ('there', 'back', 'None').",
        ),
        (["--inner.weigths", "1"], "Unrecognized options: --inner.weigths, 1; did you mean --inner.weights?"),
        (["--zzzzzz"], "Unrecognized options: --zzzzzz."),
        (["--folder"], "Missing value for argument '--folder'. Expected 1 values."),
    ],
)
@pytest.mark.parametrize("columns", [60, 200])
def test_an_error_is_one_line_and_a_hint(
    words: list[str],
    said: str,
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(ConfigError) as refused:
        parse_flags(Command, ["here", *words], prog="x")
    assert str(refused.value) == f"{said} x --help lists the options."
    assert capsys.readouterr() == ("", "")


def test_a_source_may_stand_first() -> None:
    assert source_first(["a.csv", "--fast"]) == ["--data", "a.csv", "--fast"]
    assert source_first(["--data", "a.csv"]) == ["--data", "a.csv"]
    assert source_first([]) == []
    with pytest.raises(ConfigError, match=r"given twice: a\.csv and --data"):
        source_first(["a.csv", "--data=b.csv"])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lists:
    """Several of each."""

    source: Annotated[str, tyro.conf.Positional]
    """Where from."""
    words: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """At the end."""
    box: tuple[str, ...] = ()
    """Places."""
    not_box: tuple[int, ...] = ()
    """Numbers."""
    out: str = "x"
    """One."""
    inner: Inner = dataclasses.field(default_factory=Inner)
    unnamed: Annotated[Inner, tyro.conf.arg(name="")] = dataclasses.field(default_factory=Inner)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("s --box a b --box c", {"box": ("a", "b", "c")}),
        ("s w --box a --out y --box=c --box d", {"words": ("w",), "box": ("a", "c", "d"), "out": "y"}),
        ("s --not-box -1 --box a --not_box 2 -3", {"not_box": (-1, 2, -3), "box": ("a",)}),
        ("s --inner.weights 1 --inner.weights 2 3", {"inner": Inner(weights=(1.0, 2.0, 3.0))}),
        ("s --weights 1 --weights 2", {"unnamed": Inner(weights=(1.0, 2.0))}),
        ("s --out y --out z", {"out": "z"}),
        ("s --box a -- --box", {"box": ("a",), "words": ("--box",)}),
    ],
)
def test_a_list_that_is_given_several_times_is_all_of_them(words: str, expected: dict[str, object]) -> None:
    assert parse_flags(Lists, words.split(), prog="x") == Lists(source="s", **expected)
