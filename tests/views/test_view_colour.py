import colorsys
from itertools import permutations

import numpy as np
import pytest
import torch

from likewise.views.colour import GREY, ColourDraws, _hue_once, _in_turn, change_colours, turn_hue


def _naive(image: np.ndarray, factors: list[float], turn: float, order: list[int], grey: bool) -> np.ndarray:
    """torchvision's definitions of the operations, pixel by pixel; (3, P) float64 in [0, 255]."""
    pixels = [list(pixel) for pixel in image.T / 255]

    def luma(pixel: list[float]) -> float:
        return sum(weight * value for weight, value in zip(GREY, pixel, strict=True))

    for operation in order:
        if operation == 0:
            pixels = [[factors[0] * value for value in pixel] for pixel in pixels]
        elif operation == 1:
            mean = sum(luma(pixel) for pixel in pixels) / len(pixels)
            pixels = [[factors[1] * value + (1 - factors[1]) * mean for value in pixel] for pixel in pixels]
        elif operation == 2:
            pixels = [[factors[2] * v + (1 - factors[2]) * luma(pixel) for v in pixel] for pixel in pixels]
        else:
            hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels]
            pixels = [list(colorsys.hsv_to_rgb((h + turn) % 1, s, v)) for h, s, v in hsv]
        pixels = [[min(max(value, 0), 1) for value in pixel] for pixel in pixels]
    if grey:
        pixels = [[luma(pixel)] * 3 for pixel in pixels]
    return 255 * np.array(pixels).T


def test_every_order_equals_the_operations_one_by_one() -> None:
    rng = np.random.default_rng(0)
    orders = [list(order) for order in permutations(range(4))]
    B = 2 * len(orders)
    image = 255 * rng.random((3, 20))
    image[:, :3] = [[0, 255, 90], [0, 255, 90], [0, 255, 90]]  # no hue at all
    draws = ColourDraws(
        factors=torch.tensor(rng.uniform(0.5, 1.5, (B, 3)), dtype=torch.float32),
        turn=torch.tensor(rng.uniform(-0.5, 0.5, B), dtype=torch.float32),
        order=torch.tensor(orders * 2),
        jitter=torch.ones(B, dtype=torch.bool),
        grey=torch.arange(B) >= len(orders),
    )
    images = torch.tensor(image, dtype=torch.float32).repeat(B, 1, 1)
    torch.testing.assert_close(_hue_once(images.clone(), draws), _in_turn(images.clone(), draws))
    got = change_colours(images, draws).double().numpy()
    clamped = 0
    for i in range(B):
        factors, turn, order, grey = (draws[part][i].tolist() for part in (0, 1, 2, 4))
        np.testing.assert_allclose(got[i], _naive(image, factors, turn, order, grey), atol=2e-3)
        clamped += int((got[i] == 255).any())
    assert clamped > 5  # or this would say nothing about clamping


def test_without_jitter_nothing_changes_but_grey() -> None:
    image = torch.tensor(255 * np.random.default_rng(0).random((2, 3, 10)), dtype=torch.float32)
    draws = ColourDraws(
        factors=torch.full((2, 3), 1.4),
        turn=torch.tensor([0.1, 0.1]),
        order=torch.tensor([[0, 1, 2, 3]] * 2),
        jitter=torch.tensor([False, False]),
        grey=torch.tensor([False, True]),
    )
    got = change_colours(image.clone(), draws)
    torch.testing.assert_close(got[0], image[0])
    luma = torch.tensor(GREY) @ image[1]
    torch.testing.assert_close(got[1], luma.expand(3, -1))


def test_images_keep_their_own_draws() -> None:
    """What happens to an image does not hang on the others of its batch."""
    rng = np.random.default_rng(1)
    images = torch.tensor(255 * rng.random((6, 3, 12)), dtype=torch.float32)
    draws = ColourDraws(
        factors=torch.tensor(rng.uniform(0.5, 1.5, (6, 3)), dtype=torch.float32),
        turn=torch.tensor([0.2, -0.1, 0.0, 0.3, 0.1, -0.4]),
        order=torch.tensor(
            [[3, 0, 1, 2], [0, 3, 2, 1], [2, 1, 0, 3], [1, 2, 3, 0], [3, 2, 1, 0], [0, 1, 2, 3]]
        ),
        jitter=torch.tensor([True, True, True, False, True, True]),
        grey=torch.tensor([False, False, True, False, False, True]),
    )
    torch.testing.assert_close(_hue_once(images.clone(), draws), _in_turn(images.clone(), draws))
    together = change_colours(images.clone(), draws)
    for i in range(6):
        alone = change_colours(images[i : i + 1].clone(), draws.of(slice(i, i + 1)))
        torch.testing.assert_close(together[i : i + 1], alone)


def test_hue_turns_as_hsv_has_it_and_back() -> None:
    rng = np.random.default_rng(0)
    colours = torch.tensor(rng.random((3, 3, 50)), dtype=torch.float32)
    turn = torch.tensor([0.1, -0.3, 0.5])
    turned = turn_hue(colours, turn)
    torch.testing.assert_close(turn_hue(turned, -turn), colours, atol=1e-5, rtol=0)
    torch.testing.assert_close(turn_hue(colours, torch.zeros(3)), colours, atol=1e-6, rtol=0)
    for image in range(3):
        for place in range(50):
            h, s, v = colorsys.rgb_to_hsv(*colours[image, :, place].tolist())
            expected = colorsys.hsv_to_rgb((h + float(turn[image])) % 1, s, v)
            assert turned[image, :, place].tolist() == pytest.approx(expected, abs=1e-5)


def test_grey_has_no_hue_to_turn() -> None:
    grey = torch.tensor([0.0, 17.0, 128.0, 255.0]).expand(1, 3, 4)
    assert torch.equal(turn_hue(grey, torch.tensor([0.3])), grey)
