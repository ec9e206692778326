"""Choosing a font that has the characters of some texts."""

from __future__ import annotations

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
        best = min([best, *_installed()], key=lambda path: len(_missing(path, characters)))
        missing = _missing(best, characters)
    if not missing:
        return best, []
    named = " ".join(sorted(missing)[:_NUM_NAMED]) + (" ..." if len(missing) > _NUM_NAMED else "")
    return best, [f"no font was found here that has {named}: they show as boxes"]


def _missing(path: Path, characters: set[str]) -> set[str]:
    from matplotlib.ft2font import FT2Font

    known = FT2Font(str(path)).get_charmap()
    return {sign for sign in characters if ord(sign) not in known}


def _installed() -> Iterator[Path]:
    """Those of the known fonts that are installed."""
    from PIL import ImageFont

    for name in _NAMES:  # Pillow looks for it in the folders of the system
        try:
            yield Path(str(ImageFont.truetype(name).path))
        except OSError:
            continue
