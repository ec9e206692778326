"""TCL against a plain transcription of its paper: loops over samples, in float64, without dropout.

The equations are those of Yang 2022, arXiv 2202.10401, and for the targets of a twin Li 2021, arXiv
2107.07651. B batch, K queue, D shared space.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from small_methods import STEP
from small_runs import small_settings
from torch import Tensor
from torch.nn import functional as F

from likewise.batches.batch import Batch, TokenBatch
from likewise.errors import ConfigError
from likewise.methods import base as method_module
from likewise.methods.base import BuildContext, Embeddings, Progress, Step, TokenizerInfo, make_views
from likewise.methods.image_text.tcl.options import momentum_and_queue_size
from likewise.methods.image_text.tcl.tcl import TCL, Config
from likewise.runs.training_options import TrainingConfig
from likewise.step_random import StepRandom
from likewise.training.optimizers import build_optimizer
from likewise.views import IGNORE_INDEX, mask_tokens, view_preset

PAD, CLS, SEP, MASK, VOCABULARY = 0, 1, 2, 3, 40
WORDS = TokenizerInfo(VOCABULARY, mask_id=MASK, special_ids=(PAD, CLS, SEP, MASK))
PARTS = ("cma_images", "cma_texts", "imc_images", "imc_texts", "lmi_images", "lmi_texts", "itm", "mlm")
BOUNDS = {name: f"{name}_information" for name in PARTS[:6]}
GROUPS = (0, 1, 1, 2, 3)  # the second and the third row are captions of one photo


@pytest.fixture(autouse=True)
def _views_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views come in float32; networks in float64 want float64."""
    made = method_module.random_view
    monkeypatch.setattr(method_module, "random_view", lambda *args, **opts: made(*args, **opts).double())


def build(*, image: dict[str, Any] | None = None, views: str | None = None, **options: Any) -> TCL:
    """A small TCL in float64 whose twins are no longer its network's copies, without dropout."""
    settings = small_settings("tcl")
    torch.manual_seed(0)
    method = TCL(
        dataclasses.replace(settings.method, **({"queue_size": 7, "embedding_dim": 8} | options)),
        BuildContext(
            image=dataclasses.replace(settings.image, **({"width": 16, "depth": 1} | (image or {}))),
            text=dataclasses.replace(settings.text, width=16, depth=3, dropout=0.0),
            views={"views": settings.views if views is None else view_preset(views)},
            tokenizer=WORDS,
            num_rows=40,
        ),
    ).double()
    with torch.no_grad():
        for weight in method.ema_encoder.parameters():
            weight += 0.05 * torch.randn_like(weight)
        for name, weight in method.network.named_parameters():  # as they start, all texts are alike
            if name == "log_temperature":
                continue
            weight += (0.3 if name.startswith("text.") else 0.05) * torch.randn_like(weight)
        for queue in (method.image_queue, method.text_queue):  # of unit length in float64 too
            queue.keys.copy_(F.normalize(queue.keys, dim=1))
    return method.eval()


def batch(
    groups: tuple[int, ...] = GROUPS, *, first: int = 0, words: tuple[int, ...] = (4, 1, 6, 3, 2)
) -> Batch:
    """Rows whose texts have `words` words between [CLS] and [SEP], in turn."""
    generator = torch.Generator().manual_seed(first)
    B = len(groups)
    lengths = torch.tensor([words[row % len(words)] + 2 for row in range(B)])
    places = torch.arange(int(lengths.max()))
    tokens = torch.randint(4, VOCABULARY, (B, len(places)), generator=generator)
    tokens[:, 0] = CLS
    tokens = torch.where(places == lengths[:, None] - 1, SEP, tokens)
    mask = places < lengths[:, None]
    colours = torch.randint(0, 200, (B, 3, 1, 1), generator=generator)  # noise alone would look all alike
    images = colours + torch.randint(0, 56, (B, 3, 32, 32), generator=generator)
    return Batch(
        index=torch.arange(first, first + B),
        image=images.to(torch.uint8),
        text=TokenBatch(torch.where(mask, tokens, PAD), mask),
        group=torch.tensor(groups),
    )


