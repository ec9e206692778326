"""What a cell of a table holds."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from likewise.data.cells import listed_texts, name_in


@pytest.mark.parametrize(
    "texts",
    [
        ["a red bus", "a bus on a road"],
        ["it's a cat", 'a "cat"', 'it\'s "both"'],
        ["two\nlines", "and a \\ backslash"],
        ["a caption of some length, which numpy breaks the line after " * 2, "another " * 9],
        ["one"],
        ["comma, inside", "['brackets'] inside"],
    ],
)
def test_lists_as_numpy_python_and_json_write_them(texts: list[str]) -> None:
    arrays = (np.array(texts, dtype=object), np.array(texts))
    for written in (*map(str, arrays), repr(texts), json.dumps(texts)):
        assert listed_texts(written, None) == texts


@pytest.mark.parametrize("text", ["['one' two]", "['one'] 'two'", "[one two]", "['one' 'two", "['a' + 'b']"])
def test_what_is_no_list_stays_a_text(text: str) -> None:
    assert listed_texts(text, None) == [text]


@pytest.mark.parametrize(
    ("cell", "name"),
    [(1, "1"), (1.0, "1"), ("1.0", "1"), (" 1.00 ", "1"), ("-2.0", "-2"), (1.5, "1.5"), ("1.05", "1.05"),
     ("1.0.2", "1.0.2"), ("v1.0", "v1.0"), ("", None), ("  ", None), (None, None), (math.nan, None)],
)  # fmt: skip
def test_whole_numbers_have_one_name(cell: Any, name: str | None) -> None:
    assert name_in(cell) == name
