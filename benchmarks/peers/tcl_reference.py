"""TCL's forward pass, organised as its published code organises it; for measurement only.

A transcription of `ALBEF.forward` in models/model_pretrain.py of github.com/uta-smile/TCL (Yang 2022, arXiv
2202.10401; itself from salesforce/ALBEF), with all that it computes for nothing: weights averaged one by one
in Python, local features against (B, L, B L) copies of their negatives, true and false pairs fused in two
passes, negatives drawn row by row with the processor waiting for each, vocabulary logits of every position
for network and twin, dense targets over the whole queue. Tensors live as long as there: `forward` is one
function because the names it holds keep them.

It runs on the weights of a `FusionNetwork` in transformers' layers (`plain_copy`), padding and all. The
attention is the project's, which favours it: the published one keeps its weights (an option brings
that back). Patches are pooled for any grid; where its side is a square number (16), which alone the
published code can pool, the result is the same. Texts are expected as the published training loop has them:
cut at 25 tokens, padded to the batch's longest.

Dimensions: B batch, D shared space, E, F widths of the encoders, L tokens, N patches, C pooled patches, K
queue, V words.
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from likewise.encoders.fast import disabled
from likewise.encoders.fast.attention import register_attention
from likewise.networks.fusion import FusionNetwork

__all__ = ["Forced", "TCLReference", "plain_copy"]

PAD, CLS, MASK = 0, 1, 3
IGNORED = -100


class Forced(NamedTuple):
    """What was drawn elsewhere, for comparisons."""

    images: Tensor  # (B,) rows whose pictures are the texts' negatives
    texts: Tensor  # (B,) rows whose texts are the pictures' negatives
    tokens: Tensor  # (B, L) with words hidden
    labels: Tensor  # (B, L) the hidden words, `IGNORED` elsewhere


class TCLReference(nn.Module):
    """A network that is trained in place, its twin, queues (K a multiple of the batch), plain temperature."""

    def __init__(
        self, network: FusionNetwork, *, queue_size: int, momentum: float = 0.995, hidden_share: float = 0.15
    ) -> None:
        super().__init__()
        self.network = network
        self.twin = copy.deepcopy(network).requires_grad_(False)
        self.temperature = nn.Parameter(torch.tensor(0.07))
        self.momentum = momentum
        self.hidden_share = hidden_share
        for name in ("image_queue", "text_queue"):
            self.register_buffer(name, F.normalize(torch.randn(network.dim, queue_size), dim=0))  # (D, K)
        self.register_buffer("queue_place", torch.zeros(1, dtype=torch.int64))

    def forward(
        self,
        first: Tensor,
        second: Tensor,
        tokens: Tensor,
        mask: Tensor,
        *,
        alpha: float,
        forced: Forced | None = None,
    ) -> dict[str, Tensor]:
        """The eight parts of the loss, of (B, 3, S, S) views for network and twin and (B, L) tokens.

        `alpha` is the twin's share in the targets; negatives and hidden words are drawn unless `forced`.
        """
        network, twin, B = self.network, self.twin, len(tokens)
        with torch.no_grad():
            self.temperature.clamp_(0.001, 0.5)
        image_states = network.image_states(first)  # (B, 1 + N, E)
        image = F.normalize(network.image_projection(image_states[:, 0]), dim=-1)  # (B, D)
        text_states = _read(network, tokens, mask)  # (B, L, F)
        text = F.normalize(network.text_projection(text_states[:, 0]), dim=-1)

        with torch.no_grad():
            self._follow()
            twin_image_states = twin.image_states(second)
            twin_image = F.normalize(twin.image_projection(twin_image_states[:, 0]), dim=-1)
            patches = F.normalize(twin.image_projection(twin_image_states[:, 1:]), dim=-1)
            patches = _pool(patches)  # (B, C, D), shorter than unit length as published
            all_images = torch.cat([twin_image.t(), self.image_queue.clone().detach()], dim=1)  # (D, B + K)
            twin_text_states = _read(twin, tokens, mask)
            twin_text = F.normalize(twin.text_projection(twin_text_states[:, 0]), dim=-1)
            words = F.normalize(twin.text_projection(twin_text_states[:, 1:]), dim=-1)  # (B, L - 1, D)
            all_texts = torch.cat([twin_text.t(), self.text_queue.clone().detach()], dim=1)
            twin_image_logits = twin_image @ all_texts / self.temperature  # (B, B + K)
            twin_text_logits = twin_text @ all_images / self.temperature
            one_hot = torch.zeros(twin_image_logits.size()).to(first.device)
            one_hot.fill_diagonal_(1)
            image_targets = alpha * F.softmax(twin_image_logits, dim=1) + (1 - alpha) * one_hot
            text_targets = alpha * F.softmax(twin_text_logits, dim=1) + (1 - alpha) * one_hot

        image_to_text = image @ all_texts / self.temperature
        text_to_image = text @ all_images / self.temperature
        parts = {
            "cma_images": _soft_cross_entropy(image_to_text, image_targets),
            "cma_texts": _soft_cross_entropy(text_to_image, text_targets),
            "lmi_texts": _local_information(words, text, self.temperature, mask[:, 1:].long()),
            "lmi_images": _local_information(patches, image, self.temperature),
        }
        image_to_image = image @ all_images / self.temperature
        text_to_text = text @ all_texts / self.temperature
        parts["imc_images"] = _soft_cross_entropy(image_to_image, one_hot)
        parts["imc_texts"] = _soft_cross_entropy(text_to_text, one_hot)
        self._push(twin_image, twin_text)

        true_pairs = _fuse(network, text_states, mask, image_states)  # (B, L, F)
        other_images, other_texts = self._negatives(text_to_image[:, :B], image_to_text[:, :B], forced)
        image_states_drawn = torch.stack([image_states[row] for row in other_images])
        text_states_drawn = torch.stack([text_states[row] for row in other_texts])
        mask_drawn = torch.stack([mask[row] for row in other_texts])
        false_pairs = _fuse(
            network,
            torch.cat([text_states, text_states_drawn]),
            torch.cat([mask, mask_drawn]),
            torch.cat([image_states_drawn, image_states]),
        )  # (2B, L, F)
        match_logits = network.match_head(torch.cat([true_pairs[:, 0], false_pairs[:, 0]]))  # (3B, 2)
        matches = torch.cat([torch.ones(B, dtype=torch.int64), torch.zeros(2 * B, dtype=torch.int64)])
        parts["itm"] = F.cross_entropy(match_logits, matches.to(first.device))

        hidden, labels = self._hide(tokens) if forced is None else (forced.tokens, forced.labels)
        with torch.no_grad():
            fused = _fuse(twin, _read(twin, hidden, mask), mask, twin_image_states)
            twin_logits = twin.word_logits(fused)  # (B, L, V)
        word_logits = network.word_logits(
            _fuse(network, _read(network, hidden, mask), mask, image_states)
        )  # (B, L, V)
        teacher = F.softmax(twin_logits, dim=-1)
        to_words = F.cross_entropy(word_logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        to_teacher = -torch.sum(F.log_softmax(word_logits, dim=-1) * teacher, dim=-1)  # (B, L)
        to_teacher = to_teacher[labels != IGNORED].mean()
        parts["mlm"] = (1 - alpha) * to_words + alpha * to_teacher
        return parts

    @staticmethod
    def total(parts: dict[str, Tensor]) -> Tensor:
        """MLM + the mean of the six + ITM."""
        contrasts = [part for name, part in parts.items() if name not in ("itm", "mlm")]
        return parts["mlm"] + sum(contrasts[1:], contrasts[0]) / 6 + parts["itm"]

    @torch.no_grad()
    def _follow(self) -> None:
        for own, online in zip(self.twin.parameters(), self.network.parameters(), strict=True):
            own.data = own.data * self.momentum + online.data * (1.0 - self.momentum)

    @torch.no_grad()
    def _push(self, images: Tensor, texts: Tensor) -> None:
        place, B, K = int(self.queue_place), len(images), self.image_queue.shape[1]
        if K % B:
            raise ValueError(
                f"a queue of {K} is no multiple of a batch of {B}, which the published code needs"
            )
        self.image_queue[:, place : place + B] = images.t()
        self.text_queue[:, place : place + B] = texts.t()
        self.queue_place[0] = (place + B) % K

    @torch.no_grad()
    def _negatives(self, texts: Tensor, images: Tensor, forced: Forced | None) -> tuple[list[int], list[int]]:
        """Of (B, B) similarities, for each text another picture and for each picture another text."""
        if forced is not None:
            return forced.images.tolist(), forced.texts.tolist()
        weights = [F.softmax(logits, dim=1).fill_diagonal_(0) for logits in (texts, images)]
        return tuple([_drawn(table, row) for row in range(len(table))] for table in weights)

    def _hide(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens with words hidden, and those words; drawn on the processor, as published."""
        tokens, labels = tokens.clone(), tokens.clone()
        chosen = torch.bernoulli(torch.full(labels.shape, self.hidden_share)).bool().to(tokens.device)
        chosen[(tokens == PAD) | (tokens == CLS)] = False
        labels[~chosen] = IGNORED
        masked = torch.bernoulli(torch.full(labels.shape, 0.8)).bool().to(tokens.device) & chosen
        tokens[masked] = MASK
        swapped = torch.bernoulli(torch.full(labels.shape, 0.5)).bool().to(tokens.device) & chosen & ~masked
        words = torch.randint(self.network.vocabulary_size, labels.shape).to(tokens.device)
        tokens[swapped] = words[swapped]
        return tokens, labels