def prepared(**options: Any) -> tuple[TCL, Embeddings]:
    """A method in the midst of its training, its queue half full of the batch's groups, and embeddings to
    which gradients can be taken."""
    method = build(**options)
    method.image_queue.groups[:4] = torch.tensor([1, 9, 3, 1])
    method.text_queue.groups.copy_(method.image_queue.groups)
    method.alpha.fill_(0.3)
    with torch.no_grad():
        made = method.embed(batch(), Step(StepRandom(0, 0)))
    return method, {
        key: value.detach().clone().requires_grad_() if value.is_floating_point() else value
        for key, value in made.items()
    }


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True)


# -- the transcription


def contrast(
    rows: Tensor,
    keys: Tensor,
    groups: tuple[Tensor, Tensor],
    tau: Tensor,
    *,
    teacher: Tensor | None = None,
    alpha: float = 0.0,
    shared: bool = False,
) -> Tensor:
    """InfoNCE, row by row: -sum of y log p, where y = alpha q + (1 - alpha) one-hot (Li 2021, eq. 6)."""
    losses = []
    for i, row in enumerate(rows):
        same = [k for k in range(len(keys)) if groups[1][k] == groups[0][i]]
        kept = [k for k in range(len(keys)) if shared or k == i or k not in same]
        p = torch.softmax(torch.stack([unit(row) @ unit(keys[k]) / tau for k in kept]), 0)
        y = torch.tensor([(k in same) / len(same) if shared else float(k == i) for k in kept]).double()
        if teacher is not None:
            q = torch.softmax(torch.stack([unit(teacher[i]) @ unit(keys[k]) / tau for k in kept]), 0).detach()
            y = alpha * q + (1 - alpha) * y
        losses.append(-(y * p.log()).sum())
    return torch.stack(losses).mean()


def with_parts(whole: Tensor, local: Tensor, mask: Tensor, group: Tensor, tau: Tensor) -> Tensor:
    """Each local of a sample against all locals of the samples of other groups (Yang 2022, eq. 7 and 8)."""
    losses = []
    for i, row in enumerate(whole):
        score = [[torch.exp(unit(row) @ part / tau) for part in parts] for parts in local]
        others = sum(
            score[j][m]
            for j in range(len(whole))
            for m in range(local.shape[1])
            if group[j] != group[i] and mask[j, m]
        )
        own = [-torch.log(score[i][m] / (score[i][m] + others)) for m in range(local.shape[1]) if mask[i, m]]
        losses.append(torch.stack(own).mean())
    return torch.stack(losses).mean()


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """-sum of targets times log softmax, mean over the rows."""
    return torch.stack(
        [-(y * torch.log(row.exp() / row.exp().sum())).sum() for row, y in zip(logits, targets, strict=True)]
    ).mean()


def transcribed(method: TCL, found: Embeddings, *, shared: bool = False) -> dict[str, Tensor]:
    """All parts, from the embeddings, the queues and the temperature."""
    tau, alpha, group = method.temperature, float(method.alpha), found["group"]
    keys = {
        "images": torch.cat([unit(found["ema_images"]).detach(), method.image_queue.keys]),
        "texts": torch.cat([unit(found["ema_texts"]).detach(), method.text_queue.keys]),
    }
    groups = (group, torch.cat([group, method.image_queue.groups]))
    everything = torch.ones(found["patches"].shape[:2], dtype=torch.bool)
    words = torch.eye(VOCABULARY, dtype=torch.float64)[found["masked_labels"]]
    parts = {
        f"cma_{kind}": contrast(
            found[kind], keys[other], groups, tau, teacher=found[f"ema_{kind}"], alpha=alpha, shared=shared
        )
        for kind, other in (("images", "texts"), ("texts", "images"))
    }
    parts |= {
        f"imc_{kind}": contrast(found[kind], keys[kind], groups, tau, shared=shared)
        for kind in ("images", "texts")
    }
    parts["lmi_images"] = with_parts(found["images"], found["patches"].detach(), everything, group, tau)
    parts["lmi_texts"] = with_parts(found["texts"], found["words"].detach(), found["word_mask"], group, tau)
    match = found["matches"].long()
    parts["itm"] = cross_entropy(found["match_logits"], torch.eye(2, dtype=torch.float64)[match])
    opinion = found["ema_token_logits"].detach().softmax(1)
    parts["mlm"] = cross_entropy(found["token_logits"], alpha * opinion + (1 - alpha) * words)
    return parts


