"""Networks of the user's own as encoders: trained, saved, opened again, refused where none is at hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import SOURCE, small_settings
from torch import Tensor, nn

import likewise
from likewise.cli.main import main
from likewise.errors import AbilityError, ConfigError, ModelError
from likewise.training.engine import train


class Pixels(nn.Module):
    dim, image_size = 12, 24
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, self.dim)
        )

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)  # type: ignore[no-any-return]


class Words(nn.Module):
    dim, vocabulary_size, max_tokens = 10, 300, 77

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(self.vocabulary_size, self.dim)

    def forward(self, tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        states = self.embedding(tokens) * mask[..., None]
        return states.sum(dim=1) / mask.sum(dim=1, keepdim=True), states


def options(**more: Any) -> dict[str, Any]:
    return {
        "method": "clip",
        "data": SOURCE,
        "show": False,
        "text__vocabulary_size": 300,
        "training__steps": 2,
        "training__batch_size": 16,
        "training__loggers": (),
        "training__precision": "float32",
    } | more


def test_own_networks_are_trained_and_opened_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, text = Pixels(), Words()
    before = {name: value.clone() for name, value in image.state_dict().items()}
    run = train(out=tmp_path / "run", image_encoder=image, text_encoder=text, **options())
    assert all(torch.equal(value, before[name]) for name, value in image.state_dict().items())  # a copy moved
    model = likewise.load(run.path, image_encoder=Pixels(), text_encoder=Words())
    weights = model.network.image.backbone.network.state_dict()  # type: ignore[union-attr, operator]
    assert any(not torch.equal(value, before[name]) for name, value in weights.items())
    assert model.image_encoder.image_size == 24
    assert model.image_encoder.mean == (0.0, 0.0, 0.0)
    pixels = np.full((24, 24, 3), (40, 90, 200), np.uint8)  # one color, which resizing keeps
    vector = model.encode_images(pixels, normalize=False)
    trained = Pixels()
    trained.load_state_dict(weights)
    projection: Any = model.network.image_projection
    expected = projection(trained(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)).detach()
    np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5)
    assert model.encode_texts(["a red circle", "two squares"]).shape == (2, model.dim)
    with pytest.raises(AbilityError, match="Pixels, a network of the user's own, has no layer"):
        model.explain([pixels], ["a red circle"])
    # Without the networks nothing can be opened, and the command line never has them.
    with pytest.raises(ModelError, match=r"its image encoder is a network of the user's own .*Pixels"):
        likewise.load(run.path)
    with pytest.raises(SystemExit):
        main(["evaluate", str(run.path), "retrieval"])
    assert "likewise.load(..., image_encoder=" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "clip", SOURCE, "--out", str(tmp_path / "other"), "--image.own", "Pixels"])
    assert "from Python: likewise.train(..., image_encoder=Pixels(...))" in capsys.readouterr().err


def test_settings_take_own_networks_too(tmp_path: Path) -> None:
    settings = small_settings("simclr", steps=1)
    plain = likewise.default_settings("simclr", SOURCE, image_size=24).image
    settings = dataclasses.replace(settings, image=plain)
    run = train(settings, tmp_path / "run", show=False, image_encoder=Pixels())
    assert 'own = "Pixels"' in run.config.read_text()
    assert likewise.load(run.path, image_encoder=Pixels()).dim == 12


class NoSize(nn.Module):
    dim = 3


class Wrong(Pixels):
    dim = 13

    def forward(self, pixels: Tensor) -> Tensor:
        return self.layers(pixels)[:, :5]  # type: ignore[no-any-return]


class Few(Words):
    vocabulary_size = 200


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"image_encoder": "resnet18"}, "image_encoder is a str; expected a torch.nn.Module"),
        ({"image_encoder": NoSize()}, "NoSize.image_size is None; an encoder of your own needs it"),
        ({"image_encoder": Wrong()}, r"Wrong returned vectors of shape \(16, 5\); expected \(B, 13\)"),
        ({"text_encoder": Few()}, r"--text.vocabulary-size: the texts need \d+, and Few takes 200"),
        ({"method": "simclr", "text_encoder": Words()}, "text_encoder: simclr reads no texts"),
        ({"image_encoder": Pixels(), "image__image_size": 32}, "Pixels reads images of 24 px"),
        ({"image_encoder": Pixels(), "image__width": 32}, "--image.width 32: Pixels, a network of your own"),
    ],
)
def test_what_is_no_encoder_is_refused(tmp_path: Path, networks: dict[str, Any], message: str) -> None:
    given = options(**networks)
    if given["method"] == "simclr":
        del given["text__vocabulary_size"]
    with pytest.raises(ConfigError, match=message):
        train(out=tmp_path / "run", **given)
