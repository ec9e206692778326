import pytest

from likewise.views import caption_flags


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
    ],
)
def test_sides_and_colours_are_found_as_words(text: str, side: bool, colour: bool) -> None:
    keep_sides, keep_colours = caption_flags([text])
    assert keep_sides.tolist() == [side]
    assert keep_colours.tolist() == [colour]


def test_no_captions_give_no_flags() -> None:
    keep_sides, keep_colours = caption_flags([])
    assert keep_sides.shape == keep_colours.shape == (0,)