@pytest.mark.parametrize("same_group", ["left_out", "shared"])
def test_every_part_is_the_paper_s(same_group: str) -> None:
    method, found = prepared(same_group=same_group)
    expected = transcribed(method, found, shared=same_group == "shared")
    terms = method.objective(found, STEP)
    assert set(terms.parts) == {*PARTS, *BOUNDS.values(), "temperature"}
    for name in PARTS:
        assert terms.parts[name].item() == pytest.approx(expected[name].item(), rel=1e-9), name
        assert not terms.parts[name].requires_grad
    total = sum(expected[name] for name in PARTS[:6]) / 6 + expected["itm"] + expected["mlm"]
    assert terms.total.item() == pytest.approx(total.item(), rel=1e-9)
    receivers = [found[key] for key in ("images", "texts", "match_logits", "token_logits")]
    receivers.append(method.network.log_temperature)
    for mine, theirs in zip(
        torch.autograd.grad(terms.total, receivers), torch.autograd.grad(total, receivers), strict=True
    ):
        assert mine.norm() > 0
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("same_group", ["left_out", "shared"])
def test_bounds_are_log_candidates_less_the_loss_with_one_hot_targets(same_group: str) -> None:
    method, found = prepared(same_group=same_group)
    terms = method.objective(found, STEP)
    method.alpha.zero_()
    hard = transcribed(method, found, shared=same_group == "shared")
    keys = [*GROUPS, *method.image_queue.groups.tolist()]
    locals_of = {"images": [found["patches"].shape[1]] * len(GROUPS), "texts": found["word_mask"].sum(1)}
    for name, bound in BOUNDS.items():
        option, kind = name.split("_")
        if option == "lmi":
            sizes = [int(size) for size in locals_of[kind]]
            counts = [1 + sum(n for g, n in zip(GROUPS, sizes, strict=True) if g != own) for own in GROUPS]
        elif same_group == "shared":
            counts = [len(keys)] * len(GROUPS)
        else:
            counts = [1 + sum(key != own for key in keys) for own in GROUPS]
        log_candidates = sum(map(math.log, counts)) / len(counts)
        expected = log_candidates - hard[name].item()
        assert terms.parts[bound].item() == pytest.approx(expected, rel=1e-6, abs=1e-9), name
        assert terms.parts[bound] <= log_candidates


@pytest.mark.parametrize(
    ("weights", "left"),
    [
        ({"cma": 1, "imc": 0, "lmi": 0, "itm": 0, "mlm": 0}, PARTS[:2]),
        ({"cma": 0.5, "imc": 2, "lmi": 0, "itm": 0, "mlm": 3}, (*PARTS[:4], "mlm")),
        ({"cma": 2, "imc": 0, "lmi": 0.5, "itm": 0.25, "mlm": 0}, (*PARTS[:2], *PARTS[4:7])),
    ],
)
def test_weights_weigh_and_what_weighs_nothing_is_not_computed(
    weights: dict[str, float], left: tuple[str, ...]
) -> None:
    """The contrastive parts keep the scale of one, whatever their weights; ITM and MLM are added."""
    whole, found = prepared()
    expected = transcribed(whole, found)
    method, made = prepared(**weights)
    absent = {
        "lmi": {"patches", "words", "word_mask"},
        "itm": {"match_logits", "matches"},
        "mlm": {"masked_labels", "token_logits", "ema_token_logits"},
    }
    missing = set().union(*(keys for part, keys in absent.items() if weights[part] == 0))
    assert set(made) == set(found) - missing
    terms = method.objective(made, STEP)
    bounds = {BOUNDS[name] for name in left if name in BOUNDS}
    assert set(terms.parts) == {*left, *bounds, "temperature"}
    contrastive = [name for name in left if name[:3] in ("cma", "imc", "lmi")]
    total = sum(weights[name[:3]] * expected[name].item() for name in contrastive)
    total /= sum(weights[name[:3]] for name in contrastive)
    total += sum(weights[name] * expected[name].item() for name in left if name in ("itm", "mlm"))
    assert terms.total.item() == pytest.approx(total, rel=1e-9)


