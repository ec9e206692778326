import math

import pytest
import torch
import torch.nn.functional as F

from likewise.objectives import clip_loss, info_nce, moco_loss, nt_xent

TILES = [None, (8, 8), (5, 16)]


def unit(x):
    return F.normalize(x, dim=1)


def pairs(rows=21, width=6, noise=1.0):
    first = torch.randn(rows, width, dtype=torch.float64)
    return first, first + noise * torch.randn(rows, width, dtype=torch.float64)


def temperature(value):
    return torch.tensor(value, dtype=torch.float64)


def naive_info_nce(queries, keys, tau, positives, groups=None, key_groups=None, weights=None):
    """One query, one key at a time. `weights` (B, M): the target over the keys; else one at the positive."""
    queries, keys = unit(queries), unit(keys)
    total = 0.0
    for i in range(len(queries)):
        seen, target = [], 0.0
        for j in range(len(keys)):
            logit = queries[i] @ keys[j] / tau
            mate = groups is not None and groups[i] == key_groups[j] and j != positives[i]
            if not mate:
                seen.append(logit)
            share = float(j == positives[i]) if weights is None else weights[i, j]
            target = target + share * logit
        mass = 1.0 if weights is None else weights[i].sum()
        total = total + mass * torch.stack(seen).logsumexp(0) - target
    return total / len(queries)


def naive_nt_xent(first, second, tau, groups=None):
    views = unit(torch.cat([first, second]))
    groups = range(len(first)) if groups is None else groups
    of = [*groups, *groups]
    total = 0.0
    for i in range(len(views)):
        mate = (i + len(first)) % len(views)
        others = [views[i] @ views[j] / tau for j in range(len(views)) if j == mate or of[j] != of[i]]
        total = total + torch.stack(others).logsumexp(0) - views[i] @ views[mate] / tau
    return total / len(views)


def test_by_hand():
    # Two orthogonal pairs at temperature 1: each row is -log(e / (e + 1)).
    eye = torch.eye(2)
    expected = math.log(math.e + 1) - 1
    assert float(info_nce(eye, eye, temperature=1.0)) == pytest.approx(expected, rel=1e-6)
    assert float(clip_loss(eye, eye, temperature=1.0)) == pytest.approx(expected, rel=1e-6)
    # Of each view's three others one is itself again (1), two are orthogonal (0).
    assert float(nt_xent(eye, eye, temperature=1.0)) == pytest.approx(math.log(math.e + 2) - 1, rel=1e-6)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("tau", [1.0, 0.07, 0.01])
def test_info_nce_against_a_loop(agree, tile, tau):
    queries, keys = pairs()
    keys = torch.cat([torch.randn(9, 6, dtype=torch.float64), keys])
    positives = torch.arange(21) + 9
    agree(
        lambda q, k, t: info_nce(q, k, positives, temperature=t, tile=tile),
        lambda q, k, t: naive_info_nce(q, k, t, positives),
        queries,
        keys,
        temperature(tau),
    )


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("tau", [0.2, 0.02])
def test_groups_are_no_negatives(agree, tile, tau):
    queries, keys = pairs()
    groups = torch.randint(6, (21,))
    agree(
        lambda q, k, t: info_nce(q, k, temperature=t, group_queries=groups, group_keys=groups, tile=tile),
        lambda q, k, t: naive_info_nce(q, k, t, range(21), groups, groups),
        queries,
        keys,
        temperature(tau),
    )


@pytest.mark.parametrize("tile", TILES)
def test_groups_share_the_target(agree, tile):
    queries, keys = pairs()
    groups, key_groups = torch.randint(6, (21,)), torch.cat([torch.randint(6, (4,)), torch.arange(6)])
    keys = keys[:10]
    same = (groups[:, None] == key_groups).double()
    agree(
        lambda q, k, t: info_nce(
            q,
            k,
            torch.zeros(21, dtype=torch.int64),
            temperature=t,
            group_queries=groups,
            group_keys=key_groups,
            same_group="shared",
            tile=tile,
        ),
        lambda q, k, t: naive_info_nce(q, k, t, range(21), weights=same / same.sum(1, keepdim=True)),
        queries,
        keys,
        temperature(0.1),
    )


