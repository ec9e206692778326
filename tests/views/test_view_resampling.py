import numpy as np
import pytest
import torch
from PIL import Image

from likewise.views.resample import (
    draw_boxes,
    gaussian_weights,
    resample,
    resample_rotated,
    triangle_weights,
)


def _noise(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)


def _pillow(image: torch.Tensor, box: torch.Tensor, size: int, flip: bool) -> np.ndarray:
    left, top, wide, tall = box.tolist()
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    picture = picture.resize(
        (size, size), Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall)
    )
    if flip:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(picture).transpose(2, 0, 1).astype(np.float64)


@pytest.mark.parametrize(("side", "size"), [(80, 64), (40, 32), (224, 64), (32, 48), (64, 64)])
def test_crop_and_flip_are_pillows_resize_of_a_box(side: int, size: int) -> None:
    images = _noise(6, side, side)
    boxes = torch.tensor([[0, 0, 1, 1], [0.1, 0.2, 0.5, 0.7], [0.5, 0.5, 0.5, 0.5]]).repeat(2, 1) * side
    flip = torch.tensor([False, True] * 3)
    columns = triangle_weights(boxes[:, 0], boxes[:, 2], source=side, size=size, reverse=flip)
    rows = triangle_weights(boxes[:, 1], boxes[:, 3], source=side, size=size)
    views = resample(images, rows, columns).view(6, 3, size, size).round()
    for image, box, turned, view in zip(images, boxes, flip, views, strict=True):
        expected = _pillow(image, box, size, bool(turned))
        assert np.abs(expected - view.numpy()).max() <= 1


def test_images_that_are_not_square_resample_too() -> None:
    images = _noise(1, 40, 60)
    box = torch.tensor([[3.0, 5.0, 50.0, 30.0]])
    columns = triangle_weights(box[:, 0], box[:, 2], source=60, size=24)
    rows = triangle_weights(box[:, 1], box[:, 3], source=40, size=24)
    view = resample(images, rows, columns).view(3, 24, 24).round()
    assert np.abs(_pillow(images[0], box[0], 24, False) - view.numpy()).max() <= 1


def test_a_shrunk_checkerboard_is_its_mean() -> None:
    # A filter that samples instead of averaging would see one colour of the board.
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    images = board.to(torch.uint8).expand(1, 3, 64, 64)
    whole = torch.tensor([64.0])
    weights = triangle_weights(torch.zeros(1), whole, source=64, size=16)
    inner = resample(images, weights, weights).view(3, 16, 16)[:, 1:-1, 1:-1]
    assert (inner - 127.5).abs().max() < 1


def test_gaussian_weights_are_a_naive_mirrored_convolution() -> None:
    size, sigma = 9, 1.3
    signal = np.random.default_rng(0).normal(size=size)
    expected = np.zeros(size)
    for i in range(size):
        total = 0.0
        for offset in range(-(size - 1), size):
            j = abs(i + offset)
            j = 2 * (size - 1) - j if j >= size else j
            if i + offset <= -size or i + offset > 2 * (size - 1):
                continue
            weight = np.exp(-0.5 * (offset / sigma) ** 2)
            expected[i] += weight * signal[j]
            total += weight
        expected[i] /= total
    weights = gaussian_weights(torch.tensor([sigma]), size)[0]
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(size))
    torch.testing.assert_close(
        weights @ torch.tensor(signal).float(), torch.tensor(expected).float(), atol=1e-4, rtol=0
    )


def test_a_vanishing_gaussian_is_the_identity() -> None:
    assert torch.equal(gaussian_weights(torch.tensor([1e-3]), 16)[0], torch.eye(16))


def test_boxes_lie_inside_and_have_the_asked_area_and_ratio() -> None:
    uniform = torch.rand(4000, 22, generator=torch.Generator().manual_seed(0))
    boxes = draw_boxes(uniform, scale=(0.2, 1.0), ratio=(3 / 4, 4 / 3), height=80, width=80)
    left, top, wide, tall = boxes.T
    assert left.min() >= 0
    assert top.min() >= 0
    assert (left + wide).max() <= 80.001
    assert (top + tall).max() <= 80.001
    share, ratio = wide * tall / 6400, wide / tall
    assert share.min() >= 0.1999
    assert ratio.min() >= 0.7499
    assert ratio.max() <= 1.3334
    assert abs(float(share.mean()) - 0.545) < 0.02  # under 0.6: large crops of odd ratio do not fit
    assert abs(float(torch.log(ratio).mean())) < 0.01


def test_boxes_when_nothing_fits_are_the_largest_allowed() -> None:
    uniform = torch.rand(5, 22, generator=torch.Generator().manual_seed(0))
    boxes = draw_boxes(uniform, scale=(1.0, 1.0), ratio=(2.0, 2.0), height=10, width=10)
    torch.testing.assert_close(boxes, torch.tensor([0.0, 2.5, 10.0, 5.0]).expand(5, 4))


def test_rotation_by_nothing_is_the_plain_crop_and_by_a_right_angle_turns() -> None:
    smooth = torch.nn.functional.interpolate(_noise(1, 5, 5).float(), size=(64, 64), mode="bilinear")
    images = smooth.round().to(torch.uint8)
    whole = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    still = resample_rotated(images, whole, torch.tensor([False]), torch.zeros(1), 32).view(3, 32, 32)
    weights = triangle_weights(whole[:, 0], whole[:, 2], source=64, size=32)
    plain = resample(images, weights, weights).view(3, 32, 32)
    assert (still - plain)[:, 2:-2, 2:-2].abs().max() < 6  # an average of samples against a triangle
    turned = resample_rotated(images, whole, torch.tensor([False]), torch.tensor([torch.pi / 2]), 32).view(
        3, 32, 32
    )
    assert (turned - torch.rot90(still, 1, (1, 2))).abs().max() < 0.1
    flipped = resample_rotated(images, whole, torch.tensor([True]), torch.zeros(1), 32).view(3, 32, 32)
    assert (flipped - still.flip(2)).abs().max() < 0.1