# -- what is embedded


def test_embeddings_are_those_of_the_network_and_its_twin() -> None:
    """The network sees the first view, its twin the second and the same texts."""
    method, rows, now = build(), batch(), Step(StepRandom(3, 5))
    network, twin = method.network, method.ema_encoder.module
    first, second = make_views(rows, now, network.image, method.view_configs["views"]).chunk(2)
    found = method.embed(rows, now)
    wanted = {
        "images": network.encode_images(first),
        "texts": network.encode_texts(rows.text.tokens, rows.text.mask),
        "ema_images": twin.encode_images(second),
        "ema_texts": twin.encode_texts(rows.text.tokens, rows.text.mask),
        "words": unit(twin.text_projection(twin.text_states(rows.text.tokens, rows.text.mask)[:, 1:])),
    }
    for key, value in wanted.items():
        torch.testing.assert_close(found[key], value, msg=key)
    assert torch.equal(found["word_mask"], rows.text.mask[:, 1:])
    assert torch.equal(found["group"], rows.group)
    assert found["images"].requires_grad
    assert not any(found[key].requires_grad for key in found if key.startswith(("ema", "patches", "words")))


@pytest.mark.parametrize(
    ("size", "patch", "cells"), [(8, 2, 4), (14, 2, 4), (26, 2, 9), (28, 2, 9), (32, 2, 16), (9, 9, 1)]
)
def test_patches_are_pooled_whatever_their_grid(size: int, patch: int, cells: int) -> None:
    """A g x g grid to c x c regions, c = floor(sqrt(g)); they overlap where c does not divide g."""
    method = build(image={"image_size": size, "patch_size": patch}, itm=0, mlm=0)
    rows, now = batch((0, 1)), Step(StepRandom(0, 1))
    found = method.embed(rows, now)["patches"]
    twin: Any = method.ema_encoder.module
    _, second = make_views(rows, now, method.network.image, method.view_configs["views"]).chunk(2)
    patches = unit(twin.image_projection(twin.image_states(second)[:, 1:]))
    g = size // patch
    c = math.floor(math.sqrt(g))
    assert found.shape == (2, c * c, 8) == (2, cells, 8)
    for y in range(c):
        for x in range(c):
            ys = range(y * g // c, math.ceil((y + 1) * g / c))
            xs = range(x * g // c, math.ceil((x + 1) * g / c))
            wanted = torch.stack([patches[:, g * row + column] for row in ys for column in xs]).mean(0)
            torch.testing.assert_close(found[:, c * y + x], wanted)


def test_hidden_words_are_guessed_from_text_and_picture() -> None:
    """One text at a time, all positions; the twin looks at the second view, and reads the same holes."""
    method, rows, now = build(hidden_share=0.4), batch(), Step(StepRandom(0, 2))
    found = method.embed(rows, now)
    views = make_views(rows, now, method.network.image, method.view_configs["views"]).chunk(2)
    tokens, words = mask_tokens(
        rows.text.tokens,
        rows.text.mask,
        draw=now.random,
        index=rows.index,
        mask_id=MASK,
        vocabulary_size=VOCABULARY,
        special_ids=WORDS.special_ids,
        share=0.4,
    )
    places = (words != IGNORE_INDEX).nonzero().tolist()
    assert len(places) > 4
    assert found["masked_labels"].tolist() == [int(words[i, place]) for i, place in places]
    for key, network, view in (
        ("token_logits", method.network, views[0]),
        ("ema_token_logits", method.ema_encoder.module, views[1]),
    ):
        for logits, (i, place) in zip(found[key], places, strict=True):
            one = slice(i, i + 1)
            states = network.text_states(tokens[one], rows.text.mask[one])
            fused = network.fusion(states, rows.text.mask[one], network.image_states(view[one]))
            torch.testing.assert_close(logits, network.word_logits(fused[:, place])[0])  # type: ignore[operator]


def test_without_distillation_the_twin_guesses_no_words() -> None:
    method, found = prepared(distillation=0.0)
    assert "ema_token_logits" not in found
    method.alpha.zero_()
    loss = method.objective(found, STEP).parts["mlm"]
    wanted = torch.nn.functional.cross_entropy(found["token_logits"], found["masked_labels"])
    assert loss.item() == pytest.approx(wanted.item())


def test_no_hidden_word_is_no_loss() -> None:
    method, found = prepared(hidden_share=1e-9)  # drawn for no word of so few
    assert found["token_logits"].shape == (0, VOCABULARY)
    terms = method.objective(found, STEP)
    assert terms.parts["mlm"] == 0
    terms.total.backward()
    assert found["images"].grad is not None
    assert found["images"].grad.isfinite().all()


# -- pairs that do not match


def judged(method: TCL, rows: Batch, now: Step) -> Tensor:
    """(B, B, 2) logits of every text with every picture, one pair at a time."""
    network = method.network
    first, _ = make_views(rows, now, network.image, method.view_configs["views"]).chunk(2)
    images, texts = network.image_states(first), network.text_states(rows.text.tokens, rows.text.mask)
    B = len(rows)
    pairs = [
        network.match_logits(texts[t : t + 1], rows.text.mask[t : t + 1], images[i : i + 1])
        for t in range(B)
        for i in range(B)
    ]
    return torch.cat(pairs).view(B, B, 2)


def which(logits: Tensor, table: Tensor) -> list[tuple[int, int]]:
    """The (text, picture) whose logits these are."""
    apart = (logits[:, None, None] - table).abs().amax(3).flatten(1)  # (P, B B)
    assert (apart.amin(1) < 1e-10).all(), "logits of no pair"
    assert (apart.topk(2, largest=False).values[:, 1] > 1e-8).all(), "pairs that cannot be told apart"
    return [divmod(int(place), len(table)) for place in apart.argmin(1)]


def halves(pairs: list[tuple[int, int]], own: list[int]) -> tuple[list[tuple[int, int]], ...]:
    """Each text (their own numbers, in order) with another picture, and each picture with another text."""
    first, second = pairs[: len(own)], pairs[len(own) :]
    if [text for text, _ in first] != own:
        first, second = second, first
    assert [text for text, _ in first] == [image for _, image in second] == own
    return first, second


@pytest.mark.parametrize("negatives", ["replica", "all"])
@torch.no_grad()
def test_itm_judges_true_pairs_and_one_hard_negative_of_either_kind(negatives: str) -> None:
    method, rows = build(lmi=0, mlm=0, negatives=negatives), batch()
    B = len(rows)
    for step in range(4):
        found = method.embed(rows, Step(StepRandom(0, step)))
        pairs = which(found["match_logits"], judged(method, rows, Step(StepRandom(0, step))))
        assert found["matches"].tolist() == [1] * B + [0] * 2 * B
        assert pairs[:B] == [(i, i) for i in range(B)]
        halves(pairs[B:], list(range(B)))
        assert all(GROUPS[text] != GROUPS[image] for text, image in pairs[B:])


@torch.no_grad()
def test_negatives_are_drawn_by_their_likeness() -> None:
    """With probability softmax(similarity / temperature) over the rows of other groups.

    The similarity is that of the network's features with the EMA encoder's, which is far from it here.
    Ten copies each of five pairs, of which the second and third share a group: draws of copies are
    independent, and a copy of pair b is drawn as often as exp(similarity to b) times the copies says.
    """
    method = build(lmi=0, mlm=0, views="none", negatives="replica")
    few, copies = batch(), 10
    method.network.log_temperature.fill_(math.log(0.2))
    for weight in method.ema_encoder.module.image_projection.parameters():
        weight.neg_()
    table = judged(method, few, Step(StepRandom(0, 0)))
    kinds = torch.arange(len(few)).repeat(copies)
    many = Batch(
        index=torch.arange(len(kinds)),
        image=few.image[kinds],
        text=few.text.map(lambda tensor: tensor[kinds]),
        group=few.group[kinds],
    )
    B = len(kinds)
    counts = {"image": np.zeros((5, 5)), "text": np.zeros((5, 5))}
    for step in range(30):
        found = method.embed(many, Step(StepRandom(1, step)))
        pairs = which(found["match_logits"][B:], table)
        other_images, other_texts = halves(pairs, kinds.tolist())
        for text, image in other_images:
            counts["image"][text, image] += 1
        for text, image in other_texts:
            counts["text"][image, text] += 1
    for kind, query, key in (("image", "texts", "ema_images"), ("text", "images", "ema_texts")):
        logits = unit(found[query][:5]) @ unit(found[key][:5]).T / 0.2
        logits[few.group[:, None] == few.group] = -torch.inf  # type: ignore[index]
        expected = logits.softmax(1).numpy() * copies * 30
        allowed = expected > 0
        assert (allowed == (few.group[:, None] != few.group).numpy()).all()  # type: ignore[index]
        assert np.ptp(expected[allowed]) > 50, "the test needs likenesses that differ"
        assert (counts[kind][~allowed] == 0).all()
        deviation = np.sqrt(expected * (1 - expected / (copies * 30)))
        assert (abs(counts[kind] - expected)[allowed] < 4 * deviation[allowed]).all()


@pytest.mark.parametrize("groups", [(4,), (4, 4, 4)])
def test_a_batch_of_one_photo_has_no_negatives(groups: tuple[int, ...]) -> None:
    method, rows = build(), batch(groups)
    found = method.embed(rows, Step(StepRandom(0, 0)))
    # Nobody has a negative: such pairs count for nothing.
    assert found["matches"].tolist() == [1] * len(groups) + [-100] * 2 * len(groups)
    terms = method.objective(found, STEP)
    terms.total.backward()
    assert all(part.isfinite() for part in terms.parts.values())
    assert terms.parts["lmi_images"] == terms.parts["lmi_texts"] == 0
    gradients = [weight.grad for weight in method.parameters() if weight.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_texts_without_words() -> None:
    """[CLS] and [SEP] alone, some padded, some all of the batch."""
    for words in ((0,), (0, 3)):
        method, rows = build(hidden_share=1.0), batch(words=words)
        terms = method.objective(method.embed(rows, Step(StepRandom(0, 0))), STEP)
        terms.total.backward()
        assert terms.total.isfinite()
        assert (terms.parts["mlm"] == 0) == (words == (0,))
        assert all(weight.grad.isfinite().all() for weight in method.parameters() if weight.grad is not None)


@pytest.mark.parametrize("parts", [{}, {"itm": 0.0}, {"lmi": 0.0}, {"mlm": 0.0}])
@pytest.mark.parametrize("empty", ["one row", "all rows", "[CLS] alone"])
def test_texts_without_tokens(empty: str, parts: dict[str, float]) -> None:
    """Rows of padding alone, which no tokenizer makes but a caller may, and texts of a single token."""
    method, rows = build(hidden_share=1.0, **parts), batch()
    if empty == "[CLS] alone":
        rows = rows.with_columns(text=rows.text.map(lambda tensor: tensor[:, :1]))
    else:
        kept = torch.arange(len(rows.text.mask)) > (0 if empty == "one row" else len(rows.text.mask))
        rows = rows.with_columns(text=TokenBatch(rows.text.tokens, rows.text.mask & kept[:, None]))
    terms = method.objective(method.embed(rows, Step(StepRandom(0, 0))), STEP)
    terms.total.backward()
    assert terms.total.isfinite()
    gradients = [weight.grad for weight in method.parameters() if weight.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_padding_changes_nothing() -> None:
    method, rows = build(hidden_share=0.4), batch()
    tokens, mask = rows.text.tokens, rows.text.mask
    pad = torch.nn.functional.pad
    padded = rows.with_columns(text=TokenBatch(pad(tokens, (0, 5), value=PAD), pad(mask, (0, 5))))
    with torch.no_grad():
        one, other = (
            method.objective(method.embed(b, Step(StepRandom(0, 0))), STEP).parts for b in (rows, padded)
        )
    for name in PARTS:
        assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-9), name


# -- what lasts from step to step


def test_no_gradient_reaches_twins_or_queues() -> None:
    method = build()
    method.alpha.fill_(0.4)
    terms = method.objective(method.embed(batch(), Step(StepRandom(0, 0))), STEP)
    terms.total.backward()
    assert all(not weight.requires_grad and weight.grad is None for weight in method.ema_encoder.parameters())
    assert not any(buffer.requires_grad for buffer in method.buffers())
    without = {name for name, weight in method.network.named_parameters() if weight.grad is None}
    assert not without, without
    assert method.network.log_temperature.grad is not None
    assert method.network.log_temperature.grad != 0


@pytest.mark.parametrize("size", [7, 3, 0])
def test_twins_and_queues_against_a_simulation(size: int) -> None:
    """Four steps of five rows; a queue that they do not divide, one shorter than a batch, and none."""
    method = build(queue_size=size, ema_momentum=0.9, itm=0, mlm=0)
    optimizer = torch.optim.SGD([w for w in method.parameters() if w.requires_grad], lr=0.5)
    queues = {"images": method.image_queue, "texts": method.text_queue}
    keys = {kind: queue.keys.numpy().copy() for kind, queue in queues.items()}
    groups, place = np.full(size, -1), 0
    twin = {name: weight.numpy().copy() for name, weight in method.ema_encoder.module.named_parameters()}
    for step in range(4):
        rows = batch(tuple(10 * step + group for group in GROUPS), first=5 * step)
        found = method.embed(rows, Step(StepRandom(0, step)))
        terms = method.objective(found, STEP)
        optimizer.zero_grad()
        terms.total.backward()
        for kind, queue in queues.items():
            np.testing.assert_allclose(queue.keys, keys[kind], rtol=1e-12)  # not yet pushed
        optimizer.step()
        method.after_step(Progress(step + 1, 4))
        for row in range(max(0, 5 - size), 5):
            for kind in keys:
                vector = found[f"ema_{kind}"][row].numpy()
                keys[kind][place] = vector / np.sqrt((vector**2).sum())
            groups[place] = 10 * step + GROUPS[row]
            place = (place + 1) % size
        for kind, queue in queues.items():
            np.testing.assert_allclose(queue.keys, keys[kind], rtol=1e-12)
            assert queue.groups.tolist() == groups.tolist()
        for name, weight in method.network.named_parameters():
            twin[name] = 0.9 * twin[name] + 0.1 * weight.detach().numpy()
    for name, weight in method.ema_encoder.module.named_parameters():
        np.testing.assert_allclose(weight, twin[name], rtol=1e-10, atol=1e-14)
    method.reset_ema()
    for mine, theirs in zip(method.ema_encoder.module.parameters(), method.network.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_networks_from_nothing_have_close_twins_and_no_queue_by_default() -> None:
    method = build(queue_size=None)
    assert len(method.image_queue) == len(method.text_queue) == 0
    assert method.ema_momentum == 0.9


@pytest.mark.parametrize(
    ("image", "text", "trained", "expected"),
    [
        ("vit", "bert", None, (0.995, 10)),
        (None, "bert", None, (0.9, 0)),
        ("vit", None, None, (0.9, 0)),
        (None, None, {"kind": "fusion", "image": {}, "text": {}}, (0.995, 10)),
        (None, None, {"kind": "image", "image": {}}, (0.9, 0)),  # such as a SimCLR run
        (None, "bert", {"kind": "image", "image": {}}, (0.995, 10)),
    ],
)
def test_twins_and_queues_of_trained_networks_are_the_papers(
    image: str | None, text: str | None, trained: dict[str, Any] | None, expected: tuple[float, int]
) -> None:
    settings = small_settings("tcl")
    ingredients = BuildContext(
        image=dataclasses.replace(settings.image, pretrained=image),
        text=dataclasses.replace(settings.text, pretrained=text),
        views={"views": settings.views},
        num_rows=40,
        trained=trained,
    )
    assert momentum_and_queue_size(Config(), ingredients) == expected
    assert momentum_and_queue_size(Config(ema_momentum=0.5, queue_size=3), ingredients) == (0.5, 3)


def test_the_twins_opinion_counts_more_during_the_first_epoch() -> None:
    method = build(distillation=0.4, itm=0, mlm=0, lmi=0, imc=0)
    assert method.alpha == 0
    method.objective(method.embed(batch(), Step(StepRandom(0, 0))), STEP)
    seen = []
    for step in range(1, 8):
        method.after_step(Progress(step, 100, steps_per_epoch=5))
        seen.append(float(method.alpha))
    assert seen == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.4, 0.4])


def test_the_temperature_is_learned_within_bounds_and_does_not_decay() -> None:
    method = build(temperature=0.07, itm=0, mlm=0)
    assert method.temperature.item() == pytest.approx(0.07, rel=1e-6)
    method.objective(method.embed(batch(), Step(StepRandom(0, 0))), STEP)
    for far, bound in ((9.0, 0.5), (-20.0, 0.001)):
        with torch.no_grad():
            method.network.log_temperature.fill_(far)
        method.after_step(Progress(1, 2))
        assert method.temperature.item() == pytest.approx(bound, rel=1e-6)
    groups = build_optimizer(method, TrainingConfig(weight_decay=0.02)).param_groups
    of = {id(weight): group["weight_decay"] for group in groups for weight in group["params"]}
    assert of[id(method.network.log_temperature)] == 0
    assert of[id(method.network.text_projection.weight)] == 0.02
    assert of[id(method.network.text_projection.bias)] == 0
    assert len(of) == sum(weight.requires_grad for weight in method.network.parameters())
    assert not any(id(weight) in of for weight in method.ema_encoder.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cma": 0}, r"method\.cma is 0: images and texts"),
        ({"lmi": -1}, r"method\.lmi is -1; a weight"),
        ({"temperature": 0.7}, r"method\.temperature is 0\.7"),
        ({"distillation": 1.5}, r"method\.distillation"),
        ({"hidden_share": -0.1}, r"--method\.hidden-share"),
        ({"hidden_share": 0.0}, r"--method\.hidden-share is 0: .* --method\.mlm 0"),
        ({"fusion_depth": 0}, r"--method\.fusion-depth"),
    ],
)
def test_options_that_cannot_work_name_themselves(options: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(**options)  # type: ignore[arg-type]


def test_hiding_words_needs_a_mask_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "WORDS", TokenizerInfo(VOCABULARY, None, (PAD, CLS, SEP)))
    with pytest.raises(ConfigError, match=r"no \[MASK\] token; set --method\.mlm 0"):
        build()
    assert set(build(mlm=0).embed(batch(), Step(StepRandom(0, 0)))) >= {"images", "match_logits"}


@pytest.mark.parametrize("native", [True, False])
def test_twins_multiply_low_where_that_is_fast(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likewise.methods.image_text.tcl.tcl.native_bfloat16", lambda device: native)
    for asked in ("auto", "same"):
        method = build(twin_precision=asked).float()
        found = method.embed(batch(), Step(StepRandom(0, 0)))
        low = native and asked == "auto"
        assert found["ema_token_logits"].dtype == (torch.bfloat16 if low else torch.float32)
        assert found["token_logits"].dtype == found["images"].dtype == torch.float32
        terms = method.objective(found, STEP)
        assert terms.total.isfinite()
        method.after_step(Progress(1, 2))
        assert method.image_queue.keys.dtype == torch.float32
