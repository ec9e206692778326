"""Bytes to text, and what of it is no text."""

from __future__ import annotations

import pytest

from likewise.data import DataConfig
from likewise.data.text_encoding import check_texts, decoded, is_text, legible
from likewise.errors import ConfigError, RecordError


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8", "U8", "gb18030"])
def test_utf_16_is_known_by_its_mark(encoding: str) -> None:
    assert decoded("猫\na cat".encode("utf-16"), encoding) == "猫\na cat"
    assert decoded(b"\xfe\xff" + "猫".encode("utf-16-be"), encoding) == "猫"


def test_bytes_that_do_not_fit_are_no_text() -> None:
    assert decoded("\ufeffcafé".encode(), "utf_8") == "café"
    assert decoded("café".encode("latin-1"), "utf-8") == "caf\udce9"
    assert decoded("café".encode("latin-1"), "latin-1") == "café"
    for cut in ("a cat".encode("utf-16") + b"x", b"\xff\xfea\x00\x3d\xd8b\x00"):
        text = decoded(cut, "utf-8")
        assert text.startswith("a")
        assert not is_text(text)


def test_an_encoding_that_reads_no_files_is_refused() -> None:
    for encoding in ("utf-16", "utf-7", "gb18030", "shift_jis", "cp1252"):
        DataConfig(source="t.csv", encoding=encoding)
    for encoding in ("idna", "punycode", "undefined", "a\0b"):
        with pytest.raises(ConfigError, match=r"^--data\.encoding: no file is read by .*gb18030"):
            DataConfig(source="t.csv", encoding=encoding)
    for encoding in ("utf-9", "rot13", ""):
        with pytest.raises(ConfigError, match=r"^--data\.encoding: Python knows no encoding"):
            DataConfig(source="t.csv", encoding=encoding)


def test_text_is_told_from_what_is_none() -> None:
    for text in ("", "a cat", "猫 \U0001f600", "\ufffd"):
        assert is_text(text)
        assert legible(text) == text
    for text in ("\ud83d", "caf\udce9", "\udc00\ud800"):
        assert not is_text(text)
        assert is_text(legible(text))
    assert legible("caf\udce9.png") == "caf\ufffd.png"
    check_texts({"label": None, "group": "猫", "id": 3})
    with pytest.raises(RecordError, match="wrong encoding: the group holds"):
        check_texts({"label": "a", "group": "\ud83d"})
