"""A folder of small photos with a table of captions, for tests of indexes."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (40, 60, 220)}


def photo(number: int) -> Image.Image:
    """A square of one color on noise, 40 x 30; always the same of one number."""
    draws = np.random.default_rng(number)
    pixels = draws.integers(90, 160, (30, 40, 3), dtype=np.uint8)
    left, top = draws.integers(0, 20, 2)
    pixels[top : top + 10, left : left + 14] = list(COLOURS.values())[number % 3]
    return Image.fromarray(pixels)


def write_photos(folder: Path, numbers: range) -> None:
    """PNG files of these numbers, with fixed times of change."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / f"{number:03d}.png"
        photo(number).save(path)
        os.utime(path, (1_000_000 + number, 1_000_000 + number))


def write_table(folder: Path, numbers: range) -> Path:
    """captions.csv beside the photos: caption, label, split, price, place."""
    path = folder / "captions.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "label", "split", "price", "shop"])
        for number in numbers:
            colour = list(COLOURS)[number % 3]
            split = "train" if number % 4 else "validation"
            caption = f"a {colour} square number {number}"
            writer.writerow(
                [f"{number:03d}.png", caption, colour, split, 10 + number / 2, f"shop {number % 2}"]
            )
    return path