def plain_copy(network: FusionNetwork, *, attention: str) -> FusionNetwork:
    """The same weights in layers as transformers has them and the published code too.

    Args:
        network: of the project.
        attention: `ours`, the project's, or `published`, products and a softmax that keep their weights.
    """
    with disabled():
        plain = FusionNetwork.from_spec(network.spec())
    plain.to(device=network.log_temperature.device, dtype=network.log_temperature.dtype)
    plain.load_state_dict(network.state_dict())
    for config in (plain.image.backbone.config, plain.text.backbone.config, plain.fusion.config):
        config._attn_implementation = register_attention() if attention == "ours" else "eager"
    for weight, own in zip(plain.parameters(), network.parameters(), strict=True):
        weight.requires_grad_(own.requires_grad)
    return plain.train(network.training)


def _read(network: FusionNetwork, tokens: Tensor, mask: Tensor) -> Tensor:
    """(B, L, F) of (B, L) texts, padding and all."""
    states: Tensor = network.text.backbone(input_ids=tokens, attention_mask=mask).last_hidden_state
    return states


def _fuse(network: FusionNetwork, text_states: Tensor, mask: Tensor, image_states: Tensor) -> Tensor:
    """(P, L, F) of P texts and as many pictures, layer by layer."""
    seen, looked_at = network.fusion.bridge(image_states), mask[:, None, None, :]
    if network.fusion.config._attn_implementation == "eager":  # which adds it to the logits
        least = torch.finfo(text_states.dtype).min
        looked_at = torch.zeros_like(looked_at, dtype=text_states.dtype).masked_fill(~looked_at, least)
    for layer in network.fusion.layers:
        text_states = layer(text_states, looked_at, seen)
    return text_states


