"""transformers opens what is written, by its auto classes, and gives the same vectors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import TEXTS, card_functions, image_encoder, model_of, text_encoder, tokenizer
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModel

from likewise import Model
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ModelError
from likewise.export.folder import export
from likewise.networks.classifier import ClassifierNetwork
from likewise.networks.dual import DualNetwork
from likewise.networks.fusion import FusionNetwork
from likewise.networks.image import ImageNetwork
from likewise.networks.multiview import MultiViewNetwork
from likewise.networks.text import TextNetwork

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other library

FORMAT = "transformers"


def clip_tokenizer() -> TextTokenizer:
    """Pads with its end token, as CLIP's does; the end token's id is not 2."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.ByteLevel()
    special = ["<|startoftext|>", "<|endoftext|>"]
    words.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    words.post_processor = processors.TemplateProcessing(
        single=f"{special[0]} $A {special[1]}", special_tokens=[(special[0], 0), (special[1], 1)]
    )
    return TextTokenizer(words, pad_id=1, max_tokens=12)


def clip_towers(words: TextTokenizer) -> DualNetwork:
    """The towers of CLIP, as a pre-trained one has them."""
    sizes = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = CLIPVisionConfig(hidden_size=32, image_size=32, patch_size=8, **sizes)
    text = CLIPTextConfig(
        hidden_size=16, vocab_size=words.size, max_position_embeddings=12, eos_token_id=1, **sizes
    )
    image = ImageEncoder(CLIPVisionModel._from_config(vision), image_size=32)
    return DualNetwork(image, TextEncoder(CLIPTextModel._from_config(text), pooling="last"), dim=8)


def photo() -> Image.Image:
    """No square, and smooth, so that ways of shrinking hardly differ."""
    across, down = np.meshgrid(np.linspace(0, 1, 60), np.linspace(0, 1, 44))
    channels = np.stack([across, down, np.abs(across - down)], axis=2)
    return Image.fromarray((255 * channels).astype(np.uint8))


def check(model: Model, folder: Path) -> None:
    """The code of the model card gives vectors of the model, and different ones for different inputs."""
    read = card_functions(folder)
    if "encode_texts" in read:
        theirs = np.asarray(read["encode_texts"](TEXTS))
        np.testing.assert_allclose(theirs, model.encode_texts(TEXTS), atol=1e-5)
        assert np.abs(theirs[0] - theirs[1:]).max(axis=1).min() > 1e-2
    if "encode_images" in read:
        images = [photo(), photo().rotate(180)]
        theirs = np.asarray(read["encode_images"](images))
        np.testing.assert_allclose(theirs, model.encode_images(images), atol=1e-5)
        assert np.abs(theirs[0] - theirs[1]).max() > 1e-2


def architecture(folder: Path) -> str:
    (name,) = json.loads((folder / "config.json").read_text())["architectures"]
    return str(name)


@pytest.mark.parametrize(
    ("image", "text", "fit"),
    [
        (("vit", {"pooling": "cls"}), "bert", "pad"),
        (("convnext", {}), "bert", "squash"),
        (("vit", {"pooling": "cls"}), "bert", "crop"),
    ],
)
def test_two_towers_are_one_model(image: Any, text: str, fit: str, tmp_path: Path) -> None:
    model = model_of(DualNetwork(image_encoder(image[0], **image[1]), text_encoder(text), dim=8), fit)
    written = export(model, tmp_path / "out", format=FORMAT)
    assert architecture(written.folder) == "VisionTextDualEncoderModel"
    assert max(written.differences.values()) < 1e-5
    check(model, written.folder)


def test_towers_of_clip_are_a_clip_model(tmp_path: Path) -> None:
    words = clip_tokenizer()
    model = model_of(clip_towers(words), words=words)
    written = export(model, tmp_path / "out", format=FORMAT)
    assert architecture(written.folder) == "CLIPModel"
    check(model, written.folder)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (lambda: DualNetwork(image_encoder(), text_encoder("clip"), dim=8), "do not pool a vit by mean"),
        (
            lambda: DualNetwork(image_encoder(pooling="cls"), text_encoder("clip"), dim=8),
            "would not find the end token",
        ),
        (
            lambda: DualNetwork(image_encoder(pooling="cls"), text_encoder(pooling="max"), dim=8),
            "do not pool a bert by max",
        ),
        (
            lambda: FusionNetwork.build(
                image_encoder(),
                text_encoder(depth=4),
                fusion_depth=2,
                dim=8,
                vocabulary_size=tokenizer().size,
            ),
            "The fusion encoder is not in it",
        ),
    ],
)
def test_other_towers_are_two_models(network: Any, said: str, tmp_path: Path) -> None:
    model = model_of(network())
    written = export(model, tmp_path / "out", format=FORMAT)
    assert said in " ".join(written.notes)
    assert said in (written.folder / "README.md").read_text()
    assert {path.name for path in written.folder.iterdir()} == {"README.md", "image", "text"}
    check(model, written.folder)


@pytest.mark.parametrize(
    "network",
    [
        lambda: ImageNetwork(image_encoder("resnet", image_size=96)),
        lambda: ImageNetwork(image_encoder("convnext"), dim=8),
        lambda: TextNetwork(text_encoder(pooling="mean")),
        lambda: TextNetwork(text_encoder("clip"), dim=8),
    ],
)
def test_an_encoder_alone(network: Any, tmp_path: Path) -> None:
    model = model_of(network())
    written = export(model, tmp_path / "out", format=FORMAT)
    assert written.notes == ()
    check(model, written.folder)


def test_half_of_a_model(tmp_path: Path) -> None:
    model = model_of(DualNetwork(image_encoder(), text_encoder("gru"), dim=8))
    written = export(model, tmp_path / "out", format=FORMAT)
    assert "the text encoder is a gru" in written.notes[0]
    assert set(written.differences) == {"images"}
    check(model, written.folder)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (lambda: ImageNetwork(image_encoder("resnet")), "a ResNet with a 3x3 stem"),
        (lambda: ImageNetwork(image_encoder(stem="convolutions")), "a ViT that begins with convolutions"),
        (lambda: TextNetwork(text_encoder("lstm")), "the text encoder is a lstm"),
        (
            lambda: MultiViewNetwork([image_encoder(), image_encoder()], channels=("L", "ab")),
            "a network of kind 'multiview' has parts",
        ),
        (
            lambda: ClassifierNetwork(image_encoder(), classes=("a", "b"), dim=8),
            "a network of kind 'classifier' has parts",
        ),
    ],
)
def test_what_no_class_holds_is_refused(network: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=said):
        export(model_of(network()), tmp_path / "out", format=FORMAT)
    assert list(tmp_path.iterdir()) == []


def test_the_hand_tuned_layers_are_left_as_they_are(tmp_path: Path) -> None:
    model = model_of(TextNetwork(text_encoder()))
    before = model.encode_texts(TEXTS)
    kind = type(model.network.text.backbone)  # type: ignore[union-attr]
    export(model, tmp_path / "out", format=FORMAT)
    assert type(model.network.text.backbone) is kind  # type: ignore[union-attr]
    np.testing.assert_array_equal(model.encode_texts(TEXTS), before)
    assert torch.is_grad_enabled()
