"""Grey images are noted, by `likewise data` and by a training that compares color."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.data import DataConfig
from likewise.data.images.grey import is_grey
from likewise.data.source_report import inspect_source
from likewise.runs.folder import RunFolder
from likewise.training.distributed import launch
from likewise.training.setup import prepare_data
from tests.support.small_runs import small_settings

NOTE = "12 of 12 images looked at are grey; multiview compares color and learns little here"


def write_images(folder: Path, *, grey: bool) -> DataConfig:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(12):
        pixels = random.integers(0, 256, (24, 24) if grey else (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert("RGB").save(folder / f"{number}.jpg", quality=80)
    return DataConfig(source=str(folder), cache_dir=str(folder.parent / "cache"))


def test_images_whose_channels_are_nearly_equal_are_grey() -> None:
    images = torch.tensor([[200, 200, 200], [200, 201, 199], [200, 180, 200]], dtype=torch.uint8)
    assert is_grey(images[:, :, None, None].expand(-1, -1, 4, 4)).tolist() == [True, False, False]


@pytest.mark.parametrize("grey", [True, False])
def test_grey_images_are_noted(grey: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_images(tmp_path / "images", grey=grey)
    assert (NOTE in inspect_source(config).notes) == grey
    for method in ("multiview", "simclr"):
        settings = dataclasses.replace(small_settings(method), data=config)
        prepare_data(settings, RunFolder(tmp_path / method), launch(settings.training), show=True)
        noted = f"note: {NOTE.replace('12', '11')}" in capsys.readouterr().err
        assert noted == (grey and method == "multiview")
