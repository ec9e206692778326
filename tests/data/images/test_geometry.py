"""Places in an image and in its square."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from likewise.data.images.decode import to_square
from likewise.data.images.geometry import boxes_in_image, boxes_in_square


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("size", [(80, 40), (40, 80), (64, 64)])
def test_a_box_of_the_image_is_where_the_square_shows_it(fit: str, size: tuple[int, int]) -> None:
    """Drawn into the image, made square, found again."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    x, y, width, height = size[0] // 2 - 10, size[1] // 2 - 6, 16, 12
    pixels[y : y + height, x : x + width] = 255
    square = np.asarray(to_square(Image.fromarray(pixels), 160, fit))[:, :, 0] > 160
    rows, columns = np.nonzero(square)
    seen = [columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1]
    found = boxes_in_square([(x, y, width, height)], size, fit)
    assert 160 * found[0] == pytest.approx(seen, abs=2)
    assert boxes_in_image(found, size, fit)[0] == pytest.approx([x, y, width, height])


def test_what_a_crop_does_not_show_is_cut_off() -> None:
    found = boxes_in_square([(0, 0, 30, 40), (0, 0, 10, 10)], (80, 40), "crop")
    assert found[0] == pytest.approx([0, 0, 0.25, 1])
    assert found[1, 2] == 0


def test_a_place_beside_a_padded_image_is_cut_off() -> None:
    assert boxes_in_image([(0, 0, 1, 1)], (80, 40), "pad")[0] == pytest.approx([0, 0, 80, 40])
    assert boxes_in_square([], (80, 40), "pad").shape == (0, 4)
