"""A font that has the signs of some texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

__all__ = ["find_font"]

_NAMES = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "NotoSansSC-Regular.ttf",
    "SourceHanSansSC-Regular.otf", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf",
    "PingFang.ttc", "STHeiti Light.ttc", "msyh.ttc", "simsun.ttc",
)  # fmt: skip
_FOLDERS = (
    "", "/usr/share/fonts/opentype/noto/", "/usr/share/fonts/noto-cjk/", "/usr/share/fonts/truetype/wqy/",
    "/usr/share/fonts/truetype/droid/", "/System/Library/Fonts/",
)  # fmt: skip
_NUM_NAMED = 5


def find_font(texts: Iterable[str]) -> tuple[Path, list[str]]:
    """The font that has most of the texts' signs: the bundled one, or a Chinese one of the system.

    Args:
        texts: what is to be written.

    Returns:
        The font's file, and a remark for the user where signs are missing in it.
    """
    import matplotlib

    signs = {sign for text in texts for sign in text if sign.isprintable() and not sign.isspace()}
    best = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    missing = _missing(best, signs)
    for path in _of_system() if missing else ():
        if len(lacks := _missing(path, signs)) < len(missing):
            best, missing = path, lacks
        if not missing:
            break
    if not missing:
        return best, []
    named = " ".join(sorted(missing)[:_NUM_NAMED]) + (" ..." if len(missing) > _NUM_NAMED else "")
    return best, [f"no font was found here that has {named}: they show as boxes"]


def _missing(path: Path, signs: set[str]) -> set[str]:
    from matplotlib.ft2font import FT2Font

    has = FT2Font(str(path)).get_charmap()
    return {sign for sign in signs if ord(sign) not in has}


def _of_system() -> Iterator[Path]:
    """Those of the known fonts that are installed."""
    from PIL import ImageFont

    for name in (folder + name for name in _NAMES for folder in _FOLDERS):
        try:
            yield Path(str(ImageFont.truetype(name).path))
        except OSError:
            continue
