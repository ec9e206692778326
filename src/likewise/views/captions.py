"""Which captions a view must not contradict: those that name a side, and those that name a colour."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["caption_flags"]

_SIDES = """
    left right lefthand righthand leftmost rightmost leftward leftwards rightward rightwards eastward westward
    clockwise counterclockwise anticlockwise
"""
# Compounds ("light-blue") are found by their parts, since a hyphen bounds words.
_COLOURS = """
    red reddish redhead orange yellow yellowish green greenish blue bluish purple violet pink pinkish brown
    brownish black white grey gray greyish grayish gold golden silver beige tan turquoise teal cyan magenta
    maroon crimson scarlet navy lime lavender indigo khaki olive cream ivory blond blonde brunette rainbow
    colour colours coloured colourful color colors colored colorful multicoloured multicolored
"""
# Chinese is written without spaces, so these are found anywhere, also in words of another sense
# (左右 "about", 白天 "by day"): such a picture is left as it is for nothing, which costs little.
_SIDES_CHINESE = "左 右 顺时针 逆时针 順時針 逆時針"
_COLOURS_CHINESE = """
    红 紅 橙 橘 黄 黃 绿 綠 蓝 藍 紫 棕 褐 黑 白 灰 粉色 粉红 粉紅 青色 青绿 青綠
    金色 银色 銀色 米色 金发 金髮 色彩 颜色 顏色 彩色 五颜六色 五顏六色
"""


def _pattern(words: str, anywhere: str) -> re.Pattern[str]:
    # ASCII letters bound the English words, so that "红red球" and "red-haired" are seen and "bored" is not.
    english, chinese = "|".join(words.split()), "|".join(anywhere.split())
    return re.compile(f"(?<![a-z])(?:{english})(?![a-z])|{chinese}", re.IGNORECASE)


_NAMES_SIDE = _pattern(_SIDES, _SIDES_CHINESE)
_NAMES_COLOUR = _pattern(_COLOURS, _COLOURS_CHINESE)


def caption_flags(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Finds captions that name a side or a colour, in English and Chinese.

    "right" is taken for a side in every sense of it: a view left unflipped for nothing costs less than a
    picture that contradicts its caption.

    Args:
        texts: N captions.

    Returns:
        keep_sides and keep_colours, both (N,) bool.
    """
    sides = [_NAMES_SIDE.search(text) is not None for text in texts]
    colours = [_NAMES_COLOUR.search(text) is not None for text in texts]
    return torch.tensor(sides, dtype=torch.bool), torch.tensor(colours, dtype=torch.bool)
