"""Encoders of sounds as log-mel spectrograms, new or pre-trained."""

from likewise.encoders.audio.encoder import AudioEncoder, AudioEncoderConfig, stored_form

__all__ = ["AudioEncoder", "AudioEncoderConfig", "stored_form"]
