"""Encoders: shapes, padding, building again from a spec, pre-trained folders, the attention."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from kept import kept_bytes
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel

from likewise.encoders.fast.attention import _Attention, _bias, attention
from likewise.encoders.fast.dropout import draw_mask
from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
from likewise.encoders.text import TextEncoder, TextEncoderConfig
from likewise.errors import ConfigError, ModelError
from likewise.messages import flag

IMAGE_CONFIGS = [
    ImageEncoderConfig(image_size=32, width=32, depth=2),
    ImageEncoderConfig(image_size=32, width=32, depth=2, pooling="cls"),
    ImageEncoderConfig(image_size=48, patch_size=8, width=32, depth=2, stem="convolutions"),
    ImageEncoderConfig(architecture="resnet", image_size=32, width=8),
    ImageEncoderConfig(architecture="resnet", image_size=64, width=8),
    ImageEncoderConfig(architecture="resnet", image_size=96, width=8),
    ImageEncoderConfig(architecture="convnext", image_size=64, width=8),
]


def small_text(architecture: str = "clip") -> TextEncoder:
    config = TextEncoderConfig(architecture=architecture, width=32, depth=2, heads=2, max_tokens=16)  # type: ignore[arg-type]
    return TextEncoder.build(config, vocabulary_size=300)


@pytest.mark.parametrize(
    "config", IMAGE_CONFIGS, ids=lambda c: f"{c.architecture}-{c.image_size}-{c.pooling}-{c.stem}"
)
def test_image_encoders(config: ImageEncoderConfig) -> None:
    encoder = ImageEncoder.build(config).eval()
    pixels = torch.randn(3, 3, config.image_size, config.image_size)
    features = encoder(pixels)
    assert features.pooled.shape == (3, encoder.dim)
    assert features.tokens.shape[::2] == (3, encoder.dim)
    again = ImageEncoder.from_spec(encoder.spec()).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(pixels).pooled, features.pooled)
    features.pooled.sum().backward()
    unused = [name for name, weight in encoder.named_parameters() if weight.grad is None]
    assert not unused or config.pooling == "mean"


def test_small_pictures_keep_their_detail() -> None:
    """A ResNet's last map: 4 x 4 at 32 px, and no less at 64 px; the standard stem would leave 1 x 1."""
    for size, cells in ((32, 16), (64, 16), (96, 9)):
        encoder = ImageEncoder.build(
            ImageEncoderConfig(architecture="resnet", image_size=size, width=8)
        ).eval()
        assert encoder(torch.randn(1, 3, size, size)).tokens.shape[1] == cells


@pytest.mark.parametrize(("size", "width", "side"), [(64, 128, 8), (224, 192, 14), (8, 30, 4)])
def test_a_new_vit_tells_places_apart(size: int, width: int, side: int) -> None:
    """Equal patches differ by their places, by the distance alone, as much as unequal patches do."""
    config = ImageEncoderConfig(image_size=size, width=width, depth=1, heads=2)
    embeddings: Any = ImageEncoder.build(config).backbone.embeddings
    places = embeddings.position_embeddings[0].detach()  # (1 + N, D)
    assert len(places) == 1 + side**2
    assert not places[0].any()
    distances = torch.cdist(places[1:], places[1:])
    assert distances[~torch.eye(side**2, dtype=torch.bool)].min() > 0.3
    patches = places[1:].view(side, side, width)
    from_first = torch.linalg.vector_norm(patches - patches[0, 0], dim=2)
    torch.testing.assert_close(from_first, from_first.T)  # to the right as far as down
    assert (from_first[0, :4].diff() > 0).all()
    if size == 64:
        noise = embeddings.patch_embeddings.projection(torch.randn(4, 3, size, size)).flatten(2)
        assert 0.3 < places[1:].std(dim=0).mean() / noise.std(dim=2).mean() < 1.0