@pytest.mark.parametrize("tile", TILES)
def test_soft_targets_of_the_caller(agree, tile):
    queries, keys = pairs()
    targets = torch.rand(21, 21, dtype=torch.float64)
    agree(
        lambda q, k, t: info_nce(q, k, temperature=t, targets=targets, tile=tile),
        lambda q, k, t: naive_info_nce(q, k, t, range(21), weights=targets),
        queries,
        keys,
        temperature(0.1),
    )


@pytest.mark.parametrize("same_group", ["left_out", "shared"])
@pytest.mark.parametrize("tile", TILES)
def test_soft_targets_beside_groups(agree, tile, same_group):
    queries, keys = pairs()
    groups = torch.arange(21) // 3
    targets = torch.rand(21, 21, dtype=torch.float64)
    # A key that is left out of the sum cannot be a target; a shared one is a key like any other.
    mates = (groups[:, None] == groups) & ~torch.eye(21, dtype=torch.bool)
    left_out = same_group == "left_out"
    asked = targets.masked_fill(mates, 0.0) if left_out else targets
    agree(
        lambda q, k, t: info_nce(
            q,
            k,
            temperature=t,
            group_queries=groups,
            group_keys=groups,
            same_group=same_group,
            targets=targets,
            tile=tile,
        ),
        lambda q, k, t: naive_info_nce(
            q, k, t, range(21), groups if left_out else None, groups, weights=asked
        ),
        queries,
        keys,
        temperature(0.1),
    )


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tile", TILES)
def test_teacher_targets_are_made_tile_by_tile(agree, tile, shared):
    queries, keys = pairs()
    groups = torch.randint(12, (21,))
    teacher_q, teacher_k = pairs(width=4)
    soft = (unit(teacher_q) @ unit(teacher_k).t() / 0.1).softmax(1)
    hard = (groups[:, None] == groups).double() if shared else torch.eye(21, dtype=torch.float64)
    target = 0.4 * soft + 0.6 * hard / hard.sum(1, keepdim=True)
    extra = {"group_queries": groups, "group_keys": groups, "same_group": "shared"} if shared else {}
    agree(
        lambda q, k, t: info_nce(
            q,
            k,
            temperature=t,
            target_queries=teacher_q,
            target_keys=teacher_k,
            target_weight=0.4,
            target_temperature=0.1,
            tile=tile,
            **extra,
        ),
        lambda q, k, t: naive_info_nce(q, k, t, range(21), weights=target),
        queries,
        keys,
        temperature(0.1),
    )


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("tau", [1.0, 0.07, 0.01])
@pytest.mark.parametrize("grouped", [False, True])
def test_clip_loss_is_both_directions(agree, tile, tau, grouped):
    images, texts = pairs()
    groups = torch.randint(8, (21,)) if grouped else None
    agree(
        lambda i, x, t: clip_loss(i, x, temperature=t, groups=groups, tile=tile),
        lambda i, x, t: (
            (
                naive_info_nce(i, x, t, range(21), groups, groups)
                + naive_info_nce(x, i, t, range(21), groups, groups)
            )
            / 2
        ),
        images,
        texts,
        temperature(tau),
    )


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("tau", [1.0, 0.1, 0.02])
@pytest.mark.parametrize("grouped", [False, True])
def test_nt_xent_against_a_loop(agree, tile, tau, grouped):
    groups = torch.tensor([0, 1, 0, 2, 3, 0, 4, 5, 4, 6, 7]) if grouped else None
    agree(
        lambda a, b, t: nt_xent(a, b, temperature=t, groups=groups, tile=tile),
        lambda a, b, t: naive_nt_xent(a, b, t, None if groups is None else groups.tolist()),
        *pairs(11),
        temperature(tau),
    )


