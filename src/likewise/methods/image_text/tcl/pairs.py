"""The pairs of image-text matching, and the single pass of the fusion encoder over all of them.

Li et al. 2021, arXiv 2107.07651, section 3.2. Dimensions: B batch, M images, L tokens, N patches, E, F
widths of the encoders.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """3B pairs: each image with its text, each image with another text, each text with another image.

    Attributes:
        texts: (B, L, F) states.
        mask: (B, L).
        other_texts: (B, L, F), another text for each image.
        other_mask: (B, L).
        image_states: (M, 1 + N, E), the B images first.
        other_images: (B,) places among those: another image for each text.
        judged: (3B,) bool, False for a row without any negative (a batch of one photo's captions).
    """

    texts: Tensor
    mask: Tensor
    other_texts: Tensor
    other_mask: Tensor
    image_states: Tensor
    other_images: Tensor
    judged: Tensor


class Fused(NamedTuple):
    """Output of the fusion encoder.

    Attributes:
        pairs: (3B, F), one vector for each pair, or None.
        masked: (B, L, F), the texts with masked tokens, or None.
    """

    pairs: Tensor | None
    masked: Tensor | None


def draw_pairs(
    image_states: Tensor,
    text_states: Tensor,
    features: Mapping[str, Tensor],
    batch: Batch,
    draw: StepRandom,
    *,
    temperature: Tensor,
    of_all_replicas: bool,
) -> Pairs:
    """Draw negatives, with probability softmax(similarity / temperature) over the rows of other groups.

    The similarities are those of the network's features with the EMA encoder's of the other kind, as in CMA.
    A row without a row of another group gets the first row, and is not judged.

    A row with an equal text is not a negative either, whatever its image: equal pairs cannot be told apart.

    Args:
        image_states: (B, 1 + N, E).
        text_states: (B, L, F).
        features: `images`, `texts`, `ema_images`, `ema_texts`, each (B, D) in the shared space.
        batch: the rows' groups, places, tokens and text mask.
        draw: the step's random numbers.
        temperature: ().
        of_all_replicas: draw from the rows of all processes, which then send their states.
    """
    tokens, mask = batch.text.tokens, batch.text.mask
    group = torch.stack([batch.group, _text_keys(tokens, mask)], 1)  # (B, 2): equal image, equal text
    images, texts, ema_images, ema_texts = (
        features[name].detach() for name in ("images", "texts", "ema_images", "ema_texts")
    )
    all_groups = group
    all_mask, all_text_states = mask, text_states
    if of_all_replicas:
        ema_images, ema_texts, all_groups = map(gather_rows, (ema_images, ema_texts, group))
        all_mask = gather_rows(mask, lengths_vary=True)
        all_text_states = gather_rows(text_states, lengths_vary=True)

    def negatives(kind: str, queries: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        return draw_hard_negatives(
            queries,
            candidates,
            temperature=temperature.detach(),
            group_queries=group,
            group_candidates=all_groups,
            uniform=draw.uniform(batch.key, len(candidates), purpose=f"negative {kind}"),
        )

    other_images, has_image = negatives("images", texts, ema_images)
    other_texts, has_text = negatives("texts", images, ema_texts)
    if of_all_replicas:
        # The fusion encoder gets this process's images, then those that were drawn.
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
    """(B,) int64 hashes of the texts, independent of padding."""
    weights = torch.full((tokens.shape[1],), _MIXER, device=tokens.device).cumprod(0)  # modulo 2^64
    return ((tokens + 1) * mask * weights).sum(1)


def fuse(
    network: FusionNetwork,
    image_states: Tensor,
    mask: Tensor,
    *,
    pairs: Pairs | None,
    masked_states: Tensor | None,
) -> Fused:
    """Fuse pairs and texts with masked tokens, whichever are given, in one pass.

    The images are read in rounds: with their own texts, with other texts, with masked texts. Last come the
    texts with other images.
    """
    if pairs is None:
        return Fused(None, None if masked_states is None else network.fuse(masked_states, mask, image_states))
    length = pairs.mask.shape[1]
    states, masks = [pairs.texts, pairs.other_texts], [pairs.mask, pairs.other_mask]
    if masked_states is not None:
        states.append(_lengthened(masked_states, length))
        masks.append(pairs.mask)
    pairing = Pairing(rounds=len(states), others=pairs.other_images)
    firsts, whole = network.fusion.read(
        torch.cat([*states, pairs.texts]),
        torch.cat([*masks, pairs.mask]),
        pairs.image_states,
        pairing,
        last_round_whole=masked_states is not None,
    )
    return Fused(firsts, None if whole is None else whole[:, : mask.shape[1]])


def _lengthened(rows: Tensor, length: int) -> Tensor:
    """(B, L, ...) with padding up to `length` tokens."""
    missing = length - rows.shape[1]
    return F.pad(rows, [0, 0] * (rows.dim() - 2) + [0, missing]) if missing else rows
