"""Audio encoders: shapes, their spec, pre-trained AST and CLAP, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sound_files import tone
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    ClapAudioConfig,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapTextConfig,
)

from likewise.encoders import AudioEncoder, AudioEncoderConfig, ImageEncoder
from likewise.encoders.audio.encoder import stored_form
from likewise.errors import ConfigError, ModelError

# transformers says it of AST's own bands.
pytestmark = pytest.mark.filterwarnings("ignore:At least one mel filter")

RESNET = AudioEncoderConfig(width=8, depth=10, seconds=1.0)
VIT = AudioEncoderConfig(architecture="vit", width=32, depth=2, heads=2, seconds=1.0, pooling="cls")


def waves(encoder: AudioEncoder, count: int = 3) -> torch.Tensor:
    form = encoder.form
    made = [tone(200.0 * (n + 1), rate=form.rate, seconds=form.seconds)[: form.length] for n in range(count)]
    return torch.from_numpy((np.stack(made) * 32767).astype(np.int16))


@pytest.mark.parametrize(("config", "cells", "dim"), [(RESNET, 4, 64), (VIT, 12, 32)])
def test_a_new_encoder_and_its_spec(config: AudioEncoderConfig, cells: int, dim: int) -> None:
    encoder = AudioEncoder.of_options(config).eval()
    pixels = encoder.whole_view(waves(encoder))
    assert pixels.shape == (3, 1, 64, 51)
    features = encoder(pixels)
    assert features.pooled.shape == (3, encoder.dim) == (3, dim)
    assert features.tokens.shape == (3, cells, dim)
    assert encoder.column == "audio"
    again = ImageEncoder.from_spec(encoder.spec()).eval()  # the class is found by the column
    assert isinstance(again, AudioEncoder)
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(again.whole_view(waves(again))).pooled, features.pooled)
    assert (again.settings, again.form) == (encoder.settings, encoder.form)


def test_gradients_reach_every_trainable_weight() -> None:
    encoder = AudioEncoder.of_options(VIT)
    encoder(encoder.whole_view(waves(encoder))).pooled.sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters() if weight.requires_grad)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"rate": 16_000}}, "spectrogram's settings"),
        ({"seconds": 1e9}, "seconds is"),
        ({"seconds": 0.0}, "too small"),
        ({"std": "a"}, "std is"),
        ({"pooling": "max"}, "pooling is"),
        ({"backbone": {"model_type": "bert"}}, "known are"),
    ],
)
def test_a_strange_spec_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        AudioEncoder.from_spec(AudioEncoder.of_options(RESNET).spec() | change)


@pytest.mark.parametrize("name", ["rate", "window", "fft", "hop", "low", "floor", "scale", "centered"])
def test_a_strange_spectrogram_is_refused(name: str) -> None:
    spec = AudioEncoder.of_options(RESNET).spec()
    with pytest.raises(ModelError):
        AudioEncoder.from_spec(spec | {"settings": spec["settings"] | {name: -1}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"sample_rate": 10},
        {"seconds": 0.0},
        {"mels": 4},
        {"hop_ms": 0.1},
        {"window_ms": 900.0, "seconds": 0.5},
        {"architecture": "resnet", "heads": 3},
        {"architecture": "vit", "patch_size": 100},
        {"dropout": 1.0},
        {"width": 0},
    ],
)
def test_wrong_options(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="--audio"):
        AudioEncoderConfig(**wrong)


@pytest.fixture(scope="module")
def ast_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ast")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    ASTModel(ASTConfig(**sizes, max_length=64)).save_pretrained(folder)
    ASTFeatureExtractor(max_length=64, mean=-4.0, std=4.0).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clap")
    audio = ClapAudioConfig(
        spec_size=128, patch_embeds_hidden_size=16, hidden_size=32, depths=[1, 1], num_attention_heads=[2, 2],
        num_hidden_layers=2, window_size=4, num_mel_bins=64,
    )  # fmt: skip
    text = ClapTextConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    torch.manual_seed(0)
    model = ClapModel(ClapConfig(text_config=text.to_dict(), audio_config=audio.to_dict()))
    model.save_pretrained(folder)
    ClapFeatureExtractor(truncation="rand_trunc", max_length_s=2).save_pretrained(folder)
    return folder


def test_ast_gives_what_transformers_gives(ast_folder: Path) -> None:
    config = AudioEncoderConfig(pretrained=str(ast_folder))
    encoder = AudioEncoder.of_options(config).eval()
    form = stored_form(config)
    assert (form.rate, form.length) == (16_000, 63 * 160 + 400)
    stored = waves(encoder, 2)
    extractor = ASTFeatureExtractor.from_pretrained(ast_folder)
    made = extractor(list(stored.numpy() / np.float32(32767)), sampling_rate=16_000, return_tensors="pt")
    plain = ASTModel.from_pretrained(ast_folder).eval()
    with torch.no_grad():
        expected = plain(**made)
        found = encoder(encoder.whole_view(stored))
    torch.testing.assert_close(found.pooled, expected.pooler_output, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found.tokens, expected.last_hidden_state[:, 2:], atol=1e-3, rtol=1e-3)
    again = ImageEncoder.from_spec(encoder.spec()).eval()
    again.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        assert torch.equal(again(again.whole_view(stored)).pooled, found.pooled)


def test_clap_gives_what_transformers_gives(clap_folder: Path) -> None:
    encoder = AudioEncoder.of_options(AudioEncoderConfig(pretrained=str(clap_folder))).eval()
    assert (encoder.form.rate, encoder.form.seconds) == (48_000, 2)
    stored = waves(encoder, 2)
    extractor = ClapFeatureExtractor.from_pretrained(clap_folder)
    made = extractor(list(stored.numpy() / np.float32(32767)), sampling_rate=48_000, return_tensors="pt")
    plain = ClapModel.from_pretrained(clap_folder).audio_model.eval()
    with torch.no_grad():
        expected = plain(made["input_features"])
        found = encoder(encoder.whole_view(stored))
    torch.testing.assert_close(found.pooled, expected.pooler_output, atol=1e-4, rtol=1e-3)
    again = ImageEncoder.from_spec(encoder.spec()).eval()
    again.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        assert torch.equal(again(again.whole_view(stored)).pooled, found.pooled)


def test_pretrained_models_that_cannot_be_used(clap_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--audio.pretrained: cannot load .*there is no such folder"):
        stored_form(AudioEncoderConfig(pretrained=str(tmp_path / "none")))
    config = ClapConfig.from_pretrained(clap_folder)
    config.audio_config.enable_fusion = True
    config.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="use an unfused one"):
        AudioEncoder.of_options(AudioEncoderConfig(pretrained=str(tmp_path)))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(ConfigError, match="is a vit, not an audio encoder"):
        AudioEncoder.of_options(AudioEncoderConfig(pretrained=str(tmp_path)))
