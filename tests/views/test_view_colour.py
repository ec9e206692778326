import colorsys
import math
from itertools import permutations

import numpy as np
import torch

from likewise.views.colour import GREY, colour_maps, hue_matrices


def _naive(image: np.ndarray, factors: list[float], turn: float, order: list[int], grey: bool) -> np.ndarray:
    """torchvision's definitions of the operations, pixel by pixel, without their clamping; (3, n) float64."""
    pixels = [list(pixel) for pixel in image.T]
    rotation = hue_matrices(torch.tensor([turn]))[0].double().numpy()

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
            pixels = [list(rotation @ np.array(pixel)) for pixel in pixels]
    if grey:
        pixels = [[luma(pixel)] * 3 for pixel in pixels]
    return np.array(pixels).T


def _map(image: np.ndarray, **drawn: torch.Tensor) -> np.ndarray:
    matrix, pull = colour_maps(**drawn)
    colours = torch.tensor(image, dtype=torch.float32)
    return (matrix @ colours + pull @ colours.mean(dim=1, keepdim=True)).double().numpy()


def test_every_order_equals_the_operations_one_by_one() -> None:
    rng = np.random.default_rng(0)
    orders = [list(order) for order in permutations(range(4))]
    B = 2 * len(orders)
    image = rng.random((3, 20))
    factors = torch.tensor(rng.uniform(0.5, 1.5, (B, 3)), dtype=torch.float32)
    turn = torch.tensor(rng.uniform(-0.5, 0.5, B), dtype=torch.float32)
    order = torch.tensor(orders * 2)
    grey = torch.arange(B) >= len(orders)
    got = _map(
        image, factors=factors, turn=turn, order=order, jitter=torch.ones(B, dtype=torch.bool), grey=grey
    )
    for i in range(B):
        expected = _naive(image, factors[i].tolist(), float(turn[i]), order[i].tolist(), bool(grey[i]))
        np.testing.assert_allclose(got[i], expected, atol=2e-6)


def test_without_jitter_nothing_changes_but_grey() -> None:
    image = np.random.default_rng(0).random((3, 10))
    drawn = {
        "factors": torch.full((2, 3), 1.4),
        "turn": torch.tensor([0.1, 0.1]),
        "order": torch.tensor([[0, 1, 2, 3]] * 2),
        "jitter": torch.tensor([False, False]),
        "grey": torch.tensor([False, True]),
    }
    got = _map(image, **drawn)
    np.testing.assert_allclose(got[0], image, atol=1e-6)
    np.testing.assert_allclose(got[1], np.tile(np.array(GREY) @ image, (3, 1)), atol=1e-6)


def test_hue_keeps_grey_and_luma_and_turns_back() -> None:
    turn = torch.tensor([0.0, 0.1, -0.3, 0.5])
    matrices = hue_matrices(turn)
    torch.testing.assert_close(matrices[0], torch.eye(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(matrices @ torch.ones(3), torch.ones(4, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        torch.tensor(GREY) @ matrices, torch.tensor(GREY).expand(4, 3), atol=1e-6, rtol=0
    )
    torch.testing.assert_close(
        matrices @ hue_matrices(-turn), torch.eye(3).expand(4, 3, 3), atol=1e-5, rtol=0
    )


def test_hue_turns_the_way_hsv_does() -> None:
    # YIQ is not HSV, but a turn of 0.1 must go from red towards yellow and land near.
    for colour in [(0.7, 0.3, 0.3), (0.3, 0.6, 0.3), (0.3, 0.4, 0.7)]:
        before = colorsys.rgb_to_hsv(*colour)[0]
        turned = hue_matrices(torch.tensor([0.1]))[0] @ torch.tensor(colour)
        after = colorsys.rgb_to_hsv(*turned.tolist())[0]
        gone = (after - before + 0.5) % 1 - 0.5
        assert math.isclose(gone, 0.1, abs_tol=0.06)
