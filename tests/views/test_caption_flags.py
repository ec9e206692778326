import random
import re

import pytest

from likewise.views import caption_flags, captions


@pytest.mark.parametrize(
    ("text", "side", "colour"),
    [
        ("a small red circle left of a large blue square", True, True),
        ("two dogs on the RIGHT.", True, False),
        ("a bored, tired man who inherited a hundred acres", False, False),
        ("he copyrighted the leftovers brightly", False, False),
        ("a red-haired girl", False, True),
        ("a light-blue sky", False, True),
        ("brightly coloured kites", False, True),
        ("brightly colored kites", False, True),
        ("an orange", False, True),
        ("a left-handed batter", True, False),
        ("", False, False),
        ("红色的圆在蓝色方块的左边", True, True),
        ("右手拿着球的男孩", True, False),
        ("穿白衬衫的女人", False, True),
        ("两只狗在草地上奔跑", False, False),
        ("一个red球", False, True),
        ("一個綠色的蘋果", False, True),
        ("LEFT of a RED ball", True, True),
        ("whıte BLACK \N{KELVIN SIGN}haki", False, True),
    ],
)
def test_sides_and_colours_are_found_as_words(text: str, side: bool, colour: bool) -> None:
    keep_sides, keep_colours = caption_flags([text])
    assert keep_sides.tolist() == [side]
    assert keep_colours.tolist() == [colour]


def test_no_captions_give_no_flags() -> None:
    keep_sides, keep_colours = caption_flags([])
    assert keep_sides.shape == keep_colours.shape == (0,)


def as_pattern(words: str, anywhere: str) -> re.Pattern[str]:
    """The words between what is no letter, in any case, and the signs anywhere."""
    english, chinese = "|".join(words.split()), "|".join(anywhere.split())
    return re.compile(f"(?<![a-z])(?:{english})(?![a-z])|{chinese}", re.IGNORECASE)


def generated_text(draw: random.Random, words: list[str]) -> str:
    """Named words in every case, in pieces and run together, among other signs."""
    other_cases = {"i": "iIİı", "k": "kK\N{KELVIN SIGN}", "s": "sSſ"}
    pieces = []
    for _ in range(draw.randint(0, 5)):
        word = draw.choice(words)
        word = "".join(draw.choice(other_cases.get(sign, sign + sign.upper())) for sign in word)
        end = len(word) if draw.random() < 0.7 else draw.randint(0, len(word))
        pieces += [word[:end], draw.choice(["", " ", "-", "_", "s", "é", "\u0301", "ß", "7", "狗"])]
    return "".join(pieces)


def test_sets_of_words_find_what_a_pattern_of_them_finds() -> None:
    draw = random.Random(0)
    names = [(captions._SIDES, captions._SIDES_CHINESE), (captions._COLOURS, captions._COLOURS_CHINESE)]
    every = " ".join(part for both in names for part in both).split()
    texts = [generated_text(draw, every) for _ in range(20_000)]
    for found, (words, anywhere) in zip(caption_flags(texts), names, strict=True):
        pattern = as_pattern(words, anywhere)
        assert found.tolist() == [pattern.search(text) is not None for text in texts]
        assert 0.2 < float(found.float().mean()) < 0.9
