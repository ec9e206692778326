"""Pre-trained audio models of transformers, AST and CLAP, with the spectrograms that they were trained on."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from likewise.encoders.pretrained import cannot_load, load_backbone, load_config, quiet_loading
from likewise.errors import ConfigError
from likewise.views import LogMel

__all__ = ["AUDIO_MODELS", "Front", "load_audio_model", "read_front"]

AUDIO_MODELS = ("audio-spectrogram-transformer", "clap_audio_model", "resnet", "vit")
"""Model types of audio encoders."""

_PRETRAINED = ("audio-spectrogram-transformer", "clap", "clap_audio_model")


class Front(NamedTuple):
    """What stands before a pre-trained model.

    Attributes:
        settings: of its spectrogram.
        seconds: length of its sounds.
        mean: subtracted from the spectrogram.
        std: divides it.
    """

    settings: LogMel
    seconds: float
    mean: float = 0.0
    std: float = 1.0


def load_audio_model(name: str) -> tuple[Any, Front]:
    """A pre-trained model by hub name or folder, and what stands before it.

    Raises:
        ConfigError: it cannot be loaded, or is no AST or CLAP.
    """
    config = load_config(name, section="audio", known=_PRETRAINED)
    audio = getattr(config, "audio_config", config)
    if getattr(audio, "enable_fusion", False):
        raise ConfigError(
            f"--audio.pretrained: {name!r} is a CLAP that fuses several pieces of a sound; use an unfused "
            "one."
        )
    front = _front(name, audio)
    if config.model_type != "clap":
        return load_backbone(name, config, section="audio"), front
    from transformers import ClapModel

    try:
        with quiet_loading():
            return ClapModel.from_pretrained(name, dtype=torch.float32).audio_model, front
    except (OSError, ValueError, ImportError) as error:
        raise cannot_load(name, "audio", error) from error


def read_front(name: str) -> Front:
    """What stands before a pre-trained model. Raises ConfigError: see `load_audio_model`."""
    config = load_config(name, section="audio", known=_PRETRAINED)
    return _front(name, getattr(config, "audio_config", config))


def _front(name: str, config: Any) -> Front:
    """From preprocessor_config.json, and the published models' values where it says nothing."""
    from transformers.feature_extraction_utils import FeatureExtractionMixin

    try:
        said, _ = FeatureExtractionMixin.get_feature_extractor_dict(name)
    except (OSError, ValueError):  # folders without preprocessor_config.json are common
        said = {}
    if config.model_type == "audio-spectrogram-transformer":
        return _front_of_ast(said, config)
    return _front_of_clap(said, config)


def _front_of_ast(said: dict[str, Any], config: Any) -> Front:
    """Kaldi's filter bank (Gong 2021, arXiv 2104.01778). The published code pads spectrograms, we the sound:
    what follows a shorter sound is the logarithm of silence instead of 0."""
    rate = int(said.get("sampling_rate", 16_000))
    settings = LogMel(
        rate=rate,
        window=round(0.025 * rate),
        hop=round(0.010 * rate),
        fft=1 << (round(0.025 * rate) - 1).bit_length(),
        mels=config.num_mel_bins,
        low=20.0,
        scale="kaldi",
        centered=False,
        periodic=False,
        without_offset=True,
        preemphasis=0.97,
        floor=1.192092955078125e-07,
    )
    samples = (config.max_length - 1) * settings.hop + settings.window
    normalized = said.get("do_normalize", True)
    mean, std = float(said.get("mean", -4.2677393)), 2 * float(said.get("std", 4.5689974))
    return Front(settings, samples / rate, *((mean, std) if normalized else (0.0, 1.0)))


def _front_of_clap(said: dict[str, Any], config: Any) -> Front:
    """Decibels of Slaney's bands (Wu 2022, arXiv 2211.06687); the network normalizes them itself."""
    rate = int(said.get("sampling_rate", 48_000))
    fused = said.get("truncation", "rand_trunc") == "fusion"
    settings = LogMel(
        rate=rate,
        window=int(said.get("fft_window_size", 1024)),
        hop=int(said.get("hop_length", 480)),
        fft=int(said.get("fft_window_size", 1024)),
        mels=config.num_mel_bins,
        low=float(said.get("frequency_min", 0)),
        high=float(said.get("frequency_max", 14_000)),
        scale="htk" if fused else "slaney",
        equal_area=not fused,
        decibels=True,
        floor=1e-10,
    )
    return Front(settings, float(said.get("max_length_s", 10)))
