"""Audio encoders: the log-mel spectrogram of a sound as an image of one channel, into a ViT or a ResNet.

Dimensions: B batch, L samples of a stored sound, M mel bands, F frames, N patches or cells, D width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from likewise.data.audio.sound_format import SoundFormat
from likewise.encoders.audio.pretrained import AUDIO_MODELS, load_audio_model, read_front
from likewise.encoders.backbone_spec import check_choice, check_size, config_from_spec, shown
from likewise.encoders.image import ImageEncoder, ImageFeatures
from likewise.encoders.image_backbones import ImageEncoderConfig, backbone_config
from likewise.encoders.pretrained import without_pooler
from likewise.encoders.shared_options import check_sizes
from likewise.encoders.unused_weights import freeze_unused
from likewise.errors import ConfigError, ModelError
from likewise.messages import flag
from likewise.step_random import StepRandom
from likewise.views import LogMel, SoundViewConfig, random_sound_view, whole_sound_view

__all__ = ["AudioEncoder", "AudioEncoderConfig", "stored_form"]

_MEAN, _STD = -8.0, 3.5  # of log-mels of sounds with some silence
_LONGEST_SECONDS = 120.0
_LARGEST_RATE = 192_000


@dataclass(frozen=True, kw_only=True)
class AudioEncoderConfig:
    """The audio encoder."""

    architecture: Literal["vit", "resnet"] = "resnet"
    """Family of the backbone."""

    preset: Literal["tiny", "small", "base"] = "tiny"
    """Size: vit 192x6, 384x12, 768x12 (width x layers); resnet ResNet-18 of half width, ResNet-18,
    ResNet-50."""

    pretrained: str | None = None
    """A pre-trained AST or CLAP to start from: a local folder or a name on the Hugging Face hub. Its size,
    rate, length and spectrogram override the other options."""

    sample_rate: int = 16_000
    """Samples a second; sounds are resampled to it."""

    seconds: float = 3.0
    """Length of the sounds that the encoder takes."""

    mels: int = 64
    """Bands of the spectrogram."""

    window_ms: float = 40.0
    """Length of a frame in milliseconds."""

    hop_ms: float = 20.0
    """Milliseconds from one frame to the next."""

    patch_size: int | None = None
    """Side of a ViT's patch in bands and frames; 16 by default."""

    width: int | None = None
    """Overrides the preset's width (a ViT's, or the first stage's of a ResNet)."""

    depth: int | None = None
    """Overrides the preset's number of layers: any of a ViT, 10, 18, 34, 50, 101 or 152 of a ResNet."""

    heads: int | None = None
    """Overrides the preset's number of attention heads (ViT only); by default one for every 64 of width."""

    pooling: Literal["mean", "cls"] = "mean"
    """The sound's vector: the mean of a ViT's patches or its [CLS]. A pre-trained model uses its own, a
    ResNet the mean."""

    dropout: float = 0.0
    """Dropout of a ViT, in [0, 1); a pre-trained one keeps its own."""

    def __post_init__(self) -> None:
        """Reject values that cannot work."""
        check_sizes(self, "audio", "mels", "patch_size", "width", "depth", "heads")
        bounds = {
            "sample_rate": (1000, _LARGEST_RATE),
            "seconds": (0.1, _LONGEST_SECONDS),
            "mels": (8, 512),
            "window_ms": (2.0, 1000.0),
            "hop_ms": (1.0, 1000.0),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"{flag('audio', name)} is {getattr(self, name)}; expected {low:,} to {high:,}."
                )
        if self.window_ms > 1000 * self.seconds:
            raise ConfigError(
                f"--audio.window-ms {self.window_ms:g} is longer than --audio.seconds {self.seconds:g}."
            )
        for name in ("heads", "patch_size", "dropout"):
            if self.architecture != "vit" and getattr(self, name):
                raise ConfigError(f"{flag('audio', name)} is for a ViT alone; a resnet has none.")
        front = self.front()
        patch = self.patch_size or 16
        frames = front.num_frames(round(self.seconds * self.sample_rate))
        if self.pretrained is None and self.architecture == "vit" and patch > min(self.mels, frames):
            raise ConfigError(
                f"patches of {patch} do not fit a spectrogram of {self.mels} bands and {frames} frames; "
                "lower --audio.patch-size."
            )

    def front(self) -> LogMel:
        """The spectrogram that these options ask for."""
        window, hop = (max(1, round(ms * self.sample_rate / 1000)) for ms in (self.window_ms, self.hop_ms))
        fft = 1 << max(0, window - 1).bit_length()
        return LogMel(rate=self.sample_rate, window=window, hop=hop, fft=fft, mels=self.mels)


