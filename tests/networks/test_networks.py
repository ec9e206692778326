"""Networks: found by kind, built from their specs, those of earlier versions included."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import likewise
import likewise.networks
from likewise.encoders import ImageEncoder, ImageEncoderConfig, TextEncoder, TextEncoderConfig
from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import AbilityError, ModelError
from likewise.model import Model
from likewise.networks import registry
from likewise.networks.abilities import ABILITIES
from likewise.networks.answerer import AnswerNetwork
from likewise.networks.captioner import CaptionNetwork
from likewise.networks.classifier import ClassifierNetwork
from likewise.networks.dual import DualNetwork
from likewise.networks.entailer import EntailmentNetwork
from likewise.networks.fusion import FusionNetwork
from likewise.networks.image import ImageNetwork
from likewise.networks.image_audio import ImageAudioNetwork
from likewise.networks.pair_reasoner import PairReasoner
from likewise.networks.registry import encoder_spec, network_from_spec, networks
from likewise.networks.text import TextNetwork

SAVED = sorted((Path(__file__).parent / "saved").glob("*.json"))
KINDS = [
    "answerer",
    "captioner",
    "classifier",
    "dual",
    "entailer",
    "fusion",
    "image",
    "image-audio",
    "multiview",
    "pair_reasoner",
    "text",
]
TOKENIZER = train_tokenizer(["a red circle", "two blue squares"], vocabulary_size=300, max_tokens=16)


def small_image() -> ImageEncoder:
    return ImageEncoder.build(ImageEncoderConfig(image_size=32, width=32, depth=2))


def small_text() -> TextEncoder:
    config = TextEncoderConfig(width=32, depth=2, heads=2, max_tokens=16)
    return TextEncoder.build(config, vocabulary_size=TOKENIZER.size)


def as_model(network: Any, *, reads_texts: bool = True) -> Model:
    tokenizer = TOKENIZER if reads_texts else None
    return Model.trained(
        network.eval(), tokenizer=tokenizer, method="mine", fit="crop", store_size=None, trained_on={}
    )


def test_the_kinds_are_found_in_the_folder() -> None:
    assert list(networks()) == KINDS
    assert networks()["dual"] is DualNetwork
    assert DualNetwork.kind == "dual"
    with pytest.raises(ValueError, match="two networks of kind 'dual'"):
        registry.network("dual")(type("Other", (DualNetwork,), {}))


NEW_FILE = """
from torch import Tensor

from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.networks.base import Network
from likewise.networks.registry import network


@network("summed")
class SummedNetwork(Network):
    def __init__(self, images: list[ImageEncoder], text: TextEncoder | None, *, signs: list[int]) -> None:
        super().__init__()
        self.first, self.second = images
        self.text = text
        self.signs = signs
        self.dim = images[0].dim

    @property
    def images(self) -> list[ImageEncoder]:
        return [self.first, self.second]

    def encode_images(self, pixels: Tensor) -> Tensor:
        return sum(sign * encoder(pixels).pooled for sign, encoder in zip(self.signs, self.images))
"""


def test_a_network_is_one_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saved and loaded without any other edit, nor spec code of its own."""
    (tmp_path / "summed.py").write_text(NEW_FILE)
    monkeypatch.setattr(registry, "_REGISTERED", dict(networks()))
    monkeypatch.setattr(likewise.networks, "__path__", [*likewise.networks.__path__, str(tmp_path)])
    made = networks()["summed"]([small_image(), small_image()], None, signs=[1, -1])  # type: ignore[call-arg]
    model = as_model(made, reads_texts=False)
    model.save(tmp_path / "model")
    assert json.loads((tmp_path / "model/config.json").read_text())["network"]["signs"] == [1, -1]
    again = likewise.load(tmp_path / "model")
    image = np.full((20, 30, 3), 99, np.uint8)
    image[:9] = 0
    np.testing.assert_array_equal(again.encode_images(image), model.encode_images(image))
    assert again.abilities == ["encode_images"]
    del sys.modules["likewise.networks.summed"]


@pytest.mark.parametrize("path", SAVED, ids=lambda path: path.stem)
def test_networks_saved_by_version_0_2_are_built(path: Path) -> None:
    saved = json.loads(path.read_text())
    spec = saved["config"]["network"]
    network = network_from_spec(spec)
    assert {name: list(weight.shape) for name, weight in network.state_dict().items()} == saved["weights"]
    again = json.loads(json.dumps(network.spec()))
    assert again.keys() == spec.keys()
    assert {name: again[name] for name in spec if not isinstance(spec[name], (dict, list))} == {
        name: value for name, value in spec.items() if not isinstance(value, (dict, list))
    }