def test_convolutions_in_place_of_patches() -> None:
    config = ImageEncoderConfig(image_size=32, patch_size=8, width=32, depth=1, stem="convolutions")
    encoder = ImageEncoder.build(config)
    patches = encoder.backbone.embeddings.patch_embeddings.projection
    weights = {name: tuple(one.shape) for name, one in patches.named_parameters() if one.ndim > 1}
    assert weights == {
        "weight": (32, 32, 1, 1),
        "convolutions.0.weight": (8, 3, 3, 3),
        "convolutions.3.weight": (16, 8, 3, 3),
        "convolutions.6.weight": (32, 16, 3, 3),
    }
    pixels, rows = torch.randn(4, 3, 32, 32), None
    for place in (0, 3, 6):  # by batch statistics, as in training
        rows = F.conv2d(
            pixels if rows is None else rows, patches.convolutions[place].weight, stride=2, padding=1
        )
        spread, mean = torch.var_mean(rows, dim=(0, 2, 3), correction=0, keepdim=True)
        rows = ((rows - mean) / (spread + 1e-5).sqrt()).clamp_min(0)
    assert rows is not None
    expected = torch.einsum("bchw,dc->bdhw", rows, patches.weight[:, :, 0, 0]) + patches.bias[:, None, None]
    assert expected.shape == (4, 32, 4, 4)
    torch.testing.assert_close(patches(pixels), expected, atol=1e-5, rtol=1e-4)

    encoder.eval().resize(64)
    assert encoder(torch.randn(1, 3, 64, 64)).tokens.shape == (1, 64, 32)
    spec = encoder.spec()
    spec["backbone"]["patch_size"] = 7
    with pytest.raises(ModelError, match="patch_size is 7"):
        ImageEncoder.from_spec(spec)
    spec["stem_stride"] = 1
    with pytest.raises(ModelError, match="stem_stride is 1"):
        ImageEncoder.from_spec(spec)
    with pytest.raises(ConfigError, match=r"--image\.patch-size to one of 2, 4, 8, 16\."):
        ImageEncoder.build(ImageEncoderConfig(image_size=48, patch_size=6, stem="convolutions"))
    with pytest.raises(ConfigError, match=r"--image\.stem: a pre-trained network"):
        ImageEncoderConfig(pretrained="some/vit", stem="convolutions")


@pytest.mark.parametrize("architecture", ["clip", "bert"])
def test_padding_changes_nothing(architecture: str) -> None:
    encoder = small_text(architecture).eval()
    tokens = torch.randint(4, 300, (2, 7))
    mask = torch.ones(2, 7, dtype=torch.bool)
    padded = F.pad(tokens, (0, 5))
    padded_mask = F.pad(mask, (0, 5))
    torch.testing.assert_close(
        encoder(padded, padded_mask).pooled, encoder(tokens, mask).pooled, rtol=1e-4, atol=1e-5
    )
    assert encoder(tokens, mask).tokens.shape == (2, 7, 32)


def test_a_pretrained_folder_is_read_at_another_size(tmp_path: Path) -> None:
    source = ImageEncoder.build(ImageEncoderConfig(image_size=32, width=32, depth=1, patch_size=8))
    source.backbone.save_pretrained(tmp_path / "vit")
    same = ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path / "vit"), image_size=32)).eval()
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(same(pixels).tokens, source.eval()(pixels).tokens)
    larger = ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path / "vit"), image_size=64))
    assert larger(torch.randn(1, 3, 64, 64)).tokens.shape == (1, 64, 32)
    again = ImageEncoder.from_spec(larger.spec())
    again.load_state_dict(larger.state_dict())
    with pytest.raises(ConfigError, match=r"--image\.image-size 64"):
        ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path / "vit"), image_size=60))
    with pytest.raises(ConfigError, match="cannot load"):
        ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path / "none")))


VISION = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
PREFIX_TOKENS = {
    "vit": 1,
    "deit": 2,
    "dinov2": 1,
    "dinov2_with_registers": 5,
    "dinov3_vit": 1,
    "vit_msn": 1,
    "ijepa": 0,
    "clip_vision_model": 1,
    "siglip_vision_model": 0,
    "beit": 1,
}


