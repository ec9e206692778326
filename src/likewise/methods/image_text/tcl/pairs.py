"""The pairs that image-text matching judges, and the one pass of the fusion encoder that reads them all.

Li et al. 2021, arXiv 2107.07651, section 3.2. Dimensions: B batch, M pictures, L tokens, N patches, E, F
widths of the encoders.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows
from likewise.encoders.pairing import Pairing
from likewise.networks.fusion import FusionNetwork
from likewise.objectives import draw_hard_negatives
from likewise.step_random import StepRandom

__all__ = ["Fused", "Pairs", "draw_pairs", "fuse"]


# Odd, with bits all over: MMIX's multiplier (Knuth 1999).
_MIXER = 6364136223846793005


class Pairs(NamedTuple):
    """3B pairs: each picture with its text, each picture with another text, each text with another picture.

    Attributes:
        texts: (B, L, F) states.
        mask: (B, L).
        other_texts: (B, L, F), another text for each picture.
        other_mask: (B, L).
        image_states: (M, 1 + N, E), the B pictures first.
        other_images: (B,) places among those: another picture for each text.
        judged: (3B,) bool, which pairs count: a row may have no negative (a batch of one photo's captions).
    """

    texts: Tensor
    mask: Tensor
    other_texts: Tensor
    other_mask: Tensor
    image_states: Tensor
    other_images: Tensor
    judged: Tensor


class Fused(NamedTuple):
    """What the fusion encoder made.

    Attributes:
        pairs: (3B, F), one vector a pair, or None.
        asked: (B, L, F), the texts with hidden words, or None.
    """

    pairs: Tensor | None
    asked: Tensor | None


def draw_pairs(
    image_states: Tensor,
    text_states: Tensor,
    images: Tensor,
    texts: Tensor,
    batch: Batch,
    draw: StepRandom,
    *,
    temperature: Tensor,
    of_all_replicas: bool,
) -> Pairs:
    """Draw negatives, with probability softmax(similarity / temperature) over the rows of other groups.

    A row whose text has the same words is none either, whatever its picture: what matches cannot be told from
    what does not by what is the same.

    Args:
        image_states: (B, 1 + N, E).
        text_states: (B, L, F).
        images: (B, D) in the shared space.
        texts: (B, D).
        batch: the rows' groups, places, tokens and text mask.
        draw: decides.
        temperature: ().
        of_all_replicas: draw from the rows of all replicas, whose states are then sent.
    """
    tokens, mask = batch.tokens, batch.mask
    assert tokens is not None
    assert mask is not None
    assert batch.group is not None
    group = torch.stack([batch.group, _text_keys(tokens, mask)], 1)  # (B, 2): equal picture, equal text
    images, texts, temperature = images.detach(), texts.detach(), temperature.detach()
    all_images, all_texts, all_groups = images, texts, group
    all_mask, all_text_states = mask, text_states
    if of_all_replicas:
        all_images, all_texts, all_groups = gather_rows(images), gather_rows(texts), gather_rows(group)
        all_mask = gather_rows(mask, lengths_vary=True)
        all_text_states = gather_rows(text_states, lengths_vary=True)

    def negatives(kind: str, queries: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        return draw_hard_negatives(
            queries,
            candidates,
            temperature=temperature,
            group_queries=group,
            group_candidates=all_groups,
            uniform=draw.uniform(batch.key, len(candidates), purpose=f"negative {kind}"),
        )

    other_images, has_image = negatives("images", texts, all_images)
    other_texts, has_text = negatives("texts", images, all_texts)
    if of_all_replicas:
        # The fusion encoder is given this replica's pictures, then those that were drawn.
        image_states = torch.cat([image_states, gather_rows(image_states)[other_images]])
        other_images = torch.arange(len(mask), len(image_states), device=mask.device)
    length = all_mask.shape[1]
    return Pairs(
        texts=_lengthened(text_states, length),
        mask=_lengthened(mask, length),
        other_texts=all_text_states[other_texts],
        other_mask=all_mask[other_texts],
        image_states=image_states,
        other_images=other_images,
        judged=torch.cat([torch.ones_like(has_text), has_text, has_image]),
    )


def _text_keys(tokens: Tensor, mask: Tensor) -> Tensor:
    """(B,) int64, equal for equal rows of tokens, however far (B, L) they are padded; else nearly never."""
    weights = torch.full((tokens.shape[1],), _MIXER, device=tokens.device).cumprod(0)  # modulo 2^64
    return ((tokens + 1) * mask * weights).sum(1)


def fuse(
    network: FusionNetwork,
    image_states: Tensor,
    mask: Tensor,
    *,
    pairs: Pairs | None,
    asked_states: Tensor | None,
) -> Fused:
    """Fuse pairs and texts with hidden words, whichever there are, in one pass.

    The texts go round the pictures: their own, other ones, those with hidden words. Last come the texts with
    other pictures.
    """
    if pairs is None:
        asked = None if asked_states is None else network.fuse(asked_states, mask, image_states)
        return Fused(None, asked)
    length = pairs.mask.shape[1]
    states, masks = [pairs.texts, pairs.other_texts], [pairs.mask, pairs.other_mask]
    if asked_states is not None:
        states.append(_lengthened(asked_states, length))
        masks.append(pairs.mask)
    pairing = Pairing(rounds=len(states), others=pairs.other_images)
    firsts, whole = network.fusion.read(
        torch.cat([*states, pairs.texts]),
        torch.cat([*masks, pairs.mask]),
        pairs.image_states,
        pairing,
        last_round_whole=asked_states is not None,
    )
    return Fused(firsts, None if whole is None else whole[:, : mask.shape[1]])


def _lengthened(rows: Tensor, length: int) -> Tensor:
    """(B, L, ...) with padding up to `length` tokens."""
    missing = length - rows.shape[1]
    return F.pad(rows, [0, 0] * (rows.dim() - 2) + [0, missing]) if missing else rows
