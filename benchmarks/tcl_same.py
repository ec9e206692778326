"""Whether the two sides of `tcl_step.py` compute the same, in equal states and with one's draws for both."""

from __future__ import annotations

import dataclasses

import torch
from peers.tcl_reference import Forced
from tcl_sides import CLS, MASK, PAD, SEP, Options, Ours, Transcription, make_batch
from torch import Tensor
from torch.nn import functional as F

from likewise.batches.batch import Batch
from likewise.methods.base import Step, make_views
from likewise.step_random import StepRandom
from likewise.views import mask_tokens


@torch.no_grad()
def drawn_negatives(side: Ours, batch: Batch, draw: StepRandom, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Which negatives the method drew, read off the (2B, 2) logits of its false pairs, in whatever order.

    Returns:
        (B,) rows of the pictures drawn for each text, and (B,) rows of the texts drawn for each picture.
    """
    from scipy.optimize import linear_sum_assignment

    network, B = side.network, len(batch)
    first = make_views(batch, Step(draw), network.image, side.module.view_configs["views"]).chunk(2)[0]
    images, texts = network.image_states(first), network.text_states(batch.text.tokens, batch.text.mask)
    every = torch.arange(B * B)
    known = network.match_logits(
        texts[every // B], batch.text.mask[every // B], images[every % B]
    )  # (B B, 2)
    pairs = (known - logits[:, None]).abs().sum(-1).argmin(1)  # (2B,)
    torch.testing.assert_close(logits, known[pairs])
    # Each pair was drawn for its text or for its picture, and for each of either one was drawn.
    here = torch.arange(B)
    drawn_for = torch.cat([(pairs // B)[:, None] == here, (pairs % B)[:, None] == here], dim=1)  # (2B, 2B)
    place, owner = map(torch.from_numpy, linear_sum_assignment(drawn_for.numpy(), maximize=True))
    assert drawn_for[place, owner].all()
    ordered = pairs[owner.argsort()]
    return ordered[:B] % B, ordered[B:] // B


def losses_of_both(
    ours: Ours, theirs: Transcription, batch: Batch, draw: StepRandom, alpha: float
) -> tuple[tuple[Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]:
    """Totals and parts at the same negatives and hidden words.

    Args:
        ours: without dropout.
        theirs: the same, in the same state.
        batch: few rows: every text is fused with every picture to see which pairs were drawn.
        draw: of the step.
        alpha: the twins' share that `ours` has now.
    """
    found = ours.module.embed(batch, Step(draw))
    terms = ours.module.objective(found, Step(draw))
    tokens, labels = mask_tokens(
        batch.text.tokens,
        batch.text.mask,
        draw=draw,
        index=batch.key,
        mask_id=MASK,
        vocabulary_size=ours.network.vocabulary_size,
        special_ids=(PAD, CLS, SEP, MASK),
        share=ours.module.config.hidden_share,
    )
    negatives = drawn_negatives(ours, batch, draw, found["match_logits"][found["matches"] == 0])
    forced = Forced(*negatives, tokens, labels)
    return (terms.total, terms.parts), theirs.forward(batch, draw, alpha=alpha, forced=forced)


def equal_sides(options: Options) -> tuple[Ours, Transcription]:
    """Both sides in the same state, in float64."""
    ours = Ours(options)
    ours.module.double()
    theirs = Transcription(options, ours.network)
    theirs.module.double()
    theirs.module.temperature.data.copy_(ours.module.temperature.detach())
    for kind in ("image", "text"):  # of unit length in float64 too
        keys = ours.module.get_buffer(f"{kind}_queue.keys")
        keys.copy_(F.normalize(keys, dim=1))
        theirs.module.get_buffer(f"{kind}_queue").copy_(keys.t())
    return ours, theirs


def print_check(options: Options) -> None:
    """Each part of the loss on both sides."""
    options = dataclasses.replace(options, dropout=0.0, precision="float32", views="none")
    ours, theirs = equal_sides(options)
    (total, parts), (their_total, their_parts) = losses_of_both(
        ours, theirs, make_batch(options), StepRandom(0, 0), float(ours.module.state_dict()["alpha"])
    )
    both = {name: (parts[name], part) for name, part in their_parts.items()} | {"total": (total, their_total)}
    print("| part | ours | transcription | difference |\n|---|---|---|---|")
    for name, (own, other) in both.items():
        found, wanted = float(own.detach()), float(other.detach())
        print(f"| {name} | {found:.9f} | {wanted:.9f} | {abs(found - wanted):.1e} |")
