"""Captions that restrict their image's views: those that name a side or a colour."""

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
# Compounds ("light-blue") are found by their parts: a hyphen is a word boundary.
_COLOURS = """
    red reddish redhead orange yellow yellowish green greenish blue bluish purple violet pink pinkish brown
    brownish black white grey gray greyish grayish gold golden silver beige tan turquoise teal cyan magenta
    maroon crimson scarlet navy lime lavender indigo khaki olive cream ivory blond blonde brunette rainbow
    colour colours coloured colourful color colors colored colorful multicoloured multicolored
"""
# Chinese has no spaces, so these match anywhere, also in words with another meaning (左右 "about", 白天
# "by day"). A false match only means a weaker view.
_SIDES_CHINESE = "左 右 顺时针 逆时针 順時針 逆時針"
_COLOURS_CHINESE = """
    红 紅 橙 橘 黄 黃 绿 綠 蓝 藍 紫 棕 褐 黑 白 灰 粉色 粉红 粉紅 青色 青绿 青綠
    金色 银色 銀色 米色 金发 金髮 色彩 颜色 顏色 彩色 五颜六色 五顏六色
"""


_SIDE_WORDS, _COLOUR_WORDS = frozenset(_SIDES.split()), frozenset(_COLOURS.split())
_SIDE_SIGNS, _COLOUR_SIGNS = (
    re.compile("|".join(signs.split())) for signs in (_SIDES_CHINESE, _COLOURS_CHINESE)
)
# Longest runs of ASCII letters: "红red球" and "red-haired" match, "bored" does not.
_WORD = re.compile("[a-z]+")
# Letters that equal i, s and k in case-insensitive matching.
_OTHER_CASES = str.maketrans("İıſ\N{KELVIN SIGN}", "iisk")


def caption_flags(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Find captions that name a side or a colour, in English and Chinese.

    "right" counts as a side in every sense: an unflipped view costs less than an image that contradicts its
    caption.

    Args:
        texts: N captions.

    Returns:
        keep_sides and keep_colours, both (N,) bool.
    """
    flags = torch.tensor([_names(text) for text in texts], dtype=torch.bool).view(-1, 2)
    return flags[:, 0], flags[:, 1]


def _names(text: str) -> tuple[bool, bool]:
    """Whether a text names a side, and whether a colour."""
    # Sets, not one pattern of alternatives, which is tried at every letter: all captions are searched before
    # the first step.
    ascii_only = text.isascii()
    words = _WORD.findall((text if ascii_only else text.translate(_OTHER_CASES)).lower())
    side, colour = not _SIDE_WORDS.isdisjoint(words), not _COLOUR_WORDS.isdisjoint(words)
    if ascii_only:
        return side, colour
    return side or bool(_SIDE_SIGNS.search(text)), colour or bool(_COLOUR_SIGNS.search(text))
