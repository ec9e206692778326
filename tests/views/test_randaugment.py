"""RandAugment against Pillow's operations, which the published code says it equals."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from likewise.step_random import StepRandom
from likewise.views import PRESETS, random_view, selection, view_preset
from likewise.views.randaugment import OPERATIONS, Operations, draw_operations, randaugment

SIZE = 32
SHARE = 0.7  # magnitude 7
INNER = slice(8, -8)  # what no shift or turn of a picture of 32 px brings in from the outside


def _pixels(count: int = 4) -> torch.Tensor:
    """(count, 3, SIZE * SIZE) whole numbers of a dull picture."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 3, 6, 6), generator=generator) * 150 + 40
    smooth = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bilinear")
    return (smooth + torch.rand(smooth.shape, generator=generator) * 20).round().flatten(2)


def _drawn(name: str, count: int = 4, sign: float = 1.0) -> Operations:
    kinds = torch.full((count, 1), OPERATIONS.index(name))
    return Operations(kinds, torch.full((count, 1), sign))


def _done(name: str, pixels: torch.Tensor, sign: float = 1.0, magnitude: float = 7.0) -> torch.Tensor:
    done = randaugment(pixels.clone(), _drawn(name, len(pixels), sign), magnitude=magnitude, size=SIZE)
    return done.view(-1, 3, SIZE, SIZE)


def _pictures(pixels: torch.Tensor) -> list[Image.Image]:
    rows = pixels.view(-1, 3, SIZE, SIZE).permute(0, 2, 3, 1).to(torch.uint8).numpy()
    return [Image.fromarray(row) for row in rows]


def _as_tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(picture, np.float32).copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    ("name", "pillow"),
    [
        ("autocontrast", ImageOps.autocontrast),
        ("equalize", ImageOps.equalize),
        ("brightness", lambda picture: ImageEnhance.Brightness(picture).enhance(0.1 + 1.8 * SHARE)),
        ("sharpness", lambda picture: ImageEnhance.Sharpness(picture).enhance(0.1 + 1.8 * SHARE)),
    ],
)
def test_tones_are_pillows(name: str, pillow) -> None:
    pixels = _pixels()
    for picture, done in zip(_pictures(pixels), _done(name, pixels), strict=True):
        expected = _as_tensor(pillow(picture))
        assert (expected - _as_tensor(picture)).abs().max() > 3  # it does something
        # Pillow rounds at the end, and what it smoothed before it goes away from that.
        assert (done - expected).abs().max() <= 1.4


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"])
def test_moves_are_pillows(name: str, sign: float) -> None:
    pixels = _pixels()
    shear, shift = sign * 0.3 * SHARE, sign * SHARE * 10 / 256 * SIZE
    # From places in the result to places in the picture; Pillow counts from a pixel's corner.
    maps = {
        "shear_x": (1, -shear, 0.5 * shear, 0, 1, 0),
        "shear_y": (1, 0, 0, -shear, 1, 0.5 * shear),
        "translate_x": (1, 0, shift, 0, 1, 0),
        "translate_y": (1, 0, 0, 0, 1, shift),
    }
    for picture, done in zip(_pictures(pixels), _done(name, pixels, sign), strict=True):
        if name == "rotate":
            moved = picture.rotate(sign * 30 * SHARE, Image.Resampling.BILINEAR)
        else:
            moved = picture.transform(
                picture.size, Image.Transform.AFFINE, maps[name], Image.Resampling.BILINEAR
            )
        expected = _as_tensor(moved)
        assert (expected - _as_tensor(picture))[:, INNER, INNER].abs().max() > 3
        assert (done - expected)[:, INNER, INNER].abs().max() <= 1.01


def test_what_comes_from_outside_is_grey() -> None:
    white = torch.full((1, 3, SIZE * SIZE), 255.0)
    moved = _done("translate_x", white, sign=1.0, magnitude=10.0)
    torch.testing.assert_close(moved[..., -1:], torch.full((1, 3, SIZE, 1), 128.0), atol=0.5, rtol=0)
    torch.testing.assert_close(moved[..., :-3], torch.full((1, 3, SIZE, SIZE - 3), 255.0), atol=0.5, rtol=0)
    corners = _done("rotate", white)[..., 0, 0]
    torch.testing.assert_close(corners, torch.full((1, 3), 128.0), atol=0.5, rtol=0)


