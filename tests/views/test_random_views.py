from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.batches.batch import Batch
from likewise.errors import ConfigError
from likewise.methods.base import Step, make_views
from likewise.step_random import StepRandom
from likewise.views import PRESETS, ViewConfig, center_view, random_view, view_preset

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
NONE = PRESETS["none"]


def _images(count: int = 8, side: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((count, 3, 6, 6), generator=generator)
    return (torch.nn.functional.interpolate(coarse, size=(side, side)) * 255).to(torch.uint8)


def _view(
    images: torch.Tensor, config: ViewConfig, index: torch.Tensor | None = None, **options: object
) -> torch.Tensor:
    index = torch.arange(len(images)) if index is None else index
    settings = {"size": 32, "draw": StepRandom(0, 0), "view": 0, **PLAIN, **options}
    return random_view(images, config=config, index=index, **settings)


@pytest.mark.parametrize("rotation", [0.0, 20.0])
def test_a_view_depends_on_seed_step_index_and_number_alone(rotation: float) -> None:
    images = _images()
    config = ViewConfig(rotation_degrees=rotation, solarize=0.3, randaugment=2)
    whole = _view(images, config)
    order = torch.tensor([5, 2, 7])
    torch.testing.assert_close(_view(images[order], config, order), whole[order], atol=1e-5, rtol=0)
    assert torch.equal(_view(images, config), whole)
    for other in (
        {"draw": StepRandom(1, 0)},
        {"draw": StepRandom(0, 1)},
        {"view": 1},
        {"index": torch.arange(8) + 8},
    ):
        changed = (_view(images, config, **other) - whole).abs().flatten(1).max(dim=1).values
        assert changed.min() > 0.01


def test_an_image_that_comes_again_has_other_views() -> None:
    encoder: Any = SimpleNamespace(image_size=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    index = torch.tensor([5, 2, 5, 5, 7])
    batch = Batch(index=index, image=_images()[index], occurrence=torch.tensor([0, 0, 1, 2, 0]))
    views = make_views(batch, Step(StepRandom(0, 3)), encoder, PRESETS["simclr"])  # two of each
    once = make_views(batch.rows(0, 2), Step(StepRandom(0, 3)), encoder, PRESETS["simclr"])
    without = make_views(
        Batch(index=index, **batch.columns), Step(StepRandom(0, 3)), encoder, PRESETS["simclr"]
    )
    firsts = torch.tensor([0, 1, 4])
    assert torch.equal(views.view(2, 5, -1)[:, firsts], without.view(2, 5, -1)[:, firsts])
    assert torch.equal(views.view(2, 5, -1)[:, :2], once.view(2, 2, -1))
    assert len({view.numpy().tobytes() for view in views}) == 10
    single = [batch.rows(start, start + 1) for start in range(5)]
    pieces = [make_views(one, Step(StepRandom(0, 3)), encoder, PRESETS["simclr"]) for one in single]
    assert torch.equal(torch.stack(pieces, dim=1).flatten(0, 1), views)


def test_large_batches_are_the_same_piece_by_piece() -> None:
    images = _images(2, side=40).repeat(200, 1, 1, 1)  # more than are worked on at once
    whole = _view(images, ViewConfig())
    last = torch.arange(390, 400)
    torch.testing.assert_close(_view(images[last], ViewConfig(), last), whole[last], atol=1e-5, rtol=0)


def test_the_none_preset_is_pillows_shrinking() -> None:
    images = _images(3, side=40)
    views = _view(images, NONE)
    for image, view in zip(images, views, strict=True):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        expected = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert np.abs(expected / 255 - view.numpy()).max() <= 1 / 255
    torch.testing.assert_close(center_view(images, size=32, **PLAIN), views, atol=1e-5, rtol=0)


def test_flips_happen_as_often_as_asked_and_only_mirror() -> None:
    images = _images(1).repeat(2000, 1, 1, 1)
    views = _view(images, replace(NONE, flip=0.3))
    straight = center_view(images[:1], size=32, **PLAIN)
    flipped = (views - straight).abs().flatten(1).max(dim=1).values > 1e-4
    assert abs(float(flipped.float().mean()) - 0.3) < 0.04
    torch.testing.assert_close(views[flipped], straight.flip(3).expand_as(views[flipped]), atol=1e-5, rtol=0)


def test_grey_happens_as_often_as_asked() -> None:
    views = _view(_images(1).repeat(2000, 1, 1, 1), replace(NONE, grey=0.2))
    grey = (views[:, 0] - views[:, 2]).abs().flatten(1).max(dim=1).values < 1e-4
    assert abs(float(grey.float().mean()) - 0.2) < 0.035


def test_blur_equals_blurring_the_view() -> None:
    images = _images()
    sharp = _view(images, NONE)
    blurred = _view(images, replace(NONE, blur=1.0, blur_sigma=(1.5, 1.5)))
    reach = torch.arange(-8, 9)
    kernel = torch.exp(-0.5 * (reach / 1.5) ** 2)
    kernel = kernel / kernel.sum()
    padded = torch.nn.functional.pad(sharp, (8, 8, 8, 8), mode="reflect").reshape(-1, 1, 48, 48)
    expected = torch.nn.functional.conv2d(padded, kernel[None, None, None])
    expected = torch.nn.functional.conv2d(expected, kernel[None, None, :, None]).view(-1, 3, 32, 32)
    torch.testing.assert_close(blurred, expected, atol=1e-4, rtol=0)
    sometimes = _view(images[:1].repeat(500, 1, 1, 1), replace(NONE, blur=0.5, blur_sigma=(1.5, 1.5)))
    share = ((sometimes - sharp[:1]).abs().flatten(1).max(dim=1).values > 1e-3).float().mean()
    assert abs(float(share) - 0.5) < 0.08


def test_solarizing_inverts_what_is_bright() -> None:
    views = _view(_images(), replace(NONE, solarize=1.0))
    plain = _view(_images(), NONE)
    torch.testing.assert_close(views, torch.where(plain >= 128 / 255, 1 - plain, plain), atol=1e-5, rtol=0)


def test_a_caption_that_names_a_side_or_a_colour_is_respected() -> None:
    images = _images()
    index = torch.arange(8)
    kept = torch.arange(8) < 4
    always = replace(NONE, flip=1.0, caption_safe=True)
    straight = _view(images, NONE)
    views = _view(images, always, keep_sides=kept)
    torch.testing.assert_close(views[:4], straight[:4], atol=1e-5, rtol=0)
    torch.testing.assert_close(views[4:], straight[4:].flip(3), atol=1e-5, rtol=0)
    tinted = replace(NONE, jitter=1.0, hue=0.5, grey=0.5, caption_safe=True)
    views = _view(images, tinted, index, keep_colours=kept)
    torch.testing.assert_close(views[:4], straight[:4], atol=1e-5, rtol=0)
    assert (views[4:] - straight[4:]).abs().flatten(1).max(dim=1).values.min() > 0.01
    ignoring = _view(images, replace(always, caption_safe=False), keep_sides=kept)
    torch.testing.assert_close(ignoring, straight.flip(3), atol=1e-5, rtol=0)


def test_a_caption_that_names_a_colour_keeps_its_picture_from_solarizing() -> None:
    images, kept = _images(), torch.arange(8) < 4
    always = replace(NONE, solarize=1.0, caption_safe=True)
    views = _view(images, always, keep_colours=kept)
    torch.testing.assert_close(views[:4], _view(images, NONE)[:4], atol=1e-5, rtol=0)
    ignoring = _view(images, replace(always, caption_safe=False), keep_colours=kept)
    torch.testing.assert_close(views[4:], ignoring[4:], atol=0, rtol=0)
    assert (views[:4] - ignoring[:4]).abs().flatten(1).max(dim=1).values.min() > 0.1
    # Red stays red: it would have become a colour that is nearly black.
    red = torch.tensor([230, 20, 20], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 40, 40)
    kept_red = _view(red, always, keep_colours=torch.tensor([True]))[0, :, 16, 16]
    torch.testing.assert_close(kept_red * 255, torch.tensor([230.0, 20, 20]), atol=1e-2, rtol=0)


def test_a_caption_that_names_a_side_keeps_left_left_of_right_under_rotation() -> None:
    # White on the left of a black picture.
    image = torch.zeros(1, 3, 40, 40, dtype=torch.uint8)
    image[:, :, 14:26, 2:14] = 255
    images, kept = image.expand(400, 3, 40, 40), torch.arange(400) < 200
    places = torch.linspace(-1, 1, 32)

    def middles(config: ViewConfig, **options: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(400,) how far right and how far down the white lies."""
        light = _view(images, config, **options)[:, 0]  # (400, S, S)
        mass = light.sum(dim=(1, 2))
        return (light.sum(dim=1) @ places) / mass, (light.sum(dim=2) @ places) / mass

    safe = replace(NONE, rotation_degrees=180.0, caption_safe=True)
    right, down = middles(safe, keep_sides=kept)
    assert (right[:200] < 0).all()
    assert (right[:200] <= -down[:200].abs() + 0.05).all()  # more left than above or below
    assert down[:200].abs().max() > 0.3  # and turned all the same
    as_drawn = _view(images, replace(safe, caption_safe=False))
    assert torch.equal(_view(images, safe, keep_sides=kept)[200:], as_drawn[200:])
    assert (right[200:] > 0.3).any()
    # Below the bound nothing is held back.
    mild = replace(safe, rotation_degrees=30.0)
    assert torch.equal(_view(images, mild, keep_sides=kept), _view(images, replace(mild, caption_safe=False)))


def test_strong_jitter_stays_in_range_and_normalises() -> None:
    config = ViewConfig(brightness=1.0, contrast=1.0, saturation=1.0, hue=0.5, jitter=1.0)
    views = _view(_images(64), config)
    assert views.min() >= 0
    assert views.max() <= 1
    scaled = _view(_images(64), config, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    mean, std = torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1), torch.tensor([0.2, 0.3, 0.4]).view(3, 1, 1)
    torch.testing.assert_close(scaled, (views - mean) / std, atol=1e-5, rtol=1e-5)


def test_images_of_one_grey_stay_it_under_a_turn_of_hue() -> None:
    grey = torch.full((4, 3, 16, 16), 100, dtype=torch.uint8)
    views = _view(grey, replace(NONE, jitter=1.0, hue=0.5, saturation=0.9), size=16)
    torch.testing.assert_close(views, torch.full_like(views, 100 / 255), atol=1e-5, rtol=0)


def test_a_dtype_is_kept_and_an_empty_batch_gives_none() -> None:
    assert _view(_images(), ViewConfig(), dtype=torch.bfloat16).dtype == torch.bfloat16
    assert _view(_images()[:0], ViewConfig()).shape == (0, 3, 32, 32)
    assert center_view(_images()[:0], size=32, **PLAIN).shape == (0, 3, 32, 32)


def test_views_are_the_same_under_autocast() -> None:
    images = _images()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        views, center = _view(images, ViewConfig()), center_view(images, size=32, **PLAIN)
    assert torch.equal(views, _view(images, ViewConfig()))
    assert torch.equal(center, center_view(images, size=32, **PLAIN))


def test_wrong_images_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="uint8"):
        _view(_images().float(), NONE)
    with pytest.raises(ValueError, match="square"):
        _view(_images()[:, :, :30], NONE)
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\)"):
        _view(_images()[:, :1], NONE)
    with pytest.raises(ValueError, match="index"):
        _view(_images(), NONE, torch.arange(3))
    with pytest.raises(ValueError, match="uint8"):
        center_view(_images().float(), size=32, **PLAIN)


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.5},
        {"blur": -0.1},
        {"hue": 0.6},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.9, 0.1)},
        {"crop_scale": (0.5, 1.2)},
        {"blur_sigma": (0.0, 1.0)},
        {"brightness": float("nan")},
        {"rotation_degrees": 200.0},
        {"randaugment": -1},
        {"magnitude": 11.0},
        {"magnitude": 5.0, "randaugment": 0},
        {"blur_sigma": (0.1, 1.0), "blur": 0.0},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=rf"views\.{next(iter(wrong))}"):
        ViewConfig(**wrong)


def test_presets_are_found_by_name() -> None:
    assert view_preset("clip").caption_safe
    assert not view_preset("simclr").caption_safe
    with pytest.raises(ConfigError, match="simclr-small"):
        view_preset("simcrl")