@pytest.mark.parametrize("kind", PREFIX_TOKENS)
def test_patches_stand_behind_what_a_model_puts_before_them(kind: str, tmp_path: Path) -> None:
    """At the size that a model was stored at and at another, as transformers computes it, and once more from
    the encoder's spec."""
    source = AutoModel.from_config(AutoConfig.for_model(kind, image_size=32, patch_size=8, **VISION)).eval()
    source.save_pretrained(tmp_path)
    for size in (32, 64):
        config = ImageEncoderConfig(pretrained=str(tmp_path), image_size=size)
        if kind == "beit" and size != 32:
            with pytest.raises(ConfigError, match=r"use --image\.image-size 32"):
                ImageEncoder.build(config)
            continue
        encoder = ImageEncoder.build(config).eval()
        pixels = torch.randn(2, 3, size, size)
        interpolated = {"interpolate_pos_encoding": True} if size != 32 and kind != "dinov3_vit" else {}
        found = source(pixels, **interpolated)
        states = found.last_hidden_state
        pooled, tokens = encoder(pixels)
        torch.testing.assert_close(tokens, states[:, PREFIX_TOKENS[kind] :])
        assert tokens.shape == (2, (size // 8) ** 2, 32)
        by_itself = kind in ("clip_vision_model", "siglip_vision_model", "beit")
        own = found.pooler_output if by_itself else states[:, 0]
        torch.testing.assert_close(pooled, states.mean(dim=1) if kind == "ijepa" else own)
        unread = [name for name, weight in encoder.named_parameters() if not weight.requires_grad]
        assert not any("post_layernorm" in name or "pooler.layernorm" in name for name in unread)
        again = ImageEncoder.from_spec(json.loads(json.dumps(encoder.spec(), default=str))).eval()
        again.load_state_dict(encoder.state_dict())
        torch.testing.assert_close(again(pixels).tokens, tokens)
        torch.testing.assert_close(again(pixels).pooled, pooled)


def test_a_siglip_without_its_head_is_pooled_by_the_mean(tmp_path: Path) -> None:
    options = {"image_size": 32, "patch_size": 8, "vision_use_head": False}
    source = AutoModel.from_config(AutoConfig.for_model("siglip_vision_model", **options, **VISION)).eval()
    source.save_pretrained(tmp_path)
    encoder = ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path), image_size=32)).eval()
    pixels = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(encoder(pixels).pooled, source(pixels).last_hidden_state.mean(dim=1))


@pytest.mark.parametrize("kind", ["vit_mae", "swin"])
def test_a_vision_model_that_is_read_otherwise_is_refused(kind: str, tmp_path: Path) -> None:
    """A masked autoencoder leaves patches out at random; a Swin has no [CLS], and its patches grow."""
    options = {"image_size": 32, "patch_size": 4} | (
        {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 1], "window_size": 4}
        if kind == "swin"
        else VISION
    )
    AutoModel.from_config(AutoConfig.for_model(kind, **options)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=rf"is a {kind}, not an image encoder that is known here: beit, "):
        ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path), image_size=32))


def test_a_model_is_read_without_the_class_of_its_pictures(tmp_path: Path) -> None:
    """Many such classes want torchvision, of which only two numbers are of use."""
    source = AutoModel.from_config(AutoConfig.for_model("vit", image_size=32, patch_size=8, **VISION))
    source.save_pretrained(tmp_path)
    said = {
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "image_mean": [0.5] * 3,
        "image_std": [0.2] * 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
    encoder = ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path), image_size=32))
    assert (encoder.mean, encoder.std) == ((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))


def test_a_library_that_a_model_wants_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "timm_wrapper", "architecture": "resnet18", "num_labels": 2})
    )
    with pytest.raises(ConfigError, match=r"--image\.pretrained: "):
        ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path), image_size=32))


@pytest.mark.parametrize(
    "kind", ["roberta", "camembert", "mpnet", "electra", "deberta-v2", "albert", "modernbert"]
)
def test_a_text_model_is_the_same_after_it_was_saved(kind: str, tmp_path: Path) -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    own = {
        "modernbert": {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1},
        "albert": {"embedding_size": 16},
    }
    config = AutoConfig.for_model(
        kind, vocab_size=300, max_position_embeddings=40, **small, **own.get(kind, {})
    )
    source = AutoModel.from_config(config).eval()
    source.save_pretrained(tmp_path)
    encoder = TextEncoder.build(
        TextEncoderConfig(pretrained=str(tmp_path), max_tokens=8), vocabulary_size=300
    ).eval()
    tokens, mask = torch.randint(5, 300, (3, 10)), torch.ones(3, 10, dtype=torch.bool)
    tokens[1, 6:], mask[1, 6:] = config.pad_token_id, False
    features = encoder(tokens, mask)
    theirs = source(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    torch.testing.assert_close(features.pooled, theirs[:, 0])
    again = TextEncoder.from_spec(json.loads(json.dumps(encoder.spec(), default=str))).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(tokens, mask).pooled, features.pooled)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_a_text_model_that_does_not_read_both_ways_is_refused(kind: str, tmp_path: Path) -> None:
    """The first token of a GPT-2 sees nothing of the text."""
    small = {
        "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 1},
        "t5": {"d_model": 16, "num_layers": 1, "d_ff": 16},
    }
    AutoConfig.for_model(kind, vocab_size=300, **small[kind]).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=rf"is a {kind}, not a text encoder that is known here: albert, "):
        TextEncoder.build(TextEncoderConfig(pretrained=str(tmp_path), max_tokens=8), vocabulary_size=300)