def _soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return -torch.sum(F.log_softmax(logits, dim=1) * targets, dim=1).mean()


def _local_information(
    local: Tensor, whole: Tensor, temperature: Tensor, mask: Tensor | None = None
) -> Tensor:
    """(B, L, D) locals and (B, D) wholes; every local meets its own copy of the B L others."""
    B, L, D = local.shape
    own = torch.matmul(local, whole[:, None].permute(0, 2, 1)).unsqueeze(2) / temperature  # (B, L, 1, 1)
    if mask is not None:
        real = mask[:, :, None, None]
        own = real * own + 10000.0 * (1 - real)
    others = torch.mm(whole, local.reshape(-1, D).t()) / temperature  # (B, B L)
    others = others.reshape(B, 1, B, L).permute(0, 2, 3, 1)  # (B, B, L, 1)
    itself = torch.eye(B)[:, :, None, None].to(local.device)
    others = (1 - itself) * others - 10000.0 * itself
    if mask is not None:
        real = mask[None, :, :, None].expand(B, -1, -1, -1)
        others = real * others - 10000.0 * (1 - real)
    others = others.reshape(B, B * L, 1).unsqueeze(1).expand(-1, L, -1, -1)  # (B, L, B L, 1)
    log_p = F.log_softmax(torch.cat([own, others], dim=2), dim=2)[:, :, 0]  # (B, L, 1)
    return -log_p.mean() if mask is None else (-log_p.squeeze(-1).sum(1) / mask.sum(1)).mean()


def _pool(patches: Tensor) -> Tensor:
    """(B, N, D) to (B, c c, D), c = floor(sqrt(side of the grid))."""
    side = math.isqrt(patches.shape[1])
    grid = patches.reshape(len(patches), side, side, -1).permute(0, 3, 1, 2)
    return F.adaptive_avg_pool2d(grid, math.isqrt(side)).permute(0, 2, 3, 1).flatten(1, 2)


def _drawn(weights: Tensor, row: int) -> int:
    try:
        return int(torch.multinomial(weights[row], 1).item())
    except RuntimeError:  # a row of zeros: any other
        drawn = row
        while drawn == row:
            drawn = int(torch.randint(0, len(weights), (1,)).item())
        return drawn
