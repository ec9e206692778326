"""Image models of timm by name: the same features as timm's, trained, saved and opened by name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import SOURCE

import likewise
from likewise.cli.main import main
from likewise.encoders.image import ImageEncoder
from likewise.encoders.image_backbones import ImageEncoderConfig
from likewise.encoders.own import own_encoders
from likewise.encoders.timm_network import TimmNetwork
from likewise.errors import ConfigError
from likewise.mechanisms.batch_norm import synchronize_batch_norm
from likewise.training.engine import train


def test_without_timm_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match="timm:resnet18 needs timm, which cannot be imported here"):
        ImageEncoder.build(ImageEncoderConfig(own="timm:resnet18", image_size=32))


def test_a_string_that_is_no_name_of_timm_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"image_encoder is a str; expected .*, or timm:NAME"):
        train(out=tmp_path / "run", method="simclr", data=SOURCE, image_encoder="resnet18")
    with pytest.raises(ConfigError, match=r"--image\.width 32: timm:resnet18 does not read it"):
        train(method="simclr", data=SOURCE, out=tmp_path, image_encoder="timm:resnet18", image__width=32)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, whose weights are random here."""
    library = pytest.importorskip("timm", reason="timm, which needs torchvision, is not installed")
    create = library.create_model
    fresh = lambda name, pretrained, **more: create(name, pretrained=False, **more)  # noqa: E731
    monkeypatch.setattr(library, "create_model", fresh)
    return library


@pytest.mark.parametrize(
    ("name", "size", "places", "width"),
    [
        ("resnet18.a1_in1k", 64, 4, 512),
        ("mobilenetv3_small_050", 64, 1, 1024),  # places of another width: one vector for the image
        ("vit_tiny_patch16_224", 64, 16, 192),
        ("deit_tiny_distilled_patch16_224", 64, 16, 192),
        ("swin_tiny_patch4_window7_224", 224, 49, 768),  # channels last
    ],
)
def test_features_are_those_of_timm(timm: Any, name: str, size: int, places: int, width: int) -> None:
    network = TimmNetwork(name, image_size=size, pretrained=False).eval()
    with own_encoders(image=network):
        encoder = ImageEncoder.build(ImageEncoderConfig(own=f"timm:{name}", image_size=size)).eval()
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = encoder(pixels), network.model(pixels)
    torch.testing.assert_close(found.pooled, expected)  # timm's own forward pass, without its classifier
    assert found.tokens.shape == (2, places, width)
    assert encoder.mean == tuple(network.model.pretrained_cfg["mean"])
    if name.startswith("resnet"):
        torch.testing.assert_close(found.tokens.mean(dim=1), expected)  # it averages the places


def test_it_is_trained_and_opened_by_its_name(timm: Any, tmp_path: Path) -> None:
    options: dict[str, Any] = {"steps": 2, "batch_size": 8, "loggers": (), "precision": "float32"}
    run = train(
        out=tmp_path / "run",
        method="simclr",
        data=SOURCE,
        image_encoder="timm:resnet18",
        show=False,
        **{f"training__{name}": value for name, value in options.items()},
    )
    model = likewise.load(run.path)
    assert model.encode_images(np.zeros((64, 64, 3), np.uint8)).shape == (1, model.dim)
    main(["embed", str(run.path), "--data", SOURCE, "--out", str(tmp_path / "embeddings.parquet")])
    assert (tmp_path / "embeddings.parquet").is_file()


@pytest.mark.parametrize("name", ["no_such_model", "hf-hub:someone/model", "../folder", "resnet18; rm"])
def test_other_names_are_refused(timm: Any, name: str) -> None:
    with pytest.raises(ConfigError, match="timm has no model of this name"):
        TimmNetwork(name, image_size=64)


def test_a_size_that_does_not_fit_is_refused(timm: Any) -> None:
    with pytest.raises(ConfigError, match="timm:vit_tiny_patch16_224 at 8 px: "):
        TimmNetwork("vit_tiny_patch16_224", image_size=8)


def test_a_norm_with_its_activation_is_not_replaced(timm: Any) -> None:
    network = TimmNetwork("mobilenetv3_small_050", image_size=64)
    with pytest.raises(ConfigError, match="BatchNormAct2d does more than normalize"):
        synchronize_batch_norm(network, torch.device("cpu"))
