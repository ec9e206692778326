"""Lines of a sheet: where they break."""

from __future__ import annotations

import pytest

from likewise.reporting.sheets.sheet import wrap


class Mono:
    """A font whose signs are all ten pixels wide."""

    def getlength(self, text: str) -> float:
        return 10 * len(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a red circle above", ["a red", "circle", "above"]),
        ("photos/first_album/x.jpg", ["photos/", "first_", "album/", "x.jpg"]),
        ("well-behaved dogs", ["well-", "behaved", "dogs"]),
        ("incomprehensible", ["incompre", "hensible"]),  # wider than a line
        ("一只红鸟在树上唱歌很好听", ["一只红鸟在树上唱", "歌很好听"]),
        ("鸟bird在天上", ["鸟bird在天上"]),
        ("一只小鸟在bird上", ["一只小鸟在", "bird上"]),
    ],
)
def test_lines_break_between_words(text: str, lines: list[str]) -> None:
    assert wrap(text, Mono(), 80, 9) == lines


def test_a_text_that_is_cut_ends_with_a_whole_word() -> None:
    assert wrap("a small yellow triangle", Mono(), 120, 1) == ["a small…"]
    assert wrap("one incomprehensible word", Mono(), 120, 2) == ["one", "incomprehen…"]