def test_a_pretrained_text_folder_is_read(tmp_path: Path) -> None:
    source = small_text("bert").eval()
    source.backbone.save_pretrained(tmp_path / "bert")
    config = TextEncoderConfig(pretrained=str(tmp_path / "bert"), max_tokens=8)
    encoder = TextEncoder.build(config, vocabulary_size=300).eval()
    tokens, mask = torch.randint(4, 300, (2, 7)), torch.ones(2, 7, dtype=torch.bool)
    torch.testing.assert_close(encoder(tokens, mask).pooled, source(tokens, mask).pooled)
    TextEncoder.from_spec(encoder.spec()).load_state_dict(encoder.state_dict())
    with pytest.raises(ConfigError, match="301 entries"):
        TextEncoder.build(config, vocabulary_size=301)


def save_sentence_model(folder: Path, pooling: dict[str, Any] | None, *modules: str) -> None:
    """A small BERT as sentence-transformers stores it: a pooling, and further modules."""
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 64}
    AutoModel.from_config(AutoConfig.for_model("bert", vocab_size=300, **sizes)).save_pretrained(folder)
    names = ["Transformer", "Pooling", *modules]
    paths = ["", *(f"{place}_{name}" for place, name in enumerate(names[1:], 1))]
    entries = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{name}"}
        for place, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    if pooling is not None:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(
            json.dumps({"word_embedding_dimension": 32} | pooling)
        )


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("mode", ["cls_token", "mean_tokens", "max_tokens", "lasttoken", "mean"])
def test_the_pooling_of_a_sentence_model_is_read(mode: str, normalize: bool, tmp_path: Path) -> None:
    modes = ("cls_token", "mean_tokens", "max_tokens", "lasttoken")
    older = {f"pooling_mode_{each}": each == mode for each in modes}
    pooling = {"pooling_mode": "mean"} if mode == "mean" else older
    save_sentence_model(tmp_path, pooling, *(["Normalize"] if normalize else []))
    config = TextEncoderConfig(pretrained=str(tmp_path), max_tokens=8)
    encoder = TextEncoder.build(config, vocabulary_size=300).eval()
    tokens = torch.randint(4, 300, (2, 7))
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    found, states = encoder(tokens, mask)
    for row, length in enumerate((7, 4)):
        real = AutoModel.from_pretrained(tmp_path).eval()(tokens[row : row + 1, :length]).last_hidden_state[0]
        torch.testing.assert_close(states[row, :length], real)
        expected = {
            "cls_token": real[0],
            "mean_tokens": real.mean(dim=0),
            "mean": real.mean(dim=0),
            "max_tokens": real.amax(dim=0),
            "lasttoken": real[-1],
        }[mode]
        torch.testing.assert_close(found[row], expected / expected.norm() if normalize else expected)
    again = TextEncoder.from_spec(encoder.spec()).eval()
    again.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(again(tokens, mask).pooled, found)