@pytest.mark.parametrize("tile", TILES)
def test_nt_xent_of_replicas_is_that_of_one(tile):
    first, second = pairs(12)
    groups = torch.tensor([0, 1, 0, 2, 3, 0, 4, 5, 4, 6, 7, 3])
    whole = nt_xent(first, second, temperature=0.1, groups=groups)
    shares = [
        nt_xent(
            first[rows],
            second[rows],
            temperature=0.1,
            all_first=first,
            all_second=second,
            rows=rows,
            groups=groups[rows],
            all_groups=groups,
            tile=tile,
        )
        for rows in torch.arange(12).view(3, 4)
    ]
    torch.testing.assert_close(torch.stack(shares).mean(), whole)
    assert whole < nt_xent(first, second, temperature=0.1)
    # All of one group: no negatives, nothing to learn.
    assert float(nt_xent(first, second, temperature=0.1, groups=torch.zeros(12).long())) == pytest.approx(0)


def naive_moco(queries, keys, queue, tau, groups=None, queue_groups=None):
    """One cross-entropy a query: its key first, then the queue (algorithm 1)."""
    losses = []
    for i, query in enumerate(unit(queries)):
        logits = [query @ unit(keys)[i].detach() / tau]
        for j, other in enumerate(unit(queue)):
            if groups is None or groups[i] != queue_groups[j]:
                logits.append(query @ other / tau)
        losses.append(-torch.log_softmax(torch.stack(logits), 0)[0])
    return torch.stack(losses).mean()


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("tau", [1.0, 0.07, 0.01])
@pytest.mark.parametrize("grouped", [False, True])
def test_moco_loss_against_a_loop(agree, tile, tau, grouped):
    queries, keys = pairs()
    queue = torch.randn(33, 6, dtype=torch.float64)
    groups, queue_groups = (torch.arange(21), torch.arange(33) + 15) if grouped else (None, None)
    agree(
        lambda q, t: moco_loss(
            q, keys, queue, temperature=t, groups=groups, queue_groups=queue_groups, tile=tile
        ),
        lambda q, t: naive_moco(q, keys, queue, t, groups, queue_groups),
        queries,
        temperature(tau),
    )


def test_moco_loss_by_hand():
    query, key = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0]])
    queue = torch.tensor([[0.0, 1.0], [0.0, -3.0]])
    # Its key at 1, two others at 0: log(1 + 2/e).
    assert float(moco_loss(query, key, queue, temperature=1.0)) == pytest.approx(math.log(1 + 2 / math.e))
    # Nothing but its own group in the queue: nothing to tell apart.
    own = torch.zeros(1, dtype=torch.int64)
    assert float(moco_loss(query, key, queue, temperature=0.1, groups=own, queue_groups=own.repeat(2))) == 0


def test_moco_loss_moves_queries_alone():
    query, key, queue = (torch.randn(4, 3, requires_grad=True) for _ in range(3))
    moco_loss(query, key, queue, temperature=0.2).backward()
    assert query.grad.abs().sum() > 0
    assert key.grad is None
    assert queue.grad is None


def test_features_as_they_are():
    queries, keys = pairs()
    logits = queries @ keys.t() / 0.5
    expected = F.cross_entropy(logits, torch.arange(21))
    for tile in TILES:
        ours = info_nce(queries, keys, temperature=0.5, normalize=False, tile=tile)
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("tile", TILES)
def test_extreme_temperature(agree, tile):
    # A thousandth: logits up to 1,000. The pairs are far apart, or the loss itself would be zero to rounding.
    images, texts = pairs(noise=4.0)
    agree(
        lambda i, x: clip_loss(i, x, temperature=0.001, tile=tile),
        lambda i, x: (naive_info_nce(i, x, 0.001, range(21)) + naive_info_nce(x, i, 0.001, range(21))) / 2,
        images,
        texts,
        single=1e-3,  # float32 logits of 1,000 are known to 6e-5 only
    )


