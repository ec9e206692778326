"""Choosing a font that has the characters of some texts."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["find_font"]

_NAMES = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "NotoSansSC-Regular.ttf",
    "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf",
    "PingFang.ttc", "STHeiti Light.ttc", "msyh.ttc", "simsun.ttc",
)  # fmt: skip
_NUM_NAMED = 5


def find_font(texts: Iterable[str]) -> tuple[Path, list[str]]:
    """The font with most of the texts' characters: the bundled one, or an installed Chinese one.

    Returns:
        The font's file, and a remark for the user where it lacks characters.
    """
    import matplotlib

    characters = {sign for text in texts for sign in text if sign.isprintable() and not sign.isspace()}
    best = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    missing = _missing(best, characters)
    if missing:
        best = min([best, *_installed(missing)], key=lambda path: len(_missing(path, characters)))
        missing = _missing(best, characters)
    if not missing:
        return best, []
    named = " ".join(sorted(missing)[:_NUM_NAMED]) + (" ..." if len(missing) > _NUM_NAMED else "")
    packages = sorted({_package(sign) for sign in missing})
    return best, [
        f"no font was found here that has {named}: they show as boxes; on Debian, apt-get install "
        f"{' '.join(packages)} helps"
    ]


def _missing(path: Path, characters: set[str]) -> set[str]:
    from matplotlib.ft2font import FT2Font

    known = FT2Font(str(path)).get_charmap()
    return {sign for sign in characters if ord(sign) not in known}


def _script(sign: str) -> str:
    """The first word of a sign's name: CJK, THAI, DEVANAGARI, ..."""
    return unicodedata.name(sign, "").split(" ")[0].split("-")[0]


def _package(sign: str) -> str:
    """The Debian package of a font that has the sign."""
    if _script(sign) in ("CJK", "FULLWIDTH", "HALFWIDTH", "HANGUL", "HIRAGANA", "IDEOGRAPHIC", "KATAKANA"):
        return "fonts-noto-cjk"
    return "fonts-noto-core" if sign.isalpha() or unicodedata.category(sign)[0] == "M" else "fonts-symbola"


def _installed(missing: set[str]) -> Iterator[Path]:
    """Those of the known fonts, and of Noto's for the scripts of these signs, that are installed."""
    from PIL import ImageFont

    scripts = sorted({_script(sign).title() for sign in missing} - {""})
    others = [f"NotoSans{script}-Regular.ttf" for script in scripts] + ["Symbola_hint.ttf", "Symbola.ttf"]
    for name in (*_NAMES, *others):  # Pillow looks for it in the folders of the system
        try:
            yield Path(str(ImageFont.truetype(name).path))
        except OSError:
            continue
