"""Decoders: from an image to a sentence, one token at a time."""

from __future__ import annotations

from typing import Any

from likewise.encoders.decoders.base import Decoder, DecoderConfig, DecoderOutput, DecoderState, Memory
from likewise.encoders.decoders.recurrent import AttendingDecoder, PlainRecurrentDecoder
from likewise.encoders.decoders.transformer import TransformerDecoder

__all__ = [
    "Decoder",
    "DecoderConfig",
    "DecoderOutput",
    "DecoderState",
    "Memory",
    "build_decoder",
    "decoder_from_spec",
]


def build_decoder(config: DecoderConfig, **sizes: Any) -> Decoder:
    """A decoder of the family that `config` names, with fresh weights; `sizes` as of `Decoder`."""
    kind: type[Decoder] = TransformerDecoder
    if config.architecture != "transformer":
        kind = AttendingDecoder if config.attention else PlainRecurrentDecoder
    return kind(config, **sizes)


def decoder_from_spec(spec: dict[str, Any]) -> Decoder:
    """The inverse of `Decoder.spec`, with fresh weights."""
    sizes = {name: value for name, value in spec.items() if name != "config"}
    return build_decoder(DecoderConfig(**spec["config"]), **sizes)