def test_the_load_report_of_a_library_is_no_part_of_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_sentence_model(tmp_path, {"pooling_mode": "mean"})  # its pooler is not read, which would be reported
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    capfd.readouterr()
    try:
        AutoModel.from_pretrained(tmp_path, add_pooling_layer=False)
        assert any("LOAD REPORT" in record.getMessage() for record in records)
        assert "Loading weights" in capfd.readouterr().err
        records.clear()
        config = TextEncoderConfig(pretrained=str(tmp_path), max_tokens=8)
        TextEncoder.build(config, vocabulary_size=300)
    finally:
        logger.removeHandler(handler)
    assert not records
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("pooling", "modules", "message"),
    [
        (
            {"pooling_mode_weightedmean_tokens": True},
            (),
            "pools tokens by weightedmean_tokens; expected cls,",
        ),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True},
            (),
            "pools tokens by cls_token and max_tokens",
        ),
        ({"pooling_mode_cls_token": True}, ("Dense",), "model with Dense, which is not supported"),
    ],
)
def test_a_sentence_model_of_another_kind_is_refused(
    pooling: dict[str, Any], modules: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    save_sentence_model(tmp_path, pooling, *modules)
    with pytest.raises(ConfigError, match=message):
        TextEncoder.build(TextEncoderConfig(pretrained=str(tmp_path), max_tokens=8), vocabulary_size=300)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_texts_longer_than_a_pretrained_encoder_reads_are_refused(kind: str, tmp_path: Path) -> None:
    """Not by an IndexError once the first long text is drawn."""
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 64}
    made = AutoConfig.for_model(kind, vocab_size=300, max_position_embeddings=20, pad_token_id=1, **sizes)
    AutoModel.from_config(made).save_pretrained(tmp_path / kind)
    most = 20 if kind == "bert" else 18
    tokens, mask = torch.full((1, most), 5), torch.ones(1, most, dtype=torch.bool)
    config = TextEncoderConfig(pretrained=str(tmp_path / kind), max_tokens=most)
    assert TextEncoder.build(config, vocabulary_size=300)(tokens, mask).tokens.shape == (1, most, 32)
    with pytest.raises(ConfigError, match=f"reads {most} at most; give --text.max-tokens {most}"):
        TextEncoder.build(dataclasses.replace(config, max_tokens=most + 1), vocabulary_size=300)


@pytest.mark.parametrize(
    ("depth", "layers", "millions"),
    [(8, 8, 1.2), (10, 10, 4.9), (18, 18, 11.2), (34, 34, 21.3), (50, 50, 23.5)],
)
def test_a_resnet_has_the_layers_that_it_is_called_after(depth: int, layers: int, millions: float) -> None:
    """Weights without the classifier, as in table 1 of its paper; shortcuts are not counted as layers."""
    config = ImageEncoderConfig(architecture="resnet", image_size=128, width=64, depth=depth)
    with torch.device("meta"):
        encoder = ImageEncoder.build(config)
    maps = [
        name for name, one in encoder.named_modules() if isinstance(one, nn.Conv2d) and "shortcut" not in name
    ]
    assert len(maps) + 1 == layers  # and the classifier
    assert sum(weight.numel() for weight in encoder.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(
    "bad",
    [
        {"image_size": 4},
        {"image_size": 64, "patch_size": 7},
        {"dropout": 1.0},
        {"architecture": "resnet", "depth": 3},
        {"architecture": "resnet", "heads": 3},
        {"architecture": "convnext", "depth": 18},
    ],
)
def test_bad_options_name_themselves(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"image\."):
        ImageEncoderConfig(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["whole", "causal", "padded"])
def test_plain_attention_is_attention(kind: str) -> None:
    """Against PyTorch's, in float64, values and gradients."""
    shape = (2, 3, 5, 4)
    query, key, value = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = None
    if kind == "padded":
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]], dtype=torch.bool)[:, None, None, :]
    bias = _bias(mask, query, key, kind == "causal")
    ours = _Attention.apply(query, key, value, bias, 0.5, 0.0)
    theirs = F.scaled_dot_product_attention(query, key, value, mask, is_causal=kind == "causal")
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(shape, dtype=torch.float64)
    for mine, other in zip(
        torch.autograd.grad((ours * weight).sum(), (query, key, value)),
        torch.autograd.grad((theirs * weight).sum(), (query, key, value)),
        strict=True,
    ):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_plain_attention_drops_weights_and_scales_the_rest_up(share: float) -> None:
    """Against autograd on the same formula and the same draws, in float64, through views as heads are."""
    generator = torch.Generator().manual_seed(0)
    joint = torch.randn(2, 5, 3 * 12, dtype=torch.float64, generator=generator, requires_grad=True)
    heads = [part.unflatten(2, (3, 4)).transpose(1, 2) for part in joint.chunk(3, dim=2)]
    weight = torch.randn(2, 3, 5, 4, dtype=torch.float64, generator=generator)
    torch.manual_seed(1)
    ours = _Attention.apply(*heads, None, 0.5, share)
    torch.manual_seed(1)
    kept, upscale = draw_mask(torch.Size((2, 3, 5, 5)), share)
    assert upscale == pytest.approx(1 / (1 - share) if share < 1 else 1)
    query, key, value = heads
    theirs = ((0.5 * query @ key.transpose(-1, -2)).softmax(dim=-1) * kept * upscale) @ value
    torch.testing.assert_close(ours, theirs)
    mine, other = (torch.autograd.grad((found * weight).sum(), joint)[0] for found in (ours, theirs))
    torch.testing.assert_close(mine, other)