@pytest.mark.parametrize("name", ["autocontrast", "equalize", "sharpness", "identity"])
def test_pictures_of_one_colour_stay(name: str) -> None:
    # Not whole numbers, with the noise of float arithmetic: it is not stretched to the whole range.
    flat = torch.tensor([10.3, 120.0, 254.9])[None, :, None].expand(2, 3, SIZE * SIZE)
    noisy = flat + 1e-4 * torch.rand(flat.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(_done(name, noisy), noisy.view(2, 3, SIZE, SIZE), atol=1e-2, rtol=0)


def test_operations_are_drawn_evenly_and_half_of_them_done() -> None:
    uniform = StepRandom(0, 0).uniform(torch.arange(20_000), 6, purpose="test")
    drawn = draw_operations(uniform, None)
    shares = torch.stack([(drawn.kinds == kind).float().mean(0) for kind in range(len(OPERATIONS))])
    torch.testing.assert_close(shares[1:], torch.full((9, 2), 0.05), atol=0.008, rtol=0)
    torch.testing.assert_close(shares[0], torch.full((2,), 0.55), atol=0.02, rtol=0)
    assert abs(float(drawn.signs.mean())) < 0.02
    both = ((drawn.kinds[:, 0] == 5) & (drawn.kinds[:, 1] == 5)).float().mean()
    assert abs(float(both) - 0.05**2) < 0.0015  # one does not foretell the other


def test_operations_come_one_after_the_other_each_to_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = _pixels(3)
    kinds = torch.tensor(
        [
            [OPERATIONS.index(name) for name in names]
            for names in (("rotate", "equalize"), ("equalize", "rotate"))
        ]
        + [[0, 0]]
    )
    signs = torch.ones(3, 2)
    done = randaugment(pixels.clone(), Operations(kinds, signs), magnitude=7.0, size=SIZE)
    once = {name: _done(name, pixels).flatten(2) for name in ("rotate", "equalize")}
    torch.testing.assert_close(done[0], _done("equalize", once["rotate"])[0].flatten(1), atol=1e-3, rtol=0)
    torch.testing.assert_close(done[1], _done("rotate", once["equalize"])[1].flatten(1), atol=1e-3, rtol=0)
    assert torch.equal(done[2], pixels[2])
    # As on a device, which does all and chooses.
    monkeypatch.setattr(selection, "_apply_to_selected", selection._apply_to_all)
    whole = randaugment(pixels.clone(), Operations(kinds, signs), magnitude=7.0, size=SIZE)
    torch.testing.assert_close(whole, done, atol=1e-3, rtol=0)


def test_it_is_the_last_of_a_view_and_changes_nothing_before() -> None:
    images = _pixels(64).view(64, 3, SIZE, SIZE).to(torch.uint8)
    shared = {"size": SIZE, "draw": StepRandom(0, 0), "view": 0, "index": torch.arange(64)}
    shared |= {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    without = random_view(images, config=replace(view_preset("tcl"), randaugment=0), **shared)
    with_it = random_view(images, config=view_preset("tcl"), **shared)
    uniform = StepRandom(0, 0).uniform(torch.arange(64), 37 + 6, purpose="view 0")
    expected = randaugment(
        without.flatten(2) * 255, draw_operations(uniform[:, 37:], None), magnitude=7.0, size=SIZE
    )
    torch.testing.assert_close(with_it.flatten(2) * 255, expected, atol=1e-2, rtol=0)
    assert 0.3 < float(((with_it - without).abs().amax((1, 2, 3)) > 0.01).float().mean()) < 0.8


def test_captions_that_name_a_colour_keep_channels_together() -> None:
    # Red and dark: stretched by channels it would be white.
    red = torch.full((400, 3, SIZE, SIZE), 20, dtype=torch.uint8)
    red[:, 0, 8:] = 200
    red[:, 1:, 16:] = 40
    config = replace(PRESETS["none"], randaugment=2, magnitude=10.0, caption_safe=True)
    kept = torch.arange(400) < 200
    views = random_view(
        red,
        size=SIZE,
        config=config,
        draw=StepRandom(0, 0),
        index=torch.arange(400),
        view=0,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        keep_colours=kept,
    )
    middle = views[:, :, 24, 16]
    assert (middle[kept, 0] > 3 * middle[kept, 1]).all()
    assert not (middle[~kept, 0] > 3 * middle[~kept, 1]).all()
    assert math.isfinite(float(views.sum()))