def test_bfloat16_products_are_close():
    images, texts = (value.float() for value in pairs(64, 32))
    leaves = [images.requires_grad_(), texts.requires_grad_()]
    exact = clip_loss(*leaves, temperature=0.1)
    quick = clip_loss(*leaves, temperature=0.1, precision="bfloat16")
    assert quick.dtype == torch.float32
    torch.testing.assert_close(quick, exact, rtol=1e-2, atol=1e-3)
    for a, b in zip(torch.autograd.grad(quick, leaves), torch.autograd.grad(exact, leaves), strict=True):
        assert (a - b).norm() / b.norm() < 0.02


def test_frozen_keys_get_no_gradient():
    queries, keys = pairs()
    for tile in TILES:
        leaf = queries.clone().requires_grad_()
        info_nce(leaf, keys, temperature=0.1, tile=tile).backward()
        assert leaf.grad.norm() > 0
        assert keys.grad is None


def test_only_the_temperature_is_learned(agree):
    queries, keys = pairs()
    for tile in TILES:
        agree(
            lambda t, tile=tile: info_nce(queries.to(t.dtype), keys.to(t.dtype), temperature=t, tile=tile),
            lambda t: naive_info_nce(queries, keys, t, range(21)),
            temperature(0.3),
            single=1e-4,
        )


def test_order_length_and_rotation_do_not_matter():
    images, texts = pairs()
    loss = clip_loss(images, texts, temperature=0.1)
    order = torch.randperm(21)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    for tile in TILES:
        torch.testing.assert_close(clip_loss(images[order], texts[order], temperature=0.1, tile=tile), loss)
        torch.testing.assert_close(
            clip_loss(3 * images @ rotation, texts @ rotation, temperature=0.1, tile=tile), loss
        )
        torch.testing.assert_close(clip_loss(texts, images, temperature=0.1, tile=tile), loss)


def test_second_derivatives_work_when_dense_and_say_no_when_tiled():
    first, second = (value[:4].requires_grad_() for value in pairs(4, 3))
    torch.autograd.gradgradcheck(lambda a, b: nt_xent(a, b, temperature=0.5), (first, second))
    loss = nt_xent(first, second, temperature=0.5, tile=(2, 2))
    with pytest.raises(RuntimeError, match="can't be differentiated twice"):
        torch.autograd.grad(loss, first, create_graph=True)


def test_wrong_arguments_say_what_came():
    queries, keys = pairs()
    with pytest.raises(ValueError, match=r"\(21, 6\).*\(21, 5\)"):
        info_nce(queries, keys[:, :5], temperature=0.1)
    with pytest.raises(ValueError, match="21 queries but 20 keys"):
        info_nce(queries, keys[:20], temperature=0.1)
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        clip_loss(queries, keys, temperature=0.0)
    with pytest.raises(ValueError, match=r"rows=own_rows"):
        nt_xent(queries, keys, temperature=0.1, all_first=torch.cat([queries, queries]))
    with pytest.raises(ValueError, match="both sides"):
        info_nce(queries, keys, temperature=0.1, group_queries=torch.arange(21))
    with pytest.raises(ValueError, match="no key of its group"):
        info_nce(
            queries,
            keys,
            temperature=0.1,
            same_group="shared",
            group_queries=torch.arange(21),
            group_keys=torch.zeros(21, dtype=torch.int64),
        )
    teacher = {"target_queries": queries, "target_keys": keys}
    with pytest.raises(ValueError, match="not from both"):
        info_nce(queries, keys, temperature=0.1, targets=torch.eye(21), **teacher)
    for alone in ({"target_weight": 0.4}, {"target_temperature": 0.1}):
        with pytest.raises(ValueError, match="are a teacher's"):
            info_nce(queries, keys, temperature=0.1, **alone)
