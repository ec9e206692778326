"""Decoders: from an image to a sentence, one token at a time. `Decoder.build` makes one."""

from likewise.encoders.decoders.base import Decoder, DecoderConfig, DecoderOutput, DecoderState, Memory
from likewise.encoders.decoders.from_fusion import decoder_like_fusion, start_from_fusion
from likewise.encoders.decoders.generation import Candidates, Decoding, generate
from likewise.encoders.decoders.recurrent import AttendingDecoder, PlainRecurrentDecoder
from likewise.encoders.decoders.transformer import TransformerDecoder

__all__ = [
    "AttendingDecoder",
    "Candidates",
    "Decoder",
    "DecoderConfig",
    "DecoderOutput",
    "DecoderState",
    "Decoding",
    "Memory",
    "PlainRecurrentDecoder",
    "TransformerDecoder",
    "decoder_like_fusion",
    "generate",
    "start_from_fusion",
]
