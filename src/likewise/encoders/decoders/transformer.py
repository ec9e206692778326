"""A Transformer decoder with cross-attention to the memory, whose keys and values are kept between steps.

Vaswani et al. 2017, arXiv 1706.03762, section 3.1; norms come before each part (Xiong et al. 2020, arXiv
2002.04745) when trained from nothing, and after it, as in BERT, when started from a fusion encoder's
layers.

Dimensions: B images, K beams an image, R = B K rows, L tokens, N memory tokens, E memory width, D width,
H heads of width A, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.encoders.decoders.base import Decoder, DecoderConfig, DecoderOutput, DecoderState, Memory

__all__ = ["DecoderLayer", "TransformerDecoder"]

# Tokens by which the room for keys and values grows: beams that are reordered copy all of it, and most
# captions are much shorter than the longest.
_GROWTH = 16


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention, and a feed-forward part.

    Args:
        dim: D.
        memory_dim: E.
        num_heads: H.
        dropout: after each part.
        norm_first: norms before each part (pre-norm) or after it (post-norm).
        norm_eps: added to the variance by the norms.
    """

    def __init__(
        self,
        dim: int,
        memory_dim: int,
        num_heads: int,
        *,
        dropout: float,
        norm_first: bool = True,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.num_heads, self.norm_first = num_heads, norm_first
        self.self_qkv, self.self_output = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.cross_query, self.cross_output = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.cross_kv = nn.Linear(memory_dim, 2 * dim)
        self.widen, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim, eps=norm_eps) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def heads(self, rows: Tensor, count: int) -> tuple[Tensor, ...]:
        """(B, L, count D) to `count` times (B, H, L, A)."""
        split = rows.view(*rows.shape[:-1], count, self.num_heads, -1)  # (B, L, count, H, A)
        return split.permute(2, 0, 3, 1, 4).unbind(0)

    def memory_kv(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, E) memory to keys and values, (B, H, N, A) each."""
        key, value = self.heads(self.cross_kv(tokens), 2)
        return key, value

    def _around(self, place: int, states: Tensor, part: Any) -> Tensor:
        """One residual part with its norm."""
        norm = self.norms[place]
        if self.norm_first:
            added: Tensor = states + self.dropout(part(norm(states)))
            return added
        normed: Tensor = norm(states + self.dropout(part(states)))
        return normed

    def _feed_forward(self, states: Tensor) -> Tensor:
        found: Tensor = self.narrow(F.gelu(self.widen(states)))
        return found

    def forward(
        self,
        states: Tensor,
        memory_kv: tuple[Tensor, Tensor],
        mask: Tensor | None,
        looked: list[Tensor] | None = None,
    ) -> Tensor:
        """Whole sentences.

        Args:
            states: (R, L, D), the rows of an image side by side.
            memory_kv: keys and values of the memory, (B, H, N, A) each.
            mask: (B, 1, 1, N) bool, True on real memory tokens; None where all are.
            looked: receives the cross-attention, (R, L, N), mean over heads.
        """
        states = self._around(0, states, self._attend_to_itself)
        states = self._around(1, states, lambda rows: self._attend_to_memory(rows, memory_kv, mask, looked))
        return self._around(2, states, self._feed_forward)

    def _attend_to_itself(self, states: Tensor) -> Tensor:
        query, key, value = self.heads(self.self_qkv(states), 3)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        output: Tensor = self.self_output(found.transpose(1, 2).flatten(2))
        return output

    def _attend_to_memory(
        self, states: Tensor, kv: tuple[Tensor, Tensor], mask: Tensor | None, looked: list[Tensor] | None
    ) -> Tensor:
        # The rows of an image stand side by side as if they were one: its keys are read in place.
        rows = states.view(len(kv[0]), -1, states.shape[-1])  # (B, K L, D)
        (query,), (key, value) = self.heads(self.cross_query(rows), 1), kv
        if looked is None:
            found = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        else:
            logits = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
            weights = (logits if mask is None else logits.masked_fill(~mask, float("-inf"))).softmax(dim=-1)
            looked.append(weights.mean(dim=1).view(*states.shape[:2], -1))
            found = weights @ value
        output: Tensor = self.cross_output(found.transpose(1, 2).flatten(2))
        return output.view_as(states)

    def step(
        self, states: Tensor, past: Tensor, place: int, memory_kv: tuple[Tensor, Tensor], mask: Tensor | None
    ) -> Tensor:
        """One token of each row.

        Args:
            states: (R, 1, D).
            past: (R, 2, H, L, A), keys and values of the tokens before; those of this one go to `place`.
            place: tokens read before.
            memory_kv: as of `forward`, of B images.
            mask: as of `forward`.
        """

        def itself(rows: Tensor) -> Tensor:
            query, key, value = self.heads(self.self_qkv(rows), 3)  # (R, H, 1, A) each
            past[:, 0, :, place : place + 1], past[:, 1, :, place : place + 1] = key, value
            known = past[:, :, :, : place + 1]
            found = F.scaled_dot_product_attention(query, known[:, 0], known[:, 1])
            output: Tensor = self.self_output(found.transpose(1, 2).flatten(2))
            return output

        states = self._around(0, states, itself)
        states = self._around(1, states, lambda rows: self._attend_to_memory(rows, memory_kv, mask, None))
        return self._around(2, states, self._feed_forward)


class TransformerDecoder(Decoder):
    """Layers of causal self-attention and cross-attention to the memory's tokens."""

    def __init__(
        self,
        config: DecoderConfig,
        *,
        norm_first: bool = True,
        norm_eps: float = 1e-5,
        **sizes: int,
    ) -> None:
        super().__init__(config, **sizes)
        self.norm_first, self.norm_eps = norm_first, norm_eps
        self.positions = nn.Parameter(torch.empty(self.max_tokens, config.dim))
        nn.init.normal_(self.positions, std=config.dim**-0.5)
        self.layers = nn.ModuleList(
            DecoderLayer(
                config.dim,
                self.memory_dim,
                config.num_heads,
                dropout=config.dropout,
                norm_first=norm_first,
                norm_eps=norm_eps,
            )
            for _ in range(config.num_layers)
        )
        # Pre-norm leaves the last residual sum without a norm; post-norm norms the sum of embeddings instead.
        self.norm = nn.LayerNorm(config.dim, eps=norm_eps)

    @classmethod
    def handles(cls, config: DecoderConfig) -> bool:
        """As `Decoder.handles`."""
        return config.architecture == "transformer"

    def _embed(self, tokens: Tensor, place: int) -> Tensor:
        """(R, L) tokens, the first at `place`, to (R, L, D)."""
        embedded = self.embedding(tokens) + self.positions[place : place + tokens.shape[1]]
        kept: Tensor = self.dropout(embedded if self.norm_first else self.norm(embedded))
        return kept

    def _finished(self, states: Tensor) -> Tensor:
        kept: Tensor = self.dropout(self.norm(states) if self.norm_first else states)
        return kept

    def _layers(self) -> list[DecoderLayer]:
        return [layer for layer in self.layers if isinstance(layer, DecoderLayer)]

    def _memory(self, memory: Memory) -> tuple[list[tuple[Tensor, Tensor]], Tensor | None]:
        """Keys and values of the memory for each layer, and its mask."""
        kv = [layer.memory_kv(memory.tokens) for layer in self._layers()]
        return kv, None if memory.mask is None else memory.mask[:, None, None]

    def forward(self, tokens: Tensor, memory: Memory, *, with_attention: bool = False) -> DecoderOutput:
        """As `Decoder.forward`."""
        kv, mask = self._memory(memory)
        states = self._embed(tokens, 0)
        looked: list[Tensor] | None = [] if with_attention else None
        for layer, own in zip(self._layers(), kv, strict=True):
            states = layer(states, own, mask, looked if layer is self.layers[-1] else None)
        return DecoderOutput(self._finished(states), looked[0] if looked else None)

    def start(self, memory: Memory, *, num_beams: int = 1) -> DecoderState:
        """As `Decoder.start`."""
        kv, mask = self._memory(memory)
        rows, heads = len(memory.tokens) * num_beams, self.config.num_heads
        shape = (rows, 2, heads, _GROWTH, self.dim // heads)
        past = {f"past_{place}": memory.tokens.new_zeros(shape) for place in range(len(self.layers))}
        return DecoderState(past, {"memory_kv": kv, "mask": mask})

    def step(self, tokens: Tensor, state: DecoderState) -> Tensor:
        """As `Decoder.step`."""
        if state.step == state.rows["past_0"].shape[3]:
            state.rows = {name: F.pad(past, (0, 0, 0, _GROWTH)) for name, past in state.rows.items()}
        states = self._embed(tokens[:, None], state.step)
        for place, (layer, kv) in enumerate(zip(self._layers(), state.fixed["memory_kv"], strict=True)):
            states = layer.step(states, state.rows[f"past_{place}"], state.step, kv, state.fixed["mask"])
        state.step += 1
        return self.logits(self._finished(states)[:, 0])

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs."""
        own = {} if self.norm_first else {"norm_first": False, "norm_eps": self.norm_eps}
        return super().spec() | own
