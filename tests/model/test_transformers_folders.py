"""Folders that transformers wrote, opened by `likewise.load`: vectors equal transformers' own."""

from __future__ import annotations

import json
import math
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from huggingface_hub.errors import GatedRepoError
from pretrained_folders import POSITIONS, SENTENCES, write_processor, write_tokenizer, write_two_towers
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModel

import likewise
from likewise.encoders import ImageEncoder, ImageEncoderConfig, TextEncoder, TextEncoderConfig
from likewise.errors import ModelError

FAMILIES = ("clip", "siglip", "siglip2", "chinese_clip", "vision-text-dual-encoder")


def canonical(text: str, family: str) -> str:
    """What SigLIP's tokenizers do before their tokenizer.json, by their source in transformers."""
    if family == "siglip":
        text = text.lower().translate(str.maketrans("", "", string.punctuation))
        return " ".join(text.split())
    return text.lower() if family == "siglip2" else text


def text_features(
    model: Any, folder: Path, family: str, texts: list[str] = SENTENCES, *, siglip_length: int = POSITIONS
) -> np.ndarray:
    """By transformers: SigLIP padded to all positions without a mask, others with one."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(POSITIONS)
    siglip = "siglip" in family
    pad = tokenizer.token_to_id("</s>") if family == "siglip" else 0
    tokenizer.enable_padding(pad_id=pad, length=siglip_length if siglip else None)
    rows = tokenizer.encode_batch([canonical(text, family) for text in texts])
    inputs = {"input_ids": torch.tensor([row.ids for row in rows])}
    if not siglip:
        inputs["attention_mask"] = torch.tensor([row.attention_mask for row in rows])
    return unit(model.get_text_features(**inputs))


def pixels_of(images: np.ndarray) -> torch.Tensor:
    """(B, 3, S, S), by the mean and the deviation of the written image processor."""
    mean, std = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.25, 0.3])
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    return (pixels - mean[:, None, None]) / std[:, None, None]


def image_features(model: Any, images: np.ndarray, family: str) -> np.ndarray:
    pixels = pixels_of(images)
    if family != "siglip2":
        return unit(model.get_image_features(pixel_values=pixels))
    from transformers.models.siglip2.image_processing_pil_siglip2 import convert_image_to_patches

    rows = [torch.as_tensor(convert_image_to_patches(one.numpy(), 8)) for one in pixels]
    side = images.shape[1] // 8
    return unit(
        model.get_image_features(
            pixel_values=torch.stack(rows),
            pixel_attention_mask=torch.ones(len(rows), side * side, dtype=torch.int64),
            spatial_shapes=torch.tensor([[side, side]] * len(rows)),
        )
    )


def unit(found: Any) -> np.ndarray:
    vectors = getattr(found, "pooler_output", found)
    return torch.nn.functional.normalize(vectors, dim=1).detach().numpy()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("width", "side"), [(16, 32), (24, 48)])
def test_two_towers_give_the_vectors_of_transformers(
    family: str, width: int, side: int, tmp_path: Path
) -> None:
    theirs = write_two_towers(tmp_path / "model", family, width=width, side=side)
    model = likewise.load(tmp_path / "model")
    images = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype=np.uint8)
    with torch.no_grad():
        texts = text_features(theirs, tmp_path / "model", family)
        pictures = image_features(theirs, images, family)
    ours = model.encode_texts(SENTENCES)
    np.testing.assert_allclose(ours, texts, atol=1e-5)
    np.testing.assert_allclose(model.encode_images(list(images)), pictures, atol=1e-5)
    assert np.ptp(texts @ texts.T) > 0.03  # they differ, or any vectors would do
    # Alone or among longer ones, a text has the same vector.
    np.testing.assert_allclose(model.encode_texts(SENTENCES[1]), texts[1:2], atol=1e-5)
    network: Any = model.network
    assert math.isclose(network.temperature, math.exp(-3), rel_tol=1e-5)
    if "siglip" in family:
        assert network.bias == float(theirs.logit_bias.detach())
        with torch.no_grad():  # the published mistake: padded to the longest, nothing is left of it
            wrong = text_features(theirs, tmp_path / "model", family, SENTENCES[1:2], siglip_length=15)
        assert np.abs(wrong - texts[1]).max() > 1e-3
    else:
        assert network.bias is None
    # Saved in the form of models here, it stays what it is.
    model.save(tmp_path / "ours")
    again = likewise.load(tmp_path / "ours")
    np.testing.assert_allclose(again.encode_texts(SENTENCES), ours, atol=1e-6)
    np.testing.assert_allclose(again.encode_images(list(images)), pictures, atol=1e-5)
    assert again.config["images"] == {"fit": "crop" if family == "clip" else "squash", "store_size": None}
    assert (again.network.temperature, again.network.bias) == (network.temperature, network.bias)


def test_an_older_clip_ends_texts_by_its_highest_token(tmp_path: Path) -> None:
    theirs = write_two_towers(tmp_path, "clip", older=True)
    model = likewise.load(tmp_path)
    assert model.tokenizer is not None
    tokens, mask = model.tokenizer.pad(model.tokenizer.encode(SENTENCES))
    assert (tokens.max(axis=1) == model.tokenizer.pad_id).all()
    with torch.no_grad():
        expected = unit(theirs.get_text_features(torch.from_numpy(tokens), torch.from_numpy(mask)))
    np.testing.assert_allclose(model.encode_texts(SENTENCES), expected, atol=1e-5)


VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
IMAGE_MODELS: dict[str, dict[str, Any]] = {
    **{
        kind: VISION | {"image_size": 32, "patch_size": 8}
        for kind in ("vit", "deit", "dinov2", "dinov3_vit", "beit")
    },
    "convnext": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
    "resnet": {
        "embedding_size": 8,
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1, 1, 1, 1],
        "layer_type": "basic",
    },
}


@pytest.mark.parametrize("kind", IMAGE_MODELS)
def test_an_image_model_is_opened(kind: str, tmp_path: Path) -> None:
    config = AutoConfig.for_model(kind, **IMAGE_MODELS[kind])
    theirs = AutoModel.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    write_processor(tmp_path, 32, crop=True)
    model = likewise.load(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    with torch.no_grad():
        found = theirs(pixels_of(images))
    by_itself = kind in ("beit", "convnext", "resnet")
    pooled = found.pooler_output.flatten(1) if by_itself else found.last_hidden_state[:, 0]
    np.testing.assert_allclose(model.encode_images(list(images)), unit(pooled), atol=1e-5)
    assert model.abilities == ["encode_images"]
    assert model.config["images"]["fit"] == "crop"


def test_a_text_model_is_opened(tmp_path: Path) -> None:
    entries = write_tokenizer(tmp_path, "bert")
    config = AutoConfig.for_model(
        "bert", vocab_size=entries, max_position_embeddings=POSITIONS, pad_token_id=0, **VISION
    )
    theirs = AutoModel.from_config(config).eval()
    theirs.save_pretrained(tmp_path)
    model = likewise.load(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode(SENTENCES[1]).ids])
    with torch.no_grad():
        first = unit(theirs(input_ids=ids).last_hidden_state[:, 0])
    np.testing.assert_allclose(model.encode_texts(SENTENCES[1]), first, atol=1e-5)
    assert model.tokenizer is not None
    assert model.tokenizer.max_tokens == POSITIONS


def test_a_half_of_two_towers_is_an_encoder(tmp_path: Path) -> None:
    """As `--image.pretrained` and `--text.pretrained` take it."""
    theirs = write_two_towers(tmp_path, "clip")
    image = ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path), image_size=32)).eval()
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(image(pixels).pooled, theirs.vision_model(pixels).pooler_output)
    assert image.mean == (0.4, 0.5, 0.6)
    text = TextEncoder.build(
        TextEncoderConfig(pretrained=str(tmp_path), max_tokens=POSITIONS), vocabulary_size=1
    ).eval()
    tokens = torch.tensor([[2, 9, 11, 3]])
    torch.testing.assert_close(
        text(tokens, tokens > 0).pooled, theirs.text_model(input_ids=tokens).pooler_output
    )


def no_safetensors(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def half_the_weights(folder: Path) -> None:
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("vision_model.")}
    safetensors.torch.save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_text(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit_config(folder, text_config=config["text_config"] | changes)


def other_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit_config(folder, vision_config=config["vision_config"] | {"intermediate_size": 40})


BAD: dict[str, tuple[Any, str]] = {
    "another kind": (
        lambda folder: edit_config(folder, model_type="t5"),
        "type 't5', which is not supported",
    ),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "it has no model.safetensors"),
    "far more layers": (
        lambda folder: edit_text(folder, num_hidden_layers=20_000),
        "num_hidden_layers is 20000, which is too large",
    ),
    "far more weights": (
        lambda folder: edit_text(folder, intermediate_size=10**6),
        "asks for [0-9,]+ weights",
    ),
    "timm": (
        lambda folder: (folder / "config.json").write_text('{"architecture": "x", "pretrained_cfg": {}}'),
        "it is a model of timm.*--image.own timm:NAME",
    ),
    "half a model": (half_the_weights, "only a part of a model: its weights lack vision_model"),
    "other weights": (other_width, "its weights do not fit its config.json"),
    "remote code": (
        lambda folder: edit_config(
            folder, model_type="mine", auto_map={"AutoConfig": "mine.Mine", "AutoModel": "mine.Model"}
        ),
        "runs code of its own, which is never run here",
    ),
    "pickle": (no_safetensors, "pytorch_model.bin, are pickle, which can run code.*convert it once: python"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "cannot load"),
    "damaged": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\x10" * 64),
        "cannot load",
    ),
    "another tokenizer": (
        lambda folder: edit_config(
            folder,
            text_config=json.loads((folder / "config.json").read_text())["text_config"] | {"vocab_size": 9},
        ),
        "do not fit|entries",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_folder_that_cannot_be_used_says_why_in_one_line(case: str, tmp_path: Path) -> None:
    spoil, message = BAD[case]
    write_two_towers(tmp_path, "clip")
    spoil(tmp_path)
    with pytest.raises(ModelError, match=message) as caught:
        likewise.load(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    print(caught.value)


def test_a_restricted_hub_name_says_how_to_log_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    import huggingface_hub

    def refuse(*_: Any, **__: Any) -> None:
        response = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co/some/model"))
        raise GatedRepoError("403 Client Error", response=response)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ModelError, match=r"access to some/model is restricted.*hf auth login"):
        likewise.load("some/model")
