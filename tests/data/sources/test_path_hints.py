"""Tables whose images are not where they say: the reason once, and a remedy that works."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.data import DataConfig, Splits, prepare
from likewise.data.columns import Needs
from likewise.data.source_report import inspect_source
from likewise.errors import TooManyBadRecords


def write_photos(folder: Path, ending: str = ".png") -> None:
    folder.mkdir(parents=True)
    for number in range(12):
        pixels = np.full((16, 16, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(folder / f"photo {number}{ending}", "PNG")


def write_table(path: Path, template: str) -> DataConfig:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(f"{template.format(number)},a photo\n" for number in range(12))
    path.write_text(f"image,caption\n{rows}")
    return DataConfig(source=str(path), cache_dir=str(path.parent / "cache"))


def prepared(config: DataConfig) -> Splits:
    return prepare(config, image_size=16, needs=Needs("image", "text"))


def refusal(config: DataConfig) -> str:
    """The message; it names the reason once, with the number of records."""
    with pytest.raises(TooManyBadRecords, match=r"12 of 12 records \(100\.0%\)") as refused:
        prepared(config)
    lines = str(refused.value).split("\n")
    assert "(and 11 more)" in lines[1]
    assert all(line.startswith("Try: ") for line in lines[2:])
    return "\n".join(lines[2:])


def followed(config: DataConfig, said: str) -> DataConfig:
    """The options with those that the message advises."""
    options: dict[str, Any] = {}
    if found := re.search(r"--data\.image-root (.*)", said):
        options["image_root"] = shlex.split(found[1])[0]
    if "--data.follow-links" in said:
        options["follow_links"] = True
    assert options
    return dataclasses.replace(config, **options)


@pytest.mark.parametrize(
    "template",
    [
        "C:\\Users\\me\\pets\\my images\\photo {}.png",
        "/old/place/pets/my images/photo {}.png",
        "photo {}.png",
    ],
)
def test_images_that_lie_elsewhere(template: str, tmp_path: Path) -> None:
    write_photos(tmp_path / "pets" / "my images")
    config = write_table(tmp_path / "pets" / "tables" / "t.csv", template)
    assert len(prepared(followed(config, refusal(config))).train) > 0


def test_moved_data_stays_below_one_root(tmp_path: Path) -> None:
    write_photos(tmp_path / "images")
    config = write_table(tmp_path / "t.csv", "/old/images/photo {}.png")
    with (tmp_path / "t.csv").open("a") as file:
        file.write("/other/images/photo 3.png,another\n/old/images/../../secret.png,no\n")
    moved = dataclasses.replace(config, image_root=str(tmp_path / "images"), max_bad_share=0.5)
    splits = prepared(moved)
    assert len(splits.bad_records) == 2
    assert all(bad.reason.startswith("the path leads outside") for bad in splits.bad_records)


def test_endings_that_are_missing_or_others_on_disk(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", ".JPG")
    for template in ("photo {}", "photo {}.png"):
        config = write_table(tmp_path / "t.csv", template)
        said = refusal(config)
        assert f"there is no {template.format(0)}, but photo 0.JPG: correct the endings in the table" in said
        assert followed(config, said).image_root == str(tmp_path / "photos")
    write_table(tmp_path / "t.csv", "photos/photo {}.JPG")
    assert len(prepared(config).bad_records) == 0


def test_images_behind_a_link(tmp_path: Path) -> None:
    write_photos(tmp_path / "far")
    config = write_table(tmp_path / "d" / "t.csv", "images/photo {}.png")
    (tmp_path / "d" / "images").symlink_to(tmp_path / "far")
    said = refusal(config)
    assert said.startswith("Try: --data.follow-links reads images through links")
    assert len(prepared(followed(config, said)).bad_records) == 0


def test_images_that_are_nowhere(tmp_path: Path) -> None:
    config = write_table(tmp_path / "t.csv", "/old/photo {}.png")
    assert refusal(config) == "Try: --data.image-root FOLDER names where the images lie, if it is not /old"
    report = inspect_source(config)
    assert "try: --data.image-root FOLDER names where the images lie, if it is not /old" in report.notes
