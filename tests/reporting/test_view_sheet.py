import numpy as np
import pytest
import torch

from likewise.reporting.sheets.view_sheet import draw_view_sheet
from likewise.views import PRESETS


def _images(count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 3, 40, 40), dtype=torch.uint8, generator=generator)


def test_the_first_column_is_what_is_stored() -> None:
    images = _images()
    sheet = draw_view_sheet(images, config=PRESETS["simclr"], size=32, num_views=4, cell=40)
    pixels = np.asarray(sheet)
    assert pixels.shape == (24 + 3 * 46, 5 * 46 + 12, 3)
    for row in range(3):
        top = 24 + row * 46
        assert np.array_equal(pixels[top : top + 40, 6:46].transpose(2, 0, 1), images[row].numpy())


def test_captions_stand_beside_and_are_respected() -> None:
    captions = ["the left one", "左边的红色圆", "word " * 200]
    plain = np.asarray(draw_view_sheet(_images(), config=PRESETS["clip"], size=32, num_views=2, cell=40))
    said = draw_view_sheet(
        _images(), config=PRESETS["clip"], size=32, num_views=2, cell=40, captions=captions
    )
    assert np.array_equal(np.asarray(said)[24:, : 3 * 46], plain[24:, : 3 * 46])
    assert said.width > plain.shape[1]


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        draw_view_sheet(_images(0), config=PRESETS["clip"], size=32)
    with pytest.raises(ValueError, match="2 captions"):
        draw_view_sheet(_images(), config=PRESETS["clip"], size=32, captions=["a", "b"])