def test_building_leaves_the_random_state_alone() -> None:
    dual = DualNetwork(small_image(), small_text(), dim=12).eval()
    before = torch.random.get_rng_state()
    again = network_from_spec(dual.spec()).eval()
    assert torch.equal(before, torch.random.get_rng_state())
    again.load_state_dict(dual.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(again.encode_images(pixels), dual.encode_images(pixels))  # type: ignore[operator]


def test_a_spec_that_cannot_be_built_says_why() -> None:
    with pytest.raises(ModelError, match=rf"of kind 'dance', .* \({', '.join(KINDS)}\)"):
        network_from_spec({"kind": "dance"})
    with pytest.raises(ModelError, match="lacks 'image'"):
        network_from_spec({"kind": "image"})
    with pytest.raises(ModelError, match="lacks 'dim'"):
        network_from_spec({"kind": "dual", "image": small_image().spec(), "text": small_text().spec()})
    with pytest.raises(ModelError, match="of kind 'text' has no image encoder"):
        encoder_spec(TextNetwork(small_text()).spec(), "image")
    with pytest.raises(ModelError, match="of kind 'image' has no text encoder"):
        encoder_spec(ImageNetwork(small_image()).spec(), "text")


@pytest.mark.parametrize("kind", ["image", "text"])
def test_the_embedding_is_the_features_or_a_projection_of_them(kind: str) -> None:
    encoder: Any = small_image() if kind == "image" else small_text()
    network: Any = ImageNetwork if kind == "image" else TextNetwork
    inputs: Any = (torch.randn(2, 3, 32, 32),)
    if kind == "text":
        inputs = torch.randint(4, 200, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    features = encoder.eval()(*inputs).pooled
    plain, mapped = network(encoder), network(encoder, dim=5)
    assert (plain.dim, mapped.dim) == (encoder.dim, 5)
    torch.testing.assert_close(plain(*inputs), features)
    torch.testing.assert_close(mapped(*inputs), features @ mapped.projection.weight.T)
    for made in (plain, mapped):
        again = network_from_spec(json.loads(json.dumps(made.spec()))).eval()
        again.load_state_dict(made.state_dict())
        torch.testing.assert_close(again(*inputs), made(*inputs))


@pytest.mark.parametrize("name", ABILITIES)
def test_abilities_name_methods_of_the_class(name: str) -> None:
    """Since Python 3.12 `isinstance` does not see the submodules of an `nn.Module`."""
    protocol = ABILITIES[name].protocol
    assert not protocol.__annotations__
    methods = [method for method in vars(protocol) if not method.startswith("_")]
    assert methods
    others = {
        "caption": CaptionNetwork,
        "classify": ClassifierNetwork,
        "answer": AnswerNetwork,
        "entail": EntailmentNetwork,
        "compare": PairReasoner,
        "encode_audio": ImageAudioNetwork,
    }
    network = others.get(name, FusionNetwork)
    for method in methods:
        inspect.getattr_static(network, method)


def test_a_classifier_is_built_again_with_its_classes() -> None:
    made = ClassifierNetwork(small_image(), classes=["a", "b", "c"], dim=7).eval()
    again = network_from_spec(json.loads(json.dumps(made.spec()))).eval()
    again.load_state_dict(made.state_dict())
    assert isinstance(again, ClassifierNetwork)
    assert again.class_names() == ("a", "b", "c")
    pixels = torch.randn(2, 3, 32, 32)
    logits = again.classify_images(pixels)
    assert logits.shape == (2, 3)
    torch.testing.assert_close(logits, made.classify_images(pixels))
    torch.testing.assert_close(logits, again.classifier(again.encode_images(pixels)))


def test_a_model_of_texts_alone_is_saved_loaded_and_used(tmp_path: Path) -> None:
    model = as_model(TextNetwork(small_text(), dim=6))
    model.save(tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["images"] is None
    assert "encode_images" not in (tmp_path / "model/README.md").read_text()
    again = likewise.load(tmp_path / "model")
    assert repr(again).startswith("<Model of mine: encode_texts; embeddings of 6 dimensions, ")
    texts = ["a red circle", "two blue squares"]
    vectors = again.encode_texts(texts)
    assert vectors.shape == (2, 6)
    np.testing.assert_array_equal(vectors, model.encode_texts(texts))
    said = r"\(mine\) cannot {}, it can encode texts; .*likewise methods"
    with pytest.raises(AbilityError, match=said.format("encode images")):
        again.encode_images("not/even/looked/for.jpg")
    with pytest.raises(AbilityError, match=said.format("match")):
        again.match("not/even/looked/for.jpg", texts)
    with pytest.raises(AbilityError, match="tcl"):
        again.explain("not/even/looked/for.jpg", texts)
    with pytest.raises(AbilityError, match="has no image encoder"):
        again.stored_squares(["not/even/looked/for.jpg"])
