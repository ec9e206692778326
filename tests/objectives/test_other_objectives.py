"""The objectives that are not a softmax over keys: each against a naive loop of its paper's formula."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from likewise import objectives as o
from likewise.objectives import _strips, _tiles

F64 = torch.float64


def unit(x):
    return F.normalize(x, dim=-1)


def features(rows=14, width=5):
    return torch.randn(rows, width, dtype=F64)


@pytest.fixture(params=["one strip", "many strips"])
def strips(request, monkeypatch):
    if request.param == "many strips":
        monkeypatch.setattr(_strips, "STRIP_ROWS", 3)
        monkeypatch.setattr(_strips, "STRIP_ENTRIES", 10)


LABELS = torch.tensor([3, 1, 3, 0, 1, 1, 9, 3, 0, 3, 1, 7, 0, 3])  # 9 and 7 have no positive


# --- contrast -----------------------------------------------------------------------------------------------


def naive_sigmoid(images, texts, t, bias):
    total = 0.0
    for i, j in itertools.product(range(len(images)), range(len(texts))):
        sign = 1 if i == j else -1
        total = total - F.logsigmoid(sign * (unit(images[i]) @ unit(texts[j]) / t + bias))
    return total / len(images)


@pytest.mark.usefixtures("strips")
def test_sigmoid_loss(agree):
    agree(
        lambda i, x, t, b: o.sigmoid_loss(i, x, temperature=t, bias=b),
        naive_sigmoid,
        features(),
        features(),
        torch.tensor(0.1, dtype=F64),
        torch.tensor(-2.0, dtype=F64),
    )


def test_sigmoid_loss_by_hand():
    # Two orthogonal pairs, t = 1, b = 0: a pair gives log(1 + 1/e), a non-pair log 2; one of each an image.
    loss = o.sigmoid_loss(torch.eye(2), torch.eye(2), temperature=1.0, bias=0.0)
    assert float(loss) == pytest.approx(math.log(1 + 1 / math.e) + math.log(2), rel=1e-6)


@pytest.mark.usefixtures("strips")
def test_sigmoid_loss_leaves_group_mates_out():
    images, texts = features(4), features(4)
    groups = torch.tensor([0, 1, 0, 2])
    total = 0.0
    for i, j in itertools.product(range(4), range(4)):
        if i == j or groups[i] != groups[j]:
            sign = 1 if i == j else -1
            total = total - F.logsigmoid(sign * (unit(images[i]) @ unit(texts[j]) / 0.5 - 1))
    ours = o.sigmoid_loss(images, texts, temperature=0.5, bias=-1.0, groups=groups)
    torch.testing.assert_close(ours, total / 4)


def naive_supervised(x, t):
    x, losses = unit(x), []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i]
        lse = torch.stack([x[i] @ x[j] / t for j in others]).logsumexp(0)
        positives = [x[i] @ x[j] / t for j in others if LABELS[j] == LABELS[i]]
        if positives:
            losses.append(lse - torch.stack(positives).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("tile", [None, (4, 4)])
def test_supervised_contrastive(agree, tile):
    agree(
        lambda x, t: o.supervised_contrastive(x, LABELS, temperature=t, tile=tile),
        naive_supervised,
        features(),
        torch.tensor(0.1, dtype=F64),
    )


def test_supervised_contrastive_with_pairs_is_nt_xent():
    first, second = features(), features()
    labels = torch.arange(14).repeat(2) * 1_000_003  # labels are names, not places in a table
    ours = o.supervised_contrastive(torch.cat([first, second]), labels, temperature=0.2)
    torch.testing.assert_close(ours, o.nt_xent(first, second, temperature=0.2))


def test_supervised_contrastive_without_positives_is_zero():
    x = features(3).requires_grad_()
    loss = o.supervised_contrastive(x, torch.arange(3), temperature=0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert not x.grad.any()


@pytest.mark.parametrize("own_noise", [False, True])
def test_nce(agree, own_noise):
    num_items, tau, log_z = 100, 0.3, 4.0
    noise = torch.randn(14, 6, 5, dtype=F64) if own_noise else features(6)

    def naive(queries, positives, noise):
        total = 0.0
        for i, query in enumerate(queries):
            samples = noise[i] if noise.dim() == 3 else noise
            chance = len(samples) / num_items
            p = torch.exp(unit(query) @ unit(positives[i]) / tau - log_z)
            total = total - torch.log(p / (p + chance))
            for sample in samples:
                p = torch.exp(unit(query) @ unit(sample) / tau - log_z)
                total = total - torch.log(1 - p / (p + chance))
        return total / len(queries)

    agree(
        lambda q, p, n: o.nce(q, p, n, temperature=tau, num_items=num_items, log_normalizer=log_z),
        naive,
        features(),
        features(),
        noise,
    )


def test_nce_normalizer():
    queries, noise = features(), features(7)
    ours = o.nce_log_normalizer(queries, noise, temperature=0.5, num_items=50)
    expected = torch.log(50 * torch.exp(unit(queries) @ unit(noise).t() / 0.5).mean())
    torch.testing.assert_close(ours, expected)


@pytest.mark.usefixtures("strips")
def test_hard_negatives_never_share_the_group():
    groups = torch.tensor([0, 0, 1, 2])
    same = torch.zeros(400, 4)  # four equal rows: candidates are as likely as each other
    found, any_ = o.draw_hard_negatives(
        same + 1,
        torch.ones(4, 4),
        temperature=0.1,
        group_queries=torch.zeros(400, dtype=torch.int64),
        group_candidates=groups,
        generator=torch.Generator().manual_seed(0),
    )
    assert any_.all()
    assert set(found.tolist()) == {2, 3}
    assert 120 < int((found == 2).sum()) < 280
    _, any_ = o.draw_hard_negatives(
        torch.ones(2, 4),
        torch.ones(2, 4),
        temperature=0.1,
        group_queries=groups[:2],
        group_candidates=groups[:2],
    )
    assert not any_.any()


@pytest.mark.usefixtures("strips")
def test_hard_negatives_are_equal_in_no_way():
    ways = torch.tensor(
        [[0, 7], [1, 7], [0, 8], [2, 9]]
    )  # another picture with the text of the first, and so on
    found, any_ = o.draw_hard_negatives(
        torch.ones(50, 4),
        torch.ones(4, 4),
        temperature=0.1,
        group_queries=ways[:1].expand(50, 2),
        group_candidates=ways,
        generator=torch.Generator().manual_seed(0),
    )
    assert any_.all()
    assert set(found.tolist()) == {3}
    with pytest.raises(ValueError, match=r"group_candidates must have shape \(4, 2\), got \(4, 1\)"):
        o.draw_hard_negatives(
            torch.ones(2, 4),
            torch.ones(4, 4),
            temperature=0.1,
            group_queries=ways[:2],
            group_candidates=ways[:, 0],
        )


def test_hard_negatives_follow_the_softmax():
    query, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    found, _ = o.draw_hard_negatives(
        query.expand(4000, 2),
        candidates,
        temperature=1.0,
        group_queries=torch.full((4000,), 9),
        group_candidates=torch.tensor([0, 1]),
        generator=torch.Generator().manual_seed(0),
    )
    assert float((found == 0).float().mean()) == pytest.approx(math.e / (math.e + 1), abs=0.03)


# --- metric -------------------------------------------------------------------------------------------------


def hadsell(a, b, same, margin=1.0):
    d2 = ((a - b) ** 2).sum()
    return d2 / 2 if same else torch.clamp(margin - d2.sqrt(), min=0) ** 2 / 2


def test_siamese_loss(agree):
    first, second = features(), features()
    same = torch.rand(14) < 0.5

    def naive(a, b):
        return sum(hadsell(unit(a[i]), unit(b[i]), same[i]) for i in range(14)) / 14

    agree(lambda a, b: o.siamese_loss(a, b, same), naive, first, second)
    # d = 1/2: 1/8 when the same; (1 - 1/2)^2 / 2 = 1/8 when not, and 0 from the margin on.
    a, b = torch.zeros(3, 1), torch.tensor([[0.5], [0.5], [1.5]])
    each = [
        o.siamese_loss(a[i : i + 1], b[i : i + 1], torch.tensor([i == 0]), normalize=False) for i in range(3)
    ]
    assert [float(value) for value in each] == pytest.approx([0.125, 0.125, 0.0])


@pytest.mark.usefixtures("strips")
def test_pair_loss(agree):
    def naive(x):
        x = unit(x)
        pairs = itertools.permutations(range(14), 2)
        return torch.stack([hadsell(x[i], x[j], LABELS[i] == LABELS[j]) for i, j in pairs]).mean()

    agree(lambda x: o.pair_loss(x, LABELS), naive, features())


def naive_triplets(x, mining, squared, margin=0.3):
    x = unit(x)
    n = len(x)
    gap = ((x[:, None] - x[None]) ** 2).sum(-1)
    apart = gap if squared else torch.where(gap > 0, gap.clamp_min(1e-30).sqrt(), 0.0)
    losses = []
    for a in range(n):
        positives = [p for p in range(n) if p != a and LABELS[p] == LABELS[a]]
        negatives = [q for q in range(n) if LABELS[q] != LABELS[a]]
        if mining == "hard":
            if positives and negatives:
                far = torch.stack([apart[a, p] for p in positives]).max()
                near = torch.stack([apart[a, q] for q in negatives]).min()
                losses.append((far - near + margin).clamp_min(0))
            continue
        for p in positives:
            chosen = negatives
            if mining == "semihard":
                farther = [q for q in negatives if apart[a, q] > apart[a, p]]
                chosen = [min(farther, key=lambda q: float(apart[a, q].detach()))] if farther else []
                if not chosen:
                    losses.append(0 * apart[a, p])
            losses.extend((apart[a, p] - apart[a, q] + margin).clamp_min(0) for q in chosen)
    return torch.stack(losses).mean()


@pytest.mark.usefixtures("strips")
@pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
@pytest.mark.parametrize("squared", [False, True])
def test_triplet_loss(agree, mining, squared):
    agree(
        lambda x: o.triplet_loss(x, LABELS, margin=0.3, mining=mining, squared=squared),
        lambda x: naive_triplets(x, mining, squared),
        features(),
    )


@pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
def test_triplets_that_do_not_exist_give_zero(mining):
    for labels in (torch.arange(5), torch.zeros(5, dtype=torch.int64)):
        x = features(5).requires_grad_()
        loss = o.triplet_loss(x, labels, mining=mining)
        loss.backward()
        assert float(loss.detach()) == 0
        assert not x.grad.any()


# --- regression ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("strips")
@pytest.mark.parametrize("offset", [100.0, 1000.0])
@pytest.mark.parametrize("mining", ["all", "hard", "semihard", "pairs"])
def test_distances_hold_far_from_the_origin(mining, offset):
    """In float32 the Gram matrix of rows near 1000 knows nothing of distances near 1."""
    near = (0.1 * features(32, 8)).float()
    labels = torch.arange(32) % 8

    def loss(rows):
        if mining == "pairs":
            return o.pair_loss(rows, labels, normalize=False)
        return o.triplet_loss(rows, labels, mining=mining, normalize=False)

    far = near + offset  # rounded: compared with the very same rows in float64
    assert float(loss(far)) == pytest.approx(float(loss(far.double())), rel=1e-4)


def test_byol_and_simsiam(agree):
    targets = features()
    naive = [
        lambda p: ((unit(p) - unit(targets)) ** 2).sum(1).mean(),
        lambda p: -(unit(p) * unit(targets)).sum(1).mean(),
    ]
    for ours, reference in zip((o.byol_loss, o.simsiam_loss), naive, strict=True):
        agree(lambda p, ours=ours: ours(p, targets.to(p.dtype)), reference, features())
        targets.requires_grad_()
        ours(features().requires_grad_(), targets).backward()
        assert targets.grad is None
        targets.requires_grad_(False)
    assert float(o.byol_loss(torch.eye(2), torch.eye(2).flip(0))) == 2
    assert float(o.simsiam_loss(torch.eye(2), 2 * torch.eye(2))) == -1


# --- information --------------------------------------------------------------------------------------------


def as_the_paper_builds_it(local, global_, mask, tau):
    """Every local of every sample with its own copy of the negatives: (B, L, B L)."""
    B, L, _ = local.shape
    local, global_ = unit(local), unit(global_)
    logits = torch.einsum("bd,cld->bcl", global_, local) / tau  # (B, B, L)
    own = logits[torch.arange(B), torch.arange(B)]  # (B, L)
    hidden = torch.eye(B, dtype=torch.bool)[:, :, None] | ~mask[None]  # own sample, padding
    negatives = logits.masked_fill(hidden, -math.inf).reshape(B, 1, B * L).expand(B, L, B * L)
    rows = torch.cat([own[:, :, None], negatives], 2)  # (B, L, 1 + B L)
    losses = (rows.logsumexp(2) - own) * mask
    return (losses.sum(1) / mask.sum(1)).mean()


@pytest.mark.parametrize("entries", [0, 10**6])
def test_local_information(agree, monkeypatch, entries):
    monkeypatch.setattr(_tiles, "DENSE_ENTRIES", entries)
    local, mask = torch.randn(6, 4, 5, dtype=F64), torch.rand(6, 4) < 0.7
    mask[:, 0] = True
    for given in (mask, None):
        agree(
            lambda x, g, t, given=given: o.local_information(x, g, temperature=t, mask=given),
            lambda x, g, t, given=given: as_the_paper_builds_it(
                x, g, torch.ones_like(mask) if given is None else given, t
            ),
            local,
            features(6),
            torch.tensor(0.1, dtype=F64),
        )


def test_local_information_of_one_sample_or_of_nothing():
    local, global_ = torch.randn(1, 4, 5).requires_grad_(), torch.randn(1, 5).requires_grad_()
    loss = o.local_information(local, global_, temperature=0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert local.grad.isfinite().all()
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    assert (
        float(o.local_information(torch.randn(3, 4, 5), torch.randn(3, 5), temperature=0.1, mask=nothing))
        == 0
    )


def test_empty_samples_are_left_out_of_the_mean():
    local, global_ = torch.randn(4, 3, 5), torch.randn(4, 5)
    mask = torch.ones(4, 3, dtype=torch.bool)
    mask[2] = False
    kept = torch.tensor([0, 1, 3])
    torch.testing.assert_close(
        o.local_information(local, global_, temperature=0.2, mask=mask),
        o.local_information(local[kept], global_[kept], temperature=0.2),
    )


def test_local_information_of_processes_is_that_of_one_in_float64():
    local, global_ = torch.randn(7, 4, 5, dtype=F64), torch.randn(7, 5, dtype=F64)
    mask = torch.rand(7, 4) < 0.7
    mask[:, 0], mask[3] = True, False  # one sample has no locals
    kept = [0, 1, 2, 4, 5, 6]
    whole = as_the_paper_builds_it(local[kept], global_[kept], mask[kept], 0.1)
    parts = [
        o.local_information(
            local[rows],
            global_[rows],
            temperature=0.1,
            mask=mask[rows],
            all_local=local,
            all_mask=mask,
            rows=rows,
        )
        for rows in (torch.arange(3), torch.arange(3, 7))
    ]
    torch.testing.assert_close((3 * parts[0] + 4 * parts[1]) / 7, whole, rtol=1e-14, atol=0)


def test_alignment_and_uniformity(agree):
    agree(o.alignment, lambda a, b: ((unit(a) - unit(b)) ** 2).sum(1).mean(), features(), features())
    agree(
        lambda a, b: o.alignment(a, b, power=1),
        lambda a, b: (unit(a) - unit(b)).norm(dim=1).mean(),
        features(),
        features(),
    )

    def naive(x):
        pairs = itertools.combinations(unit(x), 2)
        return torch.stack([torch.exp(-2 * ((a - b) ** 2).sum()) for a, b in pairs]).mean().log()

    agree(o.uniformity, naive, features())
    assert float(o.uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(-8)


# --- language -----------------------------------------------------------------------------------------------


def test_uniformity_of_rows_without_direction():
    """They are the same, and at a right angle to all others."""
    assert float(o.uniformity(torch.zeros(5, 3))) == pytest.approx(0, abs=1e-6)
    rows = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0]], requires_grad=True)
    loss = o.uniformity(rows)
    assert float(loss.detach()) == pytest.approx(math.log((1 + 2 * math.exp(-4)) / 3), rel=1e-6)
    loss.backward()
    assert rows.grad.isfinite().all()


def test_matching_loss(agree):
    matches = torch.tensor([True, False, True])
    agree(
        lambda x: o.matching_loss(x, matches),
        lambda x: -(x.softmax(1)[torch.arange(3), matches.long()]).log().mean(),
        features(3, 2),
    )
    assert float(o.matching_loss(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))) == 0


def test_masked_language_loss(agree):
    labels = torch.tensor([[3, -100, 0], [-100, -100, 4]])
    teacher = torch.randn(2, 3, 5, dtype=F64)

    def naive(x):
        total, count = 0.0, 0
        for place in itertools.product(range(2), range(3)):
            if labels[place] >= 0:
                p = x[place].softmax(0).log()
                total = total - 0.7 * p[labels[place]] - 0.3 * (teacher[place].softmax(0) * p).sum()
                count += 1
        return total / count

    x = torch.randn(2, 3, 5, dtype=F64)
    agree(lambda x: o.masked_language_loss(x, labels, teacher_logits=teacher, teacher_weight=0.3), naive, x)
    rows = {"teacher_logits": teacher.flatten(0, 1), "teacher_weight": 0.3}
    agree(lambda x: o.masked_language_loss(x.flatten(0, 1), labels.flatten(), **rows), naive, x)
    plain = o.masked_language_loss(x, labels)
    torch.testing.assert_close(plain, F.cross_entropy(x.flatten(0, 1), labels.flatten()))
    leaf = x.clone().requires_grad_()
    empty = o.masked_language_loss(leaf, torch.full((2, 3), -100))
    empty.backward()
    assert float(empty.detach()) == 0
    assert not leaf.grad.any()


# --- domains ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("strips")
def test_mmd(agree):
    source, target = features(9), features(7) + 0.5

    def kernel(a, b):
        return sum(torch.exp(-((a - b) ** 2).sum() / (3.0 * 2.0**k)) for k in (-1, 0, 1)) / 3

    def naive(s, t):
        within = [torch.stack([kernel(a, b) for a, b in itertools.permutations(x, 2)]).mean() for x in (s, t)]
        return sum(within) - 2 * torch.stack([kernel(a, b) for a, b in itertools.product(s, t)]).mean()

    agree(lambda s, t: o.mmd(s, t, bandwidth=3.0, num_kernels=3), naive, source, target)
    pairs = [((a - b) ** 2).sum() for a, b in itertools.combinations(torch.cat([source, target]), 2)]
    median = torch.stack(pairs).median()
    torch.testing.assert_close(o.mmd(source, target), o.mmd(source, target, bandwidth=median))
    assert float(o.mmd(torch.ones(3, 2), torch.ones(4, 2))) == pytest.approx(0, abs=1e-6)


def test_coral_and_mean_difference(agree):
    def naive(s, t):
        return ((s.T.cov() - t.T.cov()) ** 2).sum() / (4 * 5**2)

    agree(o.coral, naive, features(9), features(7))
    agree(o.mean_difference, lambda s, t: (s.mean(0) - t.mean(0)).abs().sum(), features(9), features(7))


def test_gradient_reversal():
    x = features().requires_grad_()
    same = o.gradient_reversal(x, 0.5)
    assert torch.equal(same, x)
    same.sum().backward()
    assert torch.equal(x.grad, torch.full_like(x, -0.5))
    assert o.reversal_strength(0.0) == 0
    assert o.reversal_strength(1.0) == pytest.approx(2 / (1 + math.exp(-10)) - 1)
    with pytest.raises(ValueError, match="share of training"):
        o.reversal_strength(1.5)


def test_cross_view_consistency(agree):
    def naive(a, b):
        p, q = a.softmax(1), b.softmax(1)
        both = (p * (p / q).log()).sum(1) + (q * (q / p).log()).sum(1)
        return both.mean() / 2

    agree(o.cross_view_consistency, naive, features(), features())
    assert float(o.cross_view_consistency(torch.ones(2, 3), torch.ones(2, 3))) == 0


def test_candidates_are_the_keys_of_other_groups_and_the_positive():
    queries, keys = torch.tensor([0, 1, 5]), torch.tensor([0, 1, 0, 2, 1, 0])
    assert o.num_candidates(queries, keys).tolist() == [1 + 3, 1 + 4, 1 + 6]
    assert o.num_candidates(None, keys).tolist() == [6]
    weights = torch.tensor([2, 3, 1, 4, 0, 1])  # 11 locals in all
    assert o.num_candidates(queries, keys, weights).tolist() == [1 + 7, 1 + 8, 1 + 11]


def test_the_bound_is_what_the_loss_leaves_of_log_candidates():
    """Features that tell nothing give 0, perfect ones log(candidates)."""
    groups = torch.arange(8)
    candidates = o.num_candidates(groups, groups)
    assert candidates.tolist() == [8.0] * 8
    same, apart = torch.ones(8, 4), torch.eye(8)
    for features, expected in ((same, 0.0), (apart, math.log(8))):
        bound = o.information_bound(o.info_nce(features, features, temperature=0.01), candidates)
        assert float(bound) == pytest.approx(expected, abs=1e-4)


def test_classes_with_a_teacher_equal_the_plain_formula():
    torch.manual_seed(0)
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    teacher, labels = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 2, -1, 1, 1])
    loss = o.classification_loss(logits, labels, teacher_logits=teacher, teacher_weight=0.4)
    total = 0.0
    for row, label in enumerate(labels.tolist()):
        if label < 0:
            continue
        log_p = logits[row] - torch.log(torch.exp(logits[row]).sum())
        soft = torch.exp(teacher[row]) / torch.exp(teacher[row]).sum()
        total = total - 0.6 * log_p[label] - 0.4 * (soft * log_p).sum()
    torch.testing.assert_close(loss, total / 4)
    (gradient,) = torch.autograd.grad(loss, logits)
    (plain,) = torch.autograd.grad(total / 4, logits)
    torch.testing.assert_close(gradient, plain)
    assert o.classification_loss(logits, torch.full((5,), -1)).item() == 0.0
    assert float(o.classification_loss(torch.zeros(2, 4), torch.tensor([0, 3]))) == pytest.approx(math.log(4))
    with pytest.raises(ValueError, match="labels"):
        o.classification_loss(logits, labels[:3])
