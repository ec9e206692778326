"""Grad-CAM of cosines against captum's and by differences, and the words of captions over the image."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from small_runs import small_settings
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel

from likewise import train
from likewise.encoders.feature_maps import feature_map_of, kept_features
from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
from likewise.errors import AbilityError, DataError
from likewise.model import Model, load
from likewise.model.explanations.cosine_cam import cosine_maps
from likewise.networks.image import ImageNetwork
from likewise.networks.multiview import MultiViewNetwork

PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def image_network(**options: Any) -> ImageNetwork:
    torch.manual_seed(0)
    return ImageNetwork(ImageEncoder.build(ImageEncoderConfig(image_size=32, **options)), dim=16).eval()


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)


@pytest.mark.parametrize("architecture", ["resnet", "convnext"])
def test_maps_of_convolutional_networks_are_captums(architecture: str) -> None:
    network = image_network(architecture=architecture, width=8)
    wanted = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))
    maps, cosines = cosine_maps(network, PIXELS, wanted)
    explainer = LayerGradCam(
        lambda pixels: F.cosine_similarity(network.encode_images(pixels), wanted),
        network.image.backbone.encoder.stages[-1],
    )
    theirs = explainer.attribute(PIXELS, relu_attributions=True).detach()
    assert float(theirs.max()) > 0
    torch.testing.assert_close(maps, theirs[:, 0], rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(cosines, F.cosine_similarity(network.encode_images(PIXELS), wanted))


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_maps_of_a_vit_by_differences(pooling: str) -> None:
    """A channel's weight is the cosine's slope along an equal change of that channel in every patch."""
    network: Any = image_network(width=16, depth=2, heads=2, patch_size=8, pooling=pooling).double()
    pixels, wanted = PIXELS.double(), torch.randn(3, 16, dtype=torch.float64)
    maps, _ = cosine_maps(network, pixels, wanted)
    change = torch.zeros(1, 17, 16, dtype=torch.float64)  # [CLS] and 16 patches
    seen: list[Tensor] = []

    def nudge(_: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(inputs[0])
        return (inputs[0] + change, *inputs[1:])

    hook = network.image.backbone.layers[-1].register_forward_pre_hook(nudge)
    try:
        expected = torch.zeros(3, 16, dtype=torch.float64)
        for channel in range(16):
            ends = []
            for step in (1e-5, -1e-5):
                change.zero_()
                change[:, 1:, channel] = step / 16
                with torch.no_grad():
                    ends.append(F.cosine_similarity(network.encode_images(pixels), wanted))
            slope = (ends[0] - ends[1]) / 2e-5  # (3,)
            expected += slope[:, None] * seen[0][:, 1:, channel]
    finally:
        hook.remove()
    assert float(expected.max()) > 0
    torch.testing.assert_close(maps, expected.clamp_min(0).view(3, 4, 4), rtol=1e-5, atol=1e-9)


def test_a_map_is_of_its_image_alone_and_of_no_length() -> None:
    network = image_network(architecture="resnet", width=8)
    network.requires_grad_(False)  # explained all the same
    wanted = torch.randn(3, 16)
    maps, cosines = cosine_maps(network, PIXELS, wanted)
    alone, cosine = cosine_maps(network, PIXELS[1:2], 7 * wanted[1:2])
    torch.testing.assert_close(alone[0], maps[1], rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(cosine[0], cosines[1])


def test_views_of_the_colours_add_up() -> None:
    encoders = [image_network(architecture="resnet", width=8).image for _ in range(2)]
    network = MultiViewNetwork(encoders, channels=("L", "ab")).eval()
    maps, cosines = cosine_maps(network, PIXELS, network.encode_images(PIXELS.flip(0)).detach())
    assert maps.shape == (3, 4, 4)
    assert float(maps.max()) > 0
    assert float(cosines[1]) == pytest.approx(1, abs=1e-5)


VIT = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
FAMILIES = (
    *("beit", "clip_vision_model", "deit", "dinov2", "dinov2_with_registers", "dinov3_vit", "ijepa"),
    *("siglip_vision_model", "vit", "vit_msn"),
)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_last_layer_of_every_family_is_found(kind: str) -> None:
    config = AutoConfig.for_model(kind, image_size=32, patch_size=8, **VIT)
    encoder = ImageEncoder(AutoModel.from_config(config), image_size=32).eval()
    with kept_features(encoder) as kept:
        pooled = encoder(PIXELS).pooled
    (gradient,) = torch.autograd.grad(pooled.square().sum(), kept)
    assert feature_map_of(encoder, gradient).shape == (3, 32, 4, 4)
    assert float(gradient.abs().max()) > 0
    encoder(PIXELS)
    assert len(kept) == 1  # nothing is kept afterwards


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return load(
        train(small_settings("clip", steps=2), tmp_path_factory.mktemp("clip") / "run", show=False).path
    )


def test_two_towers_explain_the_cosine_of_text_and_image(clip: Model) -> None:
    images, texts = [picture(0), picture(1)], ["a red circle", "a blue square"]
    found = clip.explain(images, texts)
    expected = (clip.encode_images(images) * clip.encode_texts(texts)).sum(1)
    assert [one.cosine for one in found] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [(one.text, one.words, one.probability) for one in found] == [(text, [], None) for text in texts]
    assert found[0].whole.shape == (8, 8)
    assert all(weight.grad is None for weight in clip.network.parameters())
    one_by_one = clip.explain(images, texts, batch_size=1)
    np.testing.assert_allclose(one_by_one[1].whole, found[1].whole, rtol=1e-3, atol=1e-7)


def test_images_are_compared_with_other_images(clip: Model) -> None:
    (found,) = clip.explain(picture(0), other_images=picture(1))
    both = clip.encode_images([picture(0), picture(1)])
    assert found.cosine == pytest.approx(float(both[0] @ both[1]), abs=1e-5)
    assert found.text is None
    with pytest.raises(ValueError, match="not both"):
        clip.explain(picture(0), "a", other_images=picture(1))
    with pytest.raises(AbilityError, match="a text or another image"):
        clip.explain("not/even/looked/for.jpg")
    with pytest.raises(DataError, match="1 images and 2 other images"):
        clip.explain(picture(0), other_images=[picture(0), picture(1)])


def test_models_of_images_alone_say_what_they_explain(tmp_path: Path) -> None:
    simclr = load(train(small_settings("simclr", steps=1), tmp_path / "run", show=False).path)
    assert simclr.explain(picture(0), other_images=picture(1))[0].whole.shape == (4, 4)
    with pytest.raises(AbilityError, match="similarity to another image"):
        simclr.explain(picture(0), "a red circle")


@pytest.mark.parametrize("decoder", ["transformer", "lstm"])
def test_each_word_of_a_caption_has_its_attention(tmp_path: Path, decoder: str) -> None:
    settings = small_settings("captioning", steps=10)
    method = dataclasses.replace(settings.method, decoder=decoder)
    model = load(train(dataclasses.replace(settings, method=method), tmp_path / "run", show=False).path)
    (found,) = model.explain(picture(0), "a red circle above")
    assert found.words == ["a", "red", "circle", "above"]
    tokens, _ = model.tokens(["a red circle above"])
    pixels = model.pixels(model.stored_squares([picture(0)]))
    with torch.no_grad():
        looked = model.network.caption_attention(pixels, tokens)  # type: ignore[operator]
    places = dict(model.tokenizer.word_spans("a red circle above"))["circle"]  # type: ignore[union-attr]
    # Attention is a distribution over 8 x 8 patches; token t is written by step t - 1.
    expected = looked[0, [place - 1 for place in places]].mean(0).view(8, 8)
    np.testing.assert_allclose(found.maps[2], expected, rtol=1e-5)
    np.testing.assert_allclose(found.maps.sum((1, 2)), 1, rtol=1e-4)
    np.testing.assert_allclose(found.whole, found.maps.mean(0), rtol=1e-5)
    (own,) = model.explain(picture(0))
    assert own.text == model.caption(picture(0), num_beams=3)[0]


def test_a_decoder_without_attention_says_so(tmp_path: Path) -> None:
    settings = small_settings("captioning", steps=1)
    method = dataclasses.replace(settings.method, decoder="gru", attention=False)
    model = load(train(dataclasses.replace(settings, method=method), tmp_path / "run", show=False).path)
    with pytest.raises(AbilityError, match=r"no attention.*--method\.decoder transformer"):
        model.explain(picture(0))