def stored_form(config: AudioEncoderConfig) -> SoundFormat:
    """Rate and length of the sounds that an encoder of these options takes.

    Raises:
        ConfigError: the pre-trained model cannot be read.
    """
    if config.pretrained is None:
        return SoundFormat(rate=config.sample_rate, seconds=config.seconds)
    front = read_front(config.pretrained)
    return SoundFormat(rate=front.settings.rate, seconds=front.seconds)


class AudioEncoder(ImageEncoder):
    """A backbone of transformers that takes log-mel spectrograms, with its pooling.

    Args:
        backbone: the transformers model.
        settings: of the spectrogram.
        seconds: length of its sounds.
        pooling: see `ImageEncoder`.
        mean: of a spectrogram.
        std: its deviation.
    """

    column = "audio"

    def __init__(
        self,
        backbone: Any,
        *,
        settings: LogMel,
        seconds: float,
        pooling: str = "mean",
        mean: float = _MEAN,
        std: float = _STD,
    ) -> None:
        super().__init__(backbone, image_size=settings.mels, pooling=pooling, mean=(mean,), std=(std,))
        self.settings = settings
        self.form = SoundFormat(rate=settings.rate, seconds=seconds)
        self.kind: str = backbone.config.model_type

    @classmethod
    def of_options(cls, config: AudioEncoderConfig) -> AudioEncoder:
        """A new or a pre-trained encoder.

        Raises:
            ConfigError: the pre-trained model cannot be loaded, or is no AST or CLAP.
        """
        if config.pretrained is not None:
            backbone, front = load_audio_model(config.pretrained)
            encoder = cls(
                backbone,
                settings=front.settings,
                seconds=front.seconds,
                pooling="cls",
                mean=front.mean,
                std=front.std,
            )
        else:
            encoder = cls(
                _backbone(_new_config(config)),
                settings=config.front(),
                seconds=config.seconds,
                pooling=config.pooling,
            )
        encoder.freeze_unused()
        return encoder

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs, as JSON; no hub is asked again."""
        return {
            "column": self.column,
            "backbone": self.backbone.config.to_dict(),
            "settings": asdict(self.settings),
            "seconds": self.form.seconds,
            "pooling": self.pooling,
            "mean": self.mean[0],
            "std": self.std[0],
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> AudioEncoder:
        """The inverse of `spec`, with fresh weights."""
        check_choice("pooling", spec["pooling"], ("mean", "cls"))
        settings = _checked_settings(spec["settings"])
        for name, most in (("seconds", _LONGEST_SECONDS), ("mean", 1e3), ("std", 1e3)):
            number = spec[name]
            if not isinstance(number, (int, float)) or isinstance(number, bool) or not abs(number) <= most:
                raise ModelError(f"{name} is {shown(number)}; expected a number up to {most:g}")
        if not spec["std"] > 0 or spec["seconds"] * settings.rate < settings.window:
            raise ModelError(f"std {shown(spec['std'])} or seconds {shown(spec['seconds'])} is too small")
        config = config_from_spec(spec["backbone"], known=AUDIO_MODELS)
        options = {name: spec[name] for name in ("seconds", "pooling", "mean", "std")}
        return cls(_backbone(config), settings=settings, **options)

    def resize(self, image_size: int) -> None:
        """A trained encoder keeps the length of its sounds."""

    def freeze_unused(self) -> None:
        """Freeze weights that no feature depends on."""
        frames = self.settings.num_frames(self.form.length)
        freeze_unused(self, torch.zeros(1, 1, self.settings.mels, frames))

    def whole_view(self, stored: Tensor) -> Tensor:
        """(B, L) int16 waves to the (B, 1, M, F) spectrograms that `forward` takes, without randomness."""
        return whole_sound_view(
            stored, length=self.form.length, settings=self.settings, mean=self.mean, std=self.std
        )

    def random_view(
        self, stored: Tensor, config: SoundViewConfig, draw: StepRandom, key: Tensor, view: int
    ) -> Tensor:
        """(B, L) int16 waves with (B,) keys (`Batch.key`) to random view number `view`, (B, 1, M, F)."""
        return random_sound_view(
            stored,
            length=self.form.length,
            settings=self.settings,
            config=config,
            draw=draw,
            index=key,
            view=view,
            mean=self.mean,
            std=self.std,
        )

    def forward(self, pixels: Tensor) -> ImageFeatures:
        """Encode spectrograms.

        Args:
            pixels: (B, 1, M, F) float, normalized.

        Returns:
            The pooled vectors and one per patch or cell, neither of unit length.
        """
        if self.kind == "audio-spectrogram-transformer":
            output = self.backbone(pixels[:, 0].transpose(1, 2))  # of (B, F, M)
            tokens = output.last_hidden_state[:, self.num_prefix_tokens :]
            return ImageFeatures(output.pooler_output, tokens)
        if self.kind == "clap_audio_model":
            pixels = pixels.transpose(2, 3)  # (B, 1, F, M)
        return super().forward(pixels)


def _new_config(config: AudioEncoderConfig) -> Any:
    """The transformers configuration of our options: that of an image encoder, of one channel."""
    patch = config.patch_size or 16 if config.architecture == "vit" else None
    made = backbone_config(
        ImageEncoderConfig(
            architecture=config.architecture,
            preset=config.preset,
            image_size=1024 if patch is None else 8 * patch,
            patch_size=patch,
            width=config.width,
            depth=config.depth,
            heads=config.heads,
            pooling=config.pooling,
            dropout=config.dropout,
        )
    )
    made.num_channels = 1
    if config.architecture == "vit":
        made.image_size = (config.mels, config.front().num_frames(round(config.seconds * config.sample_rate)))
    return made


def _backbone(config: Any) -> Any:
    from transformers import AutoModel

    if config.model_type == "clap_audio_model":
        from transformers import ClapAudioModel

        return ClapAudioModel(config)
    return AutoModel.from_config(config, **without_pooler(config))


def _checked_settings(values: Any) -> LogMel:
    """The spectrogram of a spec, which may be a stranger's."""
    if not isinstance(values, dict) or values.keys() != asdict(LogMel()).keys():
        raise ModelError(f"the spectrogram's settings are {shown(values)}; expected those of LogMel")
    for name in ("rate", "window", "hop", "fft", "mels"):
        check_size(name, values[name], most=_LARGEST_RATE if name == "rate" else 1 << 16)
    check_choice("scale", values["scale"], ("htk", "kaldi", "slaney"))
    for name in ("equal_area", "centered", "periodic", "without_offset", "decibels"):
        check_choice(name, values[name], (True, False))
    highest = values["rate"] / 2 if values["high"] is None else values["high"]
    numbers = (values["low"], highest, values["preemphasis"], values["floor"])
    if not all(isinstance(number, (int, float)) and 0 <= number <= _LARGEST_RATE for number in numbers):
        raise ModelError(f"the spectrogram's settings are {shown(values)}; expected numbers from 0")
    if not values["low"] < highest or values["floor"] <= 0 or values["fft"] < values["window"]:
        raise ModelError(f"the spectrogram's settings are {shown(values)}, which contradict one another")
    return LogMel(**values)
