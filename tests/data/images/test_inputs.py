"""Images as callers have them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.data.images.inputs import square_images
from likewise.errors import DataError


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)


def truncated() -> Image.Image:
    """Opened by its header alone, as Pillow does."""
    stream = io.BytesIO()
    Image.fromarray(noise()).save(stream, "PNG")
    return Image.open(io.BytesIO(stream.getvalue()[:2000]))


def closed() -> Image.Image:
    image = Image.new("RGB", (4, 4))
    image.close()
    return image


UNREADABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "truncated": (truncated, "image 7: truncated"),
    "closed": (closed, "image 7: damaged"),
    "zero byte": (lambda: "images/\x00.png", "is no path"),
    "half a sign": (lambda: Path("\ud83d.png"), "is no path"),
    "no file": (lambda: "nowhere.png", r"nowhere\.png: cannot be read"),
    "no side": (lambda: np.zeros((0, 5, 3), np.uint8), "image 7: 5 x 0 pixels"),
    "bfloat16": (lambda: torch.zeros(3, 4, 4, dtype=torch.bfloat16), "has dtype torch.bfloat16"),
    "float": (lambda: np.zeros((4, 4, 3)), "has dtype float64"),
    "number": (lambda: 3, "is a int"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_what_cannot_be_read_is_named(case: str) -> None:
    make, message = UNREADABLE[case]
    with pytest.raises(DataError, match=message):
        square_images([make()], size=8, fit="crop", first=7)


def test_every_form_gives_the_same_square(tmp_path: Path) -> None:
    pixels = noise()
    Image.fromarray(pixels).save(tmp_path / "a.png")
    forms = [
        tmp_path / "a.png",
        (tmp_path / "a.png").read_bytes(),
        bytearray((tmp_path / "a.png").read_bytes()),
        memoryview((tmp_path / "a.png").read_bytes()),
        np.str_(tmp_path / "a.png"),
        Image.open(tmp_path / "a.png"),
        pixels,
        torch.from_numpy(pixels).permute(2, 0, 1),
    ]
    squares = square_images(forms, size=20, fit="crop")
    assert squares.shape == (8, 3, 20, 20)
    assert all(torch.equal(square, squares[0]) for square in squares)


@pytest.mark.parametrize("mode", ["LA", "La", "RGBA", "RGBa"])
def test_what_is_transparent_lies_on_white(mode: str) -> None:
    clear = Image.new("LA" if mode.startswith("L") else "RGBA", (8, 8), 0).convert(mode)
    assert square_images([clear], size=4, fit="crop").unique().tolist() == [255]
