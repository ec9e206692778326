"""Fonts for captions and words of any language."""

from __future__ import annotations

import pytest

from likewise.reporting.sheets import fonts


def test_plain_texts_take_the_bundled_font() -> None:
    path, remarks = fonts.find_font(["a red circle", "un éléphant\n", "красный круг"])
    assert path.name == "DejaVuSans.ttf"
    assert remarks == []


def test_missing_signs_are_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_NAMES", ("no such font.ttf",))
    path, remarks = fonts.find_font(["一只鸟", "一只红鸟 on it", "再见了"])
    assert path.name == "DejaVuSans.ttf"
    (remark,) = remarks
    assert "..." in remark
    assert "show as boxes; on Debian, apt-get install fonts-noto-cjk helps" in remark


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("नमस्ते", "fonts-noto-core"),
        ("สวัสดี", "fonts-noto-core"),
        ("한국", "fonts-noto-cjk"),
        ("🦜", "fonts-symbola"),
    ],
)
def test_the_package_that_has_a_script_is_named(
    text: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fonts, "_installed", lambda missing: iter(()))
    (remark,) = fonts.find_font([text])[1]
    assert f"apt-get install {package} helps" in remark


def test_a_font_of_the_system_is_taken_where_it_has_the_signs() -> None:
    path, remarks = fonts.find_font(["一只鸟"])
    assert (path.name == "DejaVuSans.ttf") == bool(remarks)
