"""A fusion encoder: the upper half of a BERT, whose layers also attend to an image.

Dimensions: P pairs, M images, R images of a round, L tokens, N image tokens (the pooled one first, then one
per patch), D width, H heads of width E, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.encoders.backbone_spec import check_choice, check_size, config_from_spec
from likewise.encoders.fast.install import install_fast_layers
from likewise.encoders.image_backbones import sinusoidal_positions
from likewise.encoders.pairing import Pairing
from likewise.encoders.text import TextEncoder
from likewise.errors import ConfigError

__all__ = ["FusionEncoder", "attend_to_image", "cut_fusion", "feed_forward", "fusion_above"]


_GRID = 8  # cells along each side of the stored grid of positions


class FusionEncoder(nn.Module):
    """BERT layers whose tokens attend to the tokens of their text and to all tokens of an image.

    Args:
        config: a BertConfig; `num_hidden_layers` layers are built.
        image_dim: width of the image's tokens; a linear layer adapts them where it is not the text's.
        image_positions: a linear layer adds position embeddings to them, for image encoders whose tokens have
            none.
    """

    def __init__(self, config: Any, *, image_dim: int, image_positions: bool = False) -> None:
        super().__init__()
        from transformers.models.bert.modeling_bert import BertLayer

        # transformers offers cross-attention to decoders only.
        self.config = _changed(config, is_decoder=True, add_cross_attention=True)
        self.config._attn_implementation = "sdpa"
        self.layers = nn.ModuleList(
            BertLayer(self.config, layer_idx=place) for place in range(config.num_hidden_layers)
        )
        self.image_dim, self.image_positions = image_dim, image_positions
        self.bridge: nn.Module
        if image_positions:
            self.bridge = LinearWithPositions(image_dim, config.hidden_size)
        elif image_dim == config.hidden_size:
            self.bridge = nn.Identity()
        else:
            self.bridge = nn.Linear(image_dim, config.hidden_size)
        for module in self.modules():
            if isinstance(module, nn.Linear):  # BERT's initialization
                # Its 0.02 would make an image's tokens small beside their positions.
                placed = isinstance(module, LinearWithPositions)
                nn.init.normal_(module.weight, std=image_dim**-0.5 if placed else config.initializer_range)
                nn.init.zeros_(module.bias)
        install_fast_layers(self)

    def forward(
        self, text_states: Tensor, mask: Tensor, image_states: Tensor, pairing: Pairing | None = None
    ) -> Tensor:
        """Fuse texts with images, pair by pair.

        Args:
            text_states: (P, L, D) of the text encoder.
            mask: (P, L) bool, True on real tokens; each text's first counts as real.
            image_states: (M, N, D').
            pairing: the image of each text; one to one, so that M = P, when None.

        Returns:
            (P, L, D), zeros at padding; the first token stands for the pair.
        """
        images = (pairing or Pairing()).images(len(mask), mask.device)
        image_states, mask = self.bridge(image_states)[images], _with_first(mask)
        for layer in self.layers:
            text_states = layer(text_states, mask[:, None, None, :], image_states)
        return text_states * mask[:, :, None]

    def read(
        self,
        text_states: Tensor,
        mask: Tensor,
        image_states: Tensor,
        pairing: Pairing | None = None,
        *,
        last_round_whole: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """`forward`, of which most pairs need the first token alone.

        Args:
            text_states: (P, L, D).
            mask: (P, L).
            image_states: (M, N, D').
            pairing: as of `forward`.
            last_round_whole: return all tokens of the last round's texts.

        Returns:
            (P', D), the first tokens of the pairs; and (R, L, D), the last round, if wanted: P' leaves it out
            then, and is 0 if there is nothing else.
        """
        states = self(text_states, mask, image_states, pairing)
        if not last_round_whole:
            return states[:, 0], None
        R, end = (pairing or Pairing()).sizes(len(mask))
        return torch.cat([states[: end - R, 0], states[end:, 0]]), states[end - R : end]

    def with_attention(
        self, text_states: Tensor, mask: Tensor, image_states: Tensor, *, layer: int
    ) -> tuple[Tensor, Tensor]:
        """`forward`, one to one, with one layer's attention to the image.

        Args:
            text_states: (P, L, D).
            mask: (P, L).
            image_states: (P, N, D').
            layer: index of the layer, counted from the end when negative.

        Returns:
            (P, L, D) as of `forward`; and (P, H, L, N) attention weights, with their graph.
        """
        image_states, mask, weights = self.bridge(image_states), _with_first(mask), text_states
        for one in self.layers:
            if one is self.layers[layer]:
                text_states, weights = fuse_with_attention(one, text_states, mask, image_states)
            else:
                text_states = one(text_states, mask[:, None, None, :], image_states)
        return text_states * mask[:, :, None], weights

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs, as JSON."""
        return {
            "config": self.config.to_dict(),
            "image_dim": self.image_dim,
            "image_positions": self.image_positions,
        }

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> FusionEncoder:
        """The inverse of `spec`, with fresh weights."""
        check_size("image_dim", spec["image_dim"])
        positions = spec.get("image_positions", False)  # absent in older models
        check_choice("image_positions", positions, (False, True))
        config = config_from_spec(spec["config"], known=("bert",))
        return cls(config, image_dim=spec["image_dim"], image_positions=positions)


class LinearWithPositions(nn.Linear):
    """A linear layer for the tokens of an image, which adds position embeddings to them.

    Cross-attention does not know the order of tokens. Those of a ViT carry its position embeddings; those of
    a convolutional network hardly know their place. They get fixed sines and cosines of their row and column,
    as DETR's (Carion et al. 2020, arXiv 2005.12872), but here the attention's values get them as well.

    Args:
        inputs: D', width of the tokens.
        outputs: D.
    """

    positions: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        grid = sinusoidal_positions(_GRID, outputs).T.reshape(1, outputs, _GRID, _GRID)
        # Kept with the weights, so that a run that began without positions is not resumed with them.
        self.register_buffer("positions", grid)

    def forward(self, states: Tensor) -> Tensor:
        """(M, 1 + g g, D'), the pooled token first, to (M, 1 + g g, D)."""
        mapped, side = super().forward(states), math.isqrt(states.shape[1] - 1)
        assert states.shape[1] == 1 + side * side, "positions are those of a square"
        grid = self.positions
        if side != _GRID:  # one place has the same position at all image sizes
            grid = F.interpolate(grid, (side, side), mode="bilinear", align_corners=False)
        positions = grid.flatten(2).transpose(1, 2)  # (1, g g, D)
        return mapped + F.pad(positions, (0, 0, 1, 0)).to(mapped)  # the pooled token has no position


def fuse_with_attention(
    layer: Any, states: Tensor, mask: Tensor, image_states: Tensor
) -> tuple[Tensor, Tensor]:
    """A BertLayer whose cross-attention returns its weights, which fused attention does not.

    Args:
        layer: of a fusion encoder.
        states: (P, L, D) of the texts.
        mask: (P, L) bool.
        image_states: (P, N, D).

    Returns:
        (P, L, D), and (P, H, L, N) attention weights, with their graph.
    """
    attended = layer.attention(states, mask[:, None, None, :])[0]
    read, weights = attend_to_image(layer, attended, image_states)
    return feed_forward(layer, read, attended), weights


def attend_to_image(
    layer: Any,
    attended: Tensor,
    image_states: Tensor,
    *,
    query: nn.Module | None = None,
    output: nn.Module | None = None,
) -> tuple[Tensor, Tensor]:
    """The cross-attention of a BertLayer, before its residual connection.

    Args:
        layer: of a fusion encoder.
        attended: (P, L, D) of the texts, after self-attention.
        image_states: (P, N, D).
        query: another map of queries than the layer's.
        output: another output map than the layer's.

    Returns:
        (P, L, D) read from the image, and (P, H, L, N) attention weights, with their graph.
    """
    cross = layer.crossattention.self

    def heads(rows: Tensor) -> Tensor:
        return rows.view(*rows.shape[:2], -1, cross.attention_head_size).transpose(1, 2)  # (P, H, ., E)

    queries = heads((query or cross.query)(attended))
    keys, values = heads(cross.key(image_states)), heads(cross.value(image_states))
    weights = (queries @ keys.transpose(-1, -2) * cross.scaling).softmax(dim=-1)  # (P, H, L, N)
    found = (cross.dropout(weights) @ values).transpose(1, 2).flatten(2)  # (P, L, D)
    return (output or layer.crossattention.output.dense)(found), weights


def feed_forward(layer: Any, read: Tensor, attended: Tensor) -> Tensor:
    """The rest of a BertLayer: (P, L, D) read from images and (P, L, D) before that to (P, L, D)."""
    after = layer.crossattention.output
    fused: Tensor = layer.feed_forward_chunk(after.LayerNorm(after.dropout(read) + attended))
    return fused


def _with_first(mask: Tensor) -> Tensor:
    return mask | (torch.arange(mask.shape[1], device=mask.device) == 0)


def _changed(config: Any, **values: Any) -> Any:
    """A copy of a BertConfig with other values."""
    from transformers import BertConfig

    values = config.to_dict() | values
    return BertConfig(**{name: value for name, value in values.items() if name != "model_type"})


def cut_fusion(
    text: TextEncoder, *, depth: int | None, image_dim: int, image_positions: bool = False
) -> FusionEncoder:
    """Move the upper layers of a BERT into a fusion encoder; cross-attention gets fresh weights.

    Args:
        text: loses those layers.
        depth: the number of layers; half of them when None, as in the paper.
        image_dim: width of the image's tokens.
        image_positions: as of `FusionEncoder`.

    Raises:
        ConfigError: the text encoder is not a BERT, or has too few layers.
    """
    backbone = text.backbone
    if backbone.config.model_type != "bert":
        raise ConfigError(
            "a fusion encoder is cut from a BERT, and the text encoder is a "
            f"{backbone.config.model_type}; use --text.architecture bert, or name a BERT as "
            "--text.pretrained."
        )
    layers = backbone.encoder.layer
    depth = len(layers) // 2 if depth is None else depth
    if not 1 <= depth < len(layers):
        raise ConfigError(
            f"--method.fusion-depth {depth}: of the text encoder's {len(layers)} layers at least one must "
            "stay and one be cut; see --text.depth."
        )
    config = _changed(backbone.config, num_hidden_layers=depth)
    fusion = FusionEncoder(config, image_dim=image_dim, image_positions=image_positions)
    for fused, layer in zip(fusion.layers, layers[-depth:], strict=True):
        missing = fused.load_state_dict(layer.state_dict(), strict=False).missing_keys
        assert all(name.startswith("crossattention") for name in missing)
    backbone.encoder.layer = layers[:-depth]
    backbone.config.num_hidden_layers -= depth
    return fusion


def fusion_above(
    text: TextEncoder, *, depth: int | None, image_dim: int, image_positions: bool = False
) -> FusionEncoder:
    """Fusion layers with fresh weights above a text encoder of any kind, which keeps all its layers.

    Args:
        text: gives width, heads and dropout.
        depth: the number of layers; half of the text encoder's when None.
        image_dim: width of the image's tokens.
        image_positions: as of `FusionEncoder`.
    """
    from transformers import BertConfig

    below = text.backbone.config
    dropout = getattr(below, "hidden_dropout_prob", 0.0)
    config = BertConfig(
        vocab_size=below.vocab_size,
        hidden_size=text.dim,
        intermediate_size=4 * text.dim,
        num_attention_heads=below.num_attention_heads,
        num_hidden_layers=depth or max(1, below.num_hidden_layers // 2),
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=text.dim**-0.5,
    )
    return FusionEncoder(config, image_dim=image_dim, image_positions=image_positions)
