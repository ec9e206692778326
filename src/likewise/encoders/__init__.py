"""Encoders: image, audio, text and their heads, on Hugging Face transformers' backbones."""

from likewise.encoders.audio.encoder import AudioEncoder, AudioEncoderConfig
from likewise.encoders.image import ImageEncoder, ImageEncoderConfig, ImageFeatures
from likewise.encoders.text import TextEncoder, TextEncoderConfig, TextFeatures

__all__ = [
    "AudioEncoder",
    "AudioEncoderConfig",
    "ImageEncoder",
    "ImageEncoderConfig",
    "ImageFeatures",
    "TextEncoder",
    "TextEncoderConfig",
    "TextFeatures",
]
