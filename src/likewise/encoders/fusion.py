"""A fusion encoder: the upper half of a BERT, whose layers also look at a picture.

Dimensions: P pairs, M pictures, L tokens, T real tokens of all texts, N image tokens (the pooled one first,
then one a patch), D width, H heads of width E, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.encoders.fast.attention import attention, heads, register_attention
from likewise.encoders.fast.fused_linear import as_multiplied, mapped_together
from likewise.encoders.fast.install import make_lean
from likewise.encoders.fast.recompute import RecomputedTensors
from likewise.encoders.fast.unpadded_bert import Packing, self_attention
from likewise.encoders.text import TextEncoder
from likewise.errors import ConfigError

__all__ = ["FusionEncoder", "LanguageHead", "Pairing", "cut_fusion"]


Take = Callable[[Tensor], Tensor]
"""Makes other rows of rows, by copying."""


@dataclass(frozen=True)
class Pairing:
    """Which picture each of P texts is fused with; by default the first with the first, and so on.

    A picture's tokens outnumber a text's words, so its keys and values are worth computing once for all its
    texts; and texts of one picture that stand in rounds need no copies of them either: to the attention
    they are one longer text.

    Attributes:
        rounds: the texts but for the last Q go round the pictures, in order, so many times.
        others: (Q,) places of the pictures of the last Q texts.
    """

    rounds: int = 1
    others: Tensor | None = None

    def sizes(self, num_texts: int) -> tuple[int, int]:
        """R pictures that the texts go round, and the place of the first text that goes round no more."""
        end = num_texts - (0 if self.others is None else len(self.others))
        return end // max(self.rounds, 1), end

    def shared(self, num_texts: int) -> Iterator[tuple[Take, slice | Tensor]]:
        """Texts by how they share pictures: those that go round, then the others, as far as there are any.

        Yields:
            What takes such texts from (P, L, ...) rows of all, as (R, rounds L, ...) of R pictures or
            (Q, L, ...); and the places of their pictures.
        """
        R, end = self.sizes(num_texts)
        if end:
            yield partial(self._round_by_round, R, end), slice(0, R)
        if self.others is not None and end < num_texts:
            yield (lambda rows: rows[end:]), self.others

    def _round_by_round(self, R: int, end: int, rows: Tensor) -> Tensor:
        return rows[:end].view(self.rounds, R, *rows.shape[1:]).transpose(0, 1).flatten(1, 2)

    def apart(self, parts: list[Tensor], length: int) -> Tensor:
        """The inverse: what was found for them, as (P, L, ...)."""
        rows = [
            part.reshape(len(part), -1, length, *part.shape[2:]).transpose(0, 1).flatten(0, 1)
            for part in parts
        ]
        return rows[0] if len(rows) == 1 else torch.cat(rows)


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
        make_lean(self)

    def forward(
        self, text_states: Tensor, mask: Tensor, image_states: Tensor, pairing: Pairing | None = None
    ) -> Tensor:
        """Fuse texts with pictures, pair by pair.

        Args:
            text_states: (P, L, D) of the text encoder.
            mask: (P, L) bool, True on real tokens.
            image_states: (M, N, D').
            pairing: which picture belongs to which text; one to one, so that M = P, when None.

        Returns:
            (P, L, D), zeros at padding; the first token stands for the pair.
        """
        pairing, packing = pairing or Pairing(), Packing(mask)
        states, seen = packing.pack(text_states), as_multiplied(self.bridge(image_states))
        for layer in self.layers:
            states = self._fuse(layer, states, packing, self._keys(layer, seen), pairing)
        return packing.unpack(states)

    def with_attention(
        self, text_states: Tensor, mask: Tensor, image_states: Tensor, *, layer: int
    ) -> tuple[Tensor, Tensor]:
        """As `forward`, one to one, and where one layer looks in the picture.

        Args:
            text_states: (P, L, D).
            mask: (P, L).
            image_states: (P, N, D').
            layer: place of the layer, counted from the end when negative.

        Returns:
            (P, L, D) as of `forward`; and (P, H, L, N), that layer's attention to the image with its graph.
        """
        packing = Packing(mask)
        states, seen = packing.pack(text_states), as_multiplied(self.bridge(image_states))
        watched = self.layers[layer]
        kept: list[Tensor] = []
        for one in self.layers:
            keys = self._keys(one, seen)
            states = self._fuse(one, states, packing, keys, Pairing(), kept=kept if one is watched else None)
        (weights,) = kept
        return packing.unpack(states), weights

    def read(
        self,
        text_states: Tensor,
        mask: Tensor,
        image_states: Tensor,
        pairing: Pairing | None = None,
        *,
        last_round_whole: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """As `forward`, but only what will be read is computed in the last layer: of most pairs, one token.

        Args:
            text_states: (P, L, D).
            mask: (P, L).
            image_states: (M, N, D').
            pairing: as of `forward`.
            last_round_whole: all tokens of the last round's texts are read.

        Returns:
            (P', D), the first tokens of the pairs; and (R, L, D), the last round, if it is read whole: P' is
            without it then, and 0 where there was no other.
        """
        pairing, packing = pairing or Pairing(), Packing(mask)
        states, seen = packing.pack(text_states), as_multiplied(self.bridge(image_states))
        *lower, last = self.layers
        for layer in lower:
            states = self._fuse(layer, states, packing, self._keys(layer, seen), pairing)
        keys, whole = self._keys(last, seen), None
        if last_round_whole:
            R, end = pairing.sizes(len(mask))
            start = end - R
            before, until = packing.tokens_before(start, end)
            round_packing, round_keys = Packing(mask[start:end]), keys[:R]
            whole = round_packing.unpack(
                self._fuse(last, states[before:until], round_packing, round_keys, Pairing())
            )
            states = torch.cat([states[:before], states[until:]])
            packing = Packing(torch.cat([mask[:start], mask[end:]]))
            pairing = replace(pairing, rounds=pairing.rounds - 1)
            if not len(packing.mask):
                return states, whole
        return self._fuse(last, states, packing, keys, pairing, only_firsts=True), whole

    def _keys(self, layer: Any, seen: Tensor) -> Tensor:
        """(M, N, 2D), keys and values of the pictures for one layer, once for all texts of a picture."""
        cross = layer.crossattention.self
        return mapped_together(seen, cross.key, cross.value)

    def _fuse(
        self,
        layer: Any,
        states: Tensor,
        packing: Packing,
        keys: Tensor,
        pairing: Pairing,
        *,
        only_firsts: bool = False,
        kept: list[Tensor] | None = None,
    ) -> Tensor:
        """One layer: (T, D) states of all real tokens to (T, D), or to (P, D) of the texts' first ones. Its
        attention to the image is put into `kept`, where that is given."""
        asking = self_attention(layer, states, packing, only_firsts=only_firsts)
        cross = layer.crossattention.self
        queries, width = cross.query(asking), cross.attention_head_size
        padded: Take = (lambda rows: rows[:, None]) if only_firsts else packing.unpack
        made_again, looked = RecomputedTensors(), []
        with made_again.kept():
            for take, pictures in pairing.shared(len(packing.mask)):
                (query,) = heads(made_again(_after(padded, take), queries), width)
                key, value = heads(made_again(itemgetter(pictures), keys), width, 2)
                looked.append(self._look(cross, query, key, value, kept))
        found = pairing.apart(looked, 1 if only_firsts else packing.mask.shape[1]).flatten(2)  # (P, L, D)
        asking = layer.crossattention.output(found[:, 0] if only_firsts else packing.pack(found), asking)
        fused: Tensor = layer.feed_forward_chunk(asking)
        return fused

    def _look(
        self, cross: Any, query: Tensor, key: Tensor, value: Tensor, kept: list[Tensor] | None
    ) -> Tensor:
        """(M, H, L, E) queries, (M, H, N, E) keys and values to (M, L, H, E)."""
        dropout = cross.dropout.p if self.training else 0.0
        if kept is not None:  # the fused attention never shows its weights
            logits = query @ key.transpose(-1, -2) * cross.scaling
            weights = F.dropout(logits.softmax(dim=-1), dropout)  # (M, H, L, N)
            kept.append(weights)
            return (weights @ value).transpose(1, 2)
        found, _ = attention(cross, query, key, value, None, dropout=dropout, is_causal=False)
        return found

    def spec(self) -> dict[str, Any]:
        """What `from_spec` needs."""
        return {"config": self.config.to_dict(), "image_dim": self.image_dim}

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> FusionEncoder:
        """The inverse of `spec`, with fresh weights."""
        from transformers import BertConfig

        values = {name: value for name, value in spec["config"].items() if name != "model_type"}
        return cls(BertConfig(**values), image_dim=spec["image_dim"])


def _after(first: Take, second: Take) -> Take:
    return lambda rows: second(first(rows))


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

    def start_from(self, name: str) -> bool:
        """Take over the head of a pre-trained BERT, a folder or hub name, if it was stored with one.

        Returns:
            Whether it was; the head stays as it is where not, and where it is made otherwise than this one.
        """
        from transformers import AutoConfig, BertForMaskedLM

        config = AutoConfig.from_pretrained(name)
        if config.model_type != "bert" or config.hidden_act != "gelu":
            return False
        whole, found = BertForMaskedLM.from_pretrained(name, dtype=torch.float32, output_loading_info=True)
        if any(key.startswith("cls.predictions") for key in found["missing_keys"]):
            return False
        theirs = whole.cls.predictions
        self.transform.load_state_dict(theirs.transform.dense.state_dict())
        self.norm.load_state_dict(theirs.transform.LayerNorm.state_dict())
        with torch.no_grad():
            self.bias.copy_(theirs.decoder.bias[: len(self.bias)])
        return True

    def forward(self, states: Tensor, word_embedding: Tensor) -> Tensor:
        """(M, D) states and the (V, D) embedding to (M, V) logits."""
        return F.linear(self.norm(F.gelu(self.transform(states))), word_embedding, self.bias)