def test_attention_with_dropout_keeps_less_than_pytorchs_on_processors() -> None:
    query, key, value = (torch.randn(4, 3, 32, 16, requires_grad=True) for _ in range(3))
    ours = kept_bytes(lambda: attention(torch.nn.Identity(), query, key, value, None, dropout=0.1))
    assert ours == 3 * query.nbytes + 4 * 3 * 32 * 32 * (4 + 1)
    assert ours < kept_bytes(lambda: F.scaled_dot_product_attention(query, key, value, dropout_p=0.1))


def test_bfloat16_on_a_processor_is_close_to_float32() -> None:
    encoder = ImageEncoder.build(IMAGE_CONFIGS[0]).eval()
    pixels = torch.randn(4, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(pixels).pooled.float()
    assert F.cosine_similarity(half, encoder(pixels).pooled).min() > 0.999


@pytest.mark.parametrize("kind", ["dinov2", "clip_vision_model", "siglip_vision_model", "beit"])
def test_weights_that_no_feature_depends_on_do_not_wait_for_a_gradient(kind: str, tmp_path: Path) -> None:
    """Replicas wait for the gradient of every weight; a mask token or an unread head never gets one."""
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    source = AutoModel.from_config(AutoConfig.for_model(kind, image_size=28, patch_size=14, **small))
    source.save_pretrained(tmp_path / kind)
    encoder = ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path / kind), image_size=28))
    sum(features.sum() for features in encoder(torch.randn(2, 3, 28, 28))).backward()
    frozen = [name for name, weight in encoder.named_parameters() if not weight.requires_grad]
    assert bool(frozen) == (kind == "dinov2")  # all of the others' weights are read
    assert all(weight.grad is not None for weight in encoder.parameters() if weight.requires_grad)


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_pretrained_weights_become_float32(tmp_path: Path, stored: torch.dtype) -> None:
    """However they were stored: transformers would take over the file's type."""
    image = ImageEncoder.build(ImageEncoderConfig(image_size=32, width=32, depth=1))
    text_config = TextEncoderConfig(architecture="bert", width=32, depth=1)
    text = TextEncoder.build(text_config, vocabulary_size=300)
    image.backbone.to(stored).save_pretrained(tmp_path / "vit")
    text.backbone.to(stored).save_pretrained(tmp_path / "bert")
    loaded = [
        ImageEncoder.build(ImageEncoderConfig(pretrained=str(tmp_path / "vit"), image_size=32)),
        TextEncoder.build(
            TextEncoderConfig(pretrained=str(tmp_path / "bert"), max_tokens=8), vocabulary_size=300
        ),
    ]
    for encoder in loaded:
        assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}
        again = type(encoder).from_spec(json.loads(json.dumps(encoder.spec(), default=str)))
        assert {weight.dtype for weight in again.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "option", [{"patch_size": 4}, {"dropout": 0.1}, {"heads": 2}, {"stem": "convolutions"}]
)
@pytest.mark.parametrize("architecture", ["resnet", "convnext"])
def test_options_of_a_vit_are_refused_for_other_networks(option: dict[str, Any], architecture: Any) -> None:
    with pytest.raises(
        ConfigError, match=rf"{flag('image', next(iter(option)))} is for a ViT alone; a {architecture}"
    ):
        ImageEncoderConfig(architecture=architecture, **option)
