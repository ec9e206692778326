"""Whole pre-trained models that were opened, fine-tuned or not, are written as models of their own kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import TEXTS, card_functions, image_encoder, model_of, text_encoder
from PIL import Image
from pretrained_folders import write_two_towers
from torch import Tensor, nn

from likewise import load
from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
from likewise.encoders.own import own_encoders
from likewise.errors import ModelError
from likewise.export.folder import export
from likewise.networks.dual import DualNetwork
from likewise.networks.image import ImageNetwork

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other library

FAMILIES = {
    "clip": "CLIPModel",
    "siglip": "SiglipModel",
    "chinese_clip": "ChineseCLIPModel",
    "dual": "VisionTextDualEncoderModel",
}


def images() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)) for _ in range(3)]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kind_stays(family: str, tmp_path: Path) -> None:
    write_two_towers(tmp_path / "given", family)
    model = load(tmp_path / "given")
    written = export(model, tmp_path / "out", format="transformers")
    config = json.loads((written.folder / "config.json").read_text())
    assert config["architectures"] == [FAMILIES[family]]
    assert written.notes == ()
    read = card_functions(written.folder)
    for theirs, ours in (
        (read["encode_texts"](TEXTS), model.encode_texts(TEXTS)),
        (read["encode_images"](images()), model.encode_images(images())),
    ):
        np.testing.assert_allclose(theirs, ours, atol=1e-5)
        assert np.abs(ours[0] - ours[1:]).max(axis=1).min() > 1e-2
    # Opened again it is the same model, its temperature and bias too.
    again = load(written.folder)
    np.testing.assert_allclose(again.encode_texts(TEXTS), model.encode_texts(TEXTS), atol=1e-5)
    assert isinstance(model.network, DualNetwork)
    assert isinstance(again.network, DualNetwork)
    assert again.network.temperature == pytest.approx(model.network.temperature)
    assert again.network.bias == pytest.approx(model.network.bias)


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_sentence_transformers_opens_both_towers(family: str, tmp_path: Path) -> None:
    """SigLIP's texts have to be padded to one length there too."""
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    write_two_towers(tmp_path / "given", family)
    model = load(tmp_path / "given")
    folder = export(model, tmp_path / "out", format="sentence-transformers").folder
    theirs = library.SentenceTransformer(str(folder), device="cpu")
    for texts in (TEXTS, TEXTS[-1:]):
        np.testing.assert_allclose(theirs.encode(texts), model.encode_texts(texts), atol=1e-5)
    np.testing.assert_allclose(theirs.encode(images()), model.encode_images(images()), atol=1e-5)


def test_siglip_as_programs(tmp_path: Path) -> None:
    write_two_towers(tmp_path / "given", "siglip")
    written = export(load(tmp_path / "given"), tmp_path / "out", format="torch")
    assert written.differences["images"] < 1e-5
    assert "which pads texts to one length; --format onnx can" in written.notes[0]


def test_siglip_2_is_refused(tmp_path: Path) -> None:
    write_two_towers(tmp_path / "given", "siglip2")
    with pytest.raises(ModelError, match="siglip2_vision_model, which takes patches and no images"):
        export(load(tmp_path / "given"), tmp_path / "out", format="transformers")
    assert not (tmp_path / "out").exists()


def test_the_bias_of_the_sigmoid_loss_is_named(tmp_path: Path) -> None:
    network = DualNetwork(image_encoder(pooling="cls"), text_encoder(), dim=8, temperature=0.1, bias=-9.5)
    written = export(model_of(network), tmp_path / "out", format="transformers")
    assert written.notes == (f"The bias of the sigmoid loss, {network.bias:.2f}, is not in it.",)


class _Colors(nn.Module):
    """A network of the user's own."""

    dim, image_size = 6, 16

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 6)

    def forward(self, pixels: Tensor) -> Tensor:
        vectors: Tensor = self.layer(pixels.mean(dim=(2, 3)))
        return vectors


def test_a_network_of_the_users_own(tmp_path: Path) -> None:
    with own_encoders(image=_Colors()):
        config: Any = ImageEncoderConfig(own="_Colors", image_size=16)
        model = model_of(ImageNetwork(ImageEncoder.build(config)))
    with pytest.raises(ModelError, match=r"a network of the user's own \(_Colors\)"):
        export(model, tmp_path / "out", format="transformers")
    folder = export(model, tmp_path / "out", format="torch").folder
    program = torch.export.load(folder / "image.pt2").module()
    grey = torch.full((2, 16, 16, 3), 60, dtype=torch.uint8)
    np.testing.assert_allclose(program(grey).detach(), model.encode_images(list(grey.numpy())), atol=1e-5)
