"""A Transformer decoder that starts from a fusion encoder's layers, as the answer decoder of ALBEF and TCL.

Li et al. 2021, arXiv 2107.07651, section 4: the decoder has a layer for each fusion layer. Self-attention
(now causal), cross-attention and feed-forward parts keep their weights; the cross-attention reads fused
states, which are as wide as the image's tokens after the fusion encoder's bridge.

Dimensions: D width, L tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from likewise.encoders.decoders.base import DecoderConfig
from likewise.encoders.decoders.transformer import DecoderLayer, TransformerDecoder
from likewise.encoders.fusion import FusionEncoder
from likewise.encoders.text import TextEncoder
from likewise.errors import ConfigError

__all__ = ["decoder_like_fusion", "start_from_fusion"]


def decoder_like_fusion(
    fusion: FusionEncoder, *, vocabulary_size: int, max_tokens: int
) -> TransformerDecoder:
    """A decoder with as many and as wide layers as a fusion encoder, with fresh weights.

    Raises:
        ConfigError: the feed-forward parts are not 4 times as wide as the layers.
    """
    config = fusion.config
    if config.intermediate_size != 4 * config.hidden_size:
        raise ConfigError(
            "the answer decoder takes over layers of a BERT whose feed-forward part is 4 times as wide; this "
            f"one's is {config.intermediate_size}, for a width of {config.hidden_size}. Name another "
            "--text.pretrained."
        )
    options = DecoderConfig(
        width=config.hidden_size,
        depth=len(fusion.layers),
        heads=config.num_attention_heads,
        dropout=config.hidden_dropout_prob,
    )
    return TransformerDecoder(
        options,
        norm_first=False,
        norm_eps=config.layer_norm_eps,
        memory_dim=config.hidden_size,
        vocabulary_size=vocabulary_size,
        max_tokens=max_tokens,
    )


@torch.no_grad()
def start_from_fusion(decoder: TransformerDecoder, fusion: FusionEncoder, text: TextEncoder) -> None:
    """Give a decoder the weights of a fusion encoder's layers and of its text encoder's embeddings.

    Args:
        decoder: of `decoder_like_fusion`.
        fusion: its layers.
        text: its word embedding; of a BERT also positions and the norm after them.
    """
    words = text.backbone.get_input_embeddings().weight
    decoder.embedding.weight.copy_(words[: decoder.vocabulary_size])
    if text.backbone.config.model_type == "bert":
        below = text.backbone.embeddings
        count = min(decoder.max_tokens, len(below.position_embeddings.weight))
        kind = below.token_type_embeddings.weight[0]
        decoder.positions[:count] = below.position_embeddings.weight[:count] + kind
        decoder.norm.load_state_dict(below.LayerNorm.state_dict())
    for layer, fused in zip(decoder.layers, fusion.layers, strict=True):
        assert isinstance(layer, DecoderLayer)
        _copy_layer(layer, fused)


def _copy_layer(layer: DecoderLayer, fused: Any) -> None:
    """A BertLayer's weights."""
    own, cross = fused.attention, fused.crossattention
    _copy(layer.self_qkv, own.self.query, own.self.key, own.self.value)
    _copy(layer.cross_query, cross.self.query)
    _copy(layer.cross_kv, cross.self.key, cross.self.value)
    for ours, theirs in (
        (layer.self_output, own.output.dense),
        (layer.cross_output, cross.output.dense),
        (layer.widen, fused.intermediate.dense),
        (layer.narrow, fused.output.dense),
    ):
        _copy(ours, theirs)
    norms = own.output.LayerNorm, cross.output.LayerNorm, fused.output.LayerNorm
    for norm, theirs in zip(layer.norms, norms, strict=True):
        norm.load_state_dict(theirs.state_dict())


def _copy(linear: nn.Linear, *parts: nn.Linear) -> None:
    """Weights of several layers, one below the other."""
    joined: list[Tensor] = [torch.cat([getattr(part, name) for part in parts]) for name in ("weight", "bias")]
    linear.weight.copy_(joined[0])
    linear.bias.copy_(joined[1])
