"""A fusion encoder: the upper half of a BERT, whose layers also look at a picture.

Dimensions: P pairs, L tokens, N image tokens (the pooled one first, then one a patch), D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.encoders.attention import register_attention
from likewise.encoders.text import TextEncoder
from likewise.errors import ConfigError

__all__ = ["FusionEncoder", "LanguageHead", "cut_fusion"]


class FusionEncoder(nn.Module):
    """Transformer layers of words that attend to the words of their text and to all tokens of an image.

    Args:
        config: a BertConfig; `num_hidden_layers` of it are built.
        image_dim: width of the image's tokens; a linear map brings them to the text's where they differ.
    """

    def __init__(self, config: Any, *, image_dim: int) -> None:
        super().__init__()
        from transformers.models.bert.modeling_bert import BertLayer

        self.config = _with_cross_attention(config)
        self.layers = nn.ModuleList(
            BertLayer(self.config, layer_idx=place) for place in range(config.num_hidden_layers)
        )
        self.image_dim = image_dim
        same = image_dim == config.hidden_size
        self.bridge: nn.Module = nn.Identity() if same else nn.Linear(image_dim, config.hidden_size)
        for module in self.modules():
            if isinstance(module, nn.Linear):  # as BERT starts its own
                nn.init.normal_(module.weight, std=config.initializer_range)
                nn.init.zeros_(module.bias)

    def forward(self, text_states: Tensor, mask: Tensor, image_states: Tensor) -> Tensor:
        """Fuse texts with pictures, pair by pair.

        Args:
            text_states: (P, L, D) of the text encoder.
            mask: (P, L) bool, True on real tokens.
            image_states: (P, N, D').

        Returns:
            (P, L, D); the first token stands for the pair.
        """
        states, seen = text_states, self.bridge(image_states)
        attention_mask = mask[:, None, None, :]  # (P, 1, 1, L), for all heads and queries
        if self.config._attn_implementation == "eager":  # which adds it to the logits
            least = torch.finfo(states.dtype).min
            attention_mask = torch.zeros_like(attention_mask, dtype=states.dtype).masked_fill(
                ~attention_mask, least
            )
        for layer in self.layers:
            states = layer(states, attention_mask, seen)
        return states

    @contextmanager
    def kept_attention(self, layer: int) -> Iterator[list[Tensor]]:
        """Within it, one layer's attention to the image, (P, H, L, N) with its graph, is put into a list."""
        kept: list[Tensor] = []
        attention: Any = self.layers[layer].crossattention
        fast, self.config._attn_implementation = self.config._attn_implementation, "eager"
        hook = attention.self.register_forward_hook(lambda module, given, made: kept.append(made[1]))
        try:
            yield kept
        finally:
            hook.remove()
            self.config._attn_implementation = fast

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs."""
        return {"config": self.config.to_dict(), "image_dim": self.image_dim}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> FusionEncoder:
        """The inverse of `spec`, with fresh weights."""
        from transformers import BertConfig

        values = {name: value for name, value in spec["config"].items() if name != "model_type"}
        return cls(BertConfig(**values), image_dim=spec["image_dim"])


def _with_cross_attention(config: Any) -> Any:
    """The same layers with cross-attention, which transformers offers to decoders only."""
    from transformers import BertConfig

    values = config.to_dict() | {"is_decoder": True, "add_cross_attention": True}
    changed = BertConfig(**{name: value for name, value in values.items() if name != "model_type"})
    changed._attn_implementation = register_attention()
    return changed


def cut_fusion(text: TextEncoder, *, depth: int | None, image_dim: int) -> FusionEncoder:
    """Take the upper layers of a BERT away and make a fusion encoder of them; cross-attention starts anew.

    Args:
        text: loses those layers.
        depth: how many; half of them when None, as in the paper.
        image_dim: width of the image's tokens.

    Raises:
        ConfigError: the text encoder is no BERT, or has too few layers.
    """
    if text.backbone.config.model_type != "bert":
        raise ConfigError(
            "a fusion encoder is cut from a BERT, and the text encoder is a "
            f"{text.backbone.config.model_type}; use --text.architecture bert, or name a BERT as "
            "--text.pretrained."
        )
    layers = text.backbone.encoder.layer
    depth = len(layers) // 2 if depth is None else depth
    if not 1 <= depth < len(layers):
        raise ConfigError(
            f"method.fusion_depth {depth}: of the text encoder's {len(layers)} layers at least one must stay "
            "and one be cut; see --text.depth."
        )
    config = type(text.backbone.config)(**(text.backbone.config.to_dict() | {"num_hidden_layers": depth}))
    fusion = FusionEncoder(config, image_dim=image_dim)
    for fused, taken in zip(fusion.layers, layers[-depth:], strict=True):
        missing = fused.load_state_dict(taken.state_dict(), strict=False).missing_keys
        assert all(name.startswith("crossattention") for name in missing)
    text.backbone.encoder.layer = layers[:-depth]
    text.backbone.config.num_hidden_layers -= depth
    return fusion


class LanguageHead(nn.Module):
    """BERT's head for hidden words; its last map is the word embedding itself (Devlin 2018, 1810.04805).

    Args:
        dim: D.
        vocabulary_size: V.
    """

    def __init__(self, dim: int, vocabulary_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.bias = nn.Parameter(torch.zeros(vocabulary_size))

    def forward(self, states: Tensor, word_embedding: Tensor) -> Tensor:
        """(M, D) states and the (V, D) embedding to (M, V) logits."""
        return F.linear(self.norm(F.gelu(self.transform(states))), word_embedding, self.bias)
