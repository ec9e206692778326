"""What makes each image method that method: against plain transcriptions of the papers' algorithms."""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from small_methods import STEP
from small_runs import SOURCE, VIT, small_settings
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.encoders.heads import mlp_head, mlp_projector
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Method, Progress, Step, make_views
from likewise.methods.catalog import find_method
from likewise.methods.image import moco as moco_module
from likewise.runs.settings import Tables, build_settings, parse_tables
from likewise.runs.training_options import TrainingConfig
from likewise.step_random import StepRandom
from likewise.training.optimizers import build_optimizer
from likewise.views import ViewConfig


def build(
    name: str, *, image: dict[str, Any] | None = None, trained: dict[str, Any] | None = None, **options: Any
) -> Method:
    settings = small_settings(name)
    torch.manual_seed(0)
    return find_method(name)(  # type: ignore[call-arg]
        dataclasses.replace(settings.method, **options),
        BuildContext(
            image=dataclasses.replace(settings.image, **(image or {})),
            views={"views": settings.views},
            num_rows=40,
            trained=trained,
        ),
    )


def batch(rows: int = 6, first: int = 0, label: Tensor | None = None) -> Batch:
    torch.manual_seed(rows)
    index = torch.arange(first, first + rows)
    images = torch.randint(0, 256, (rows, 3, 32, 32), dtype=torch.uint8)
    return Batch(index=index, image=images, group=index, label=label)


def unit(rows: Tensor) -> Tensor:
    return F.normalize(rows.double(), dim=1)


def views_of(method: Any, rows: Batch, now: Step) -> tuple[Tensor, Tensor]:
    return make_views(rows, now, method.network.image, method.view_configs["views"]).chunk(2)  # type: ignore[return-value]


def test_moco_follows_algorithm_1() -> None:
    """Two steps against the pseudocode: twin and queue as before the step; then push and follow."""
    method: Any = build("moco", temperature=0.2, ema_momentum=0.9, queue_size=10).eval()
    queue = method.queue.keys.clone().double()
    for step in range(2):
        rows, now = batch(4, first=4 * step), Step(StepRandom(0, step))
        first, second = views_of(method, rows, now)
        with torch.no_grad():
            q = unit(method.projector(method.network(first)))
            k = unit(method.ema_encoder(second))
            logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], dim=1) / 0.2
            expected = F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64))
            terms = method.objective(method.embed(rows, now), STEP)
        assert terms.total.item() == pytest.approx(expected.item(), rel=1e-5)
        method.after_step(Progress(step + 1, 2))
        queue[4 * step : 4 * step + 4] = k
        torch.testing.assert_close(method.queue.keys.double(), queue, rtol=1e-5, atol=1e-6)
    assert method.queue.groups.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, -1, -1]


def test_a_picture_is_never_the_negative_of_its_own_views() -> None:
    """In the symmetric form both views' keys are pushed, after both losses; later they are left out."""
    method: Any = build("moco", symmetric=True, queue_size=6).eval()
    rows = batch(3)
    losses = []
    for step in range(2):
        with torch.no_grad():
            terms = method.objective(method.embed(rows, Step(StepRandom(0, step))), STEP)
        method.after_step(Progress(step + 1, 4))
        losses.append(terms.total.item())
    assert method.queue.groups.tolist() == [0, 1, 2, 0, 1, 2]
    alone = batch(1)
    method.queue.groups.fill_(0)
    with torch.no_grad():
        assert float(method.objective(method.embed(alone, Step(StepRandom(0, 9))), STEP).total) == 0


def test_moco_may_push_between_its_directions() -> None:
    """Then the second queries have their own view's keys among the negatives, in the place of the oldest."""
    method: Any = build(
        "moco", symmetric=True, push_between=True, temperature=0.2, ema_momentum=0.9, queue_size=10
    ).eval()
    rows, now = batch(4), Step(StepRandom(0, 0))
    method.queue.push(torch.randn(8, method.queue.keys.shape[1]), torch.arange(8) + 20)
    before = method.queue.keys.clone().double()
    first, second = views_of(method, rows, now)
    with torch.no_grad():
        q = [unit(method.projector(method.network(view))) for view in (first, second)]
        k = [unit(method.ema_encoder(view)) for view in (first, second)]
        between = before.clone()
        between[[8, 9, 0, 1]] = k[1]
        expected = [
            F.cross_entropy(
                torch.cat([(q[a] * k[1 - a]).sum(1, keepdim=True), q[a] @ queue.T], dim=1) / 0.2,
                torch.zeros(4, dtype=torch.int64),
            )
            for a, queue in ((0, before), (1, between))
        ]
        total = method.objective(method.embed(rows, now), STEP).total
    assert total.item() == pytest.approx(sum(expected).item() / 2, rel=1e-5)  # type: ignore[union-attr]
    torch.testing.assert_close(method.queue.keys.double(), before)  # until after the step
    method.after_step(Progress(1, 2))
    between[[2, 3, 4, 5]] = k[0]
    torch.testing.assert_close(method.queue.keys.double(), between, rtol=1e-5, atol=1e-6)
    assert method.queue.groups.tolist() == [2, 3, 0, 1, 2, 3, 26, 27, 0, 1]


def test_moco_computes_its_keys_in_another_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shuffling BN: the parts that BatchNorm sees are not those of the queries."""
    method: Any = build("moco", norm_rows=2)
    rows, now = batch(8), Step(StepRandom(0, 0))
    _, second = views_of(method, rows, now)
    seen = []
    whole = moco_module.in_parts
    monkeypatch.setattr(
        moco_module,
        "in_parts",
        lambda of, pixels, **options: (seen.append(pixels), whole(of, pixels, **options))[1],
    )
    method.embed(rows, now)
    places = [int((second == pixels).flatten(1).all(1).nonzero()) for pixels in seen[1]]
    assert sorted(places) == list(range(8))
    assert {frozenset(places[i : i + 2]) for i in range(0, 8, 2)} != {
        frozenset((i, i + 1)) for i in range(0, 8, 2)
    }


def test_moco_without_parts_lets_batch_norm_see_all() -> None:
    assert build("moco").local_batch_norm
    assert not build("moco", norm_rows=None).local_batch_norm
    assert not build("moco", version="v3", queue_size=None, norm_rows=None).local_batch_norm
    vit = {"architecture": "vit", **VIT}
    assert not build("moco", image=vit, norm_rows=32).local_batch_norm
    with pytest.raises(ConfigError, match=r"--method\.norm-rows: this image encoder has no BatchNorm"):
        build("moco", image=vit, norm_rows=16)


@pytest.mark.parametrize(("rows", "parts"), [(2, 1), (5, 2), (32, 2), (63, 2), (64, 2), (96, 3)])
def test_moco_cuts_a_small_batch_in_two(rows: int, parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One part alone would hold all queries and all keys, and the order of these would hide nothing."""
    method: Any = build("moco", norm_rows=32)
    seen: list[int] = []
    monkeypatch.setattr(
        moco_module, "in_parts", lambda of, pixels, *, rows: (seen.append(rows), of(pixels))[1]
    )
    with torch.no_grad():
        method.embed(batch(rows), Step(StepRandom(0, 0)))
    assert [max(1, rows // of) for of in seen] == [parts, parts]


def test_moco_v3_follows_algorithm_1() -> None:
    method: Any = build(
        "moco", version="v3", queue_size=None, norm_rows=None, hidden_dim=32, projection_dim=16
    ).eval()
    rows, now = batch(5), Step(StepRandom(0, 0))
    first, second = views_of(method, rows, now)

    def ctr(q: Tensor, k: Tensor) -> Tensor:
        return 2 * 0.2 * F.cross_entropy(unit(q) @ unit(k).T / 0.2, torch.arange(5))

    with torch.no_grad():
        q1, q2 = (method.predictor(method.projector(method.network(x))) for x in (first, second))
        k1, k2 = method.ema_encoder(first), method.ema_encoder(second)
        expected = ctr(q1, k2) + ctr(q2, k1)
        found = method.objective(method.embed(rows, now), STEP).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_moco_v3_holds_a_vit_s_patches_still() -> None:
    method: Any = build(
        "moco", image=VIT | {"architecture": "vit"}, version="v3", queue_size=None, norm_rows=None
    )
    frozen = {name for name, weight in method.network.named_parameters() if not weight.requires_grad}
    assert frozen
    assert all("patch_embeddings" in name for name in frozen)
    before = {name: weight.clone() for name, weight in method.network.named_parameters()}
    optimizer = build_optimizer(method, TrainingConfig(learning_rate=1e-2, weight_decay=0.1))
    method.objective(method.embed(batch(), Step(StepRandom(0, 0))), STEP).total.backward()
    optimizer.step()
    moved = {
        name for name, weight in method.network.named_parameters() if not torch.equal(weight, before[name])
    }
    assert moved
    assert not moved & frozen


def test_moco_v3_trains_convolutions_in_place_of_patches() -> None:
    image = VIT | {"architecture": "vit", "stem": "convolutions"}
    method: Any = build("moco", image=image, version="v3", queue_size=None, norm_rows=None)
    assert all(weight.requires_grad for weight in method.network.image.backbone.embeddings.parameters())


def test_moco_s_help_names_the_views_of_version_1() -> None:
    """Those of the paper's code: crops from a fifth, all jittered by 0.4, hue too, grey, flips, no blur."""
    said = " ".join(inspect.getsource(moco_module.Config).split())
    flags = re.findall(r"`(--views[^`]*)`", said)
    words = ["--data", SOURCE, "--method.version", "v1", "--image.image-size", "64", *flags[0].split()]
    moco = find_method("moco")
    settings = build_settings(moco, parse_tables(moco, words, prog="likewise train moco")[0])
    jitter = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.4, "jitter": 1.0}
    assert settings.views == ViewConfig(crop_scale=(0.2, 1.0), flip=0.5, grey=0.2, blur=0.0, **jitter)


def test_moco_refuses_what_would_be_ignored() -> None:
    with pytest.raises(ConfigError, match="v3 has no queue"):
        build("moco", version="v3", queue_size=10)
    with pytest.raises(ConfigError, match="linear projector"):
        build("moco", version="v1", hidden_dim=10, queue_size=None)
    with pytest.raises(ConfigError, match="both directions"):
        build("moco", push_between=True)


def test_byol_follows_algorithm_1() -> None:
    method: Any = build("byol", ema_momentum=0.9).eval()
    with torch.no_grad():  # apart from the online network, as after some steps
        for weight in method.ema_encoder.parameters():
            weight += 0.01 * torch.randn_like(weight)
    rows, now = batch(5), Step(StepRandom(0, 0))
    first, second = views_of(method, rows, now)
    with torch.no_grad():
        q1, q2 = (unit(method.predictor(method.projector(method.network(x)))) for x in (first, second))
        z1, z2 = unit(method.ema_encoder(first)), unit(method.ema_encoder(second))
        expected = (q1 - z2).square().sum(1).mean() + (q2 - z1).square().sum(1).mean()
        found = method.objective(method.embed(rows, now), STEP).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    online, twin = method.network.state_dict(), method.ema_encoder.module[0].state_dict()
    key = next(iter(online))
    wanted = twin[key].double() * (1 - 0.1 * (math.cos(math.pi / 4) + 1) / 2)
    wanted += online[key].double() * (0.1 * (math.cos(math.pi / 4) + 1) / 2)
    method.after_step(Progress(1, 4))
    torch.testing.assert_close(method.ema_encoder.module[0].state_dict()[key].double(), wanted)


def test_byol_and_moco_send_no_gradient_into_the_twin() -> None:
    for name in ("byol", "moco"):
        method: Any = build(name)
        method.objective(method.embed(batch(), Step(StepRandom(0, 0))), STEP).total.backward()
        assert all(weight.grad is None for weight in method.ema_encoder.parameters())
        assert all(weight.grad is not None for weight in method.network.parameters())


def test_simsiam_stops_the_gradient_and_keeps_its_predictor_s_rate() -> None:
    method: Any = build("simsiam").eval()
    rows, now = batch(5), Step(StepRandom(0, 0))
    first, second = views_of(method, rows, now)
    z1, z2 = (method.projector(method.network(x)) for x in (first, second))
    p1, p2 = method.predictor(z1), method.predictor(z2)
    expected = -(F.cosine_similarity(p1, z2.detach()) + F.cosine_similarity(p2, z1.detach())).mean() / 2
    wanted = torch.autograd.grad(expected, list(method.parameters()))
    found = method.objective(method.embed(rows, now), STEP).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for one, other in zip(torch.autograd.grad(found, list(method.parameters())), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)

    groups = build_optimizer(method, TrainingConfig(optimizer="sgd")).param_groups
    constant = {id(weight) for group in groups if group["constant_rate"] for weight in group["params"]}
    assert constant == {id(weight) for weight in method.predictor.parameters()}
    total = sum(len(group["params"]) for group in groups)
    assert total == sum(1 for _ in method.parameters())


def test_instance_finds_its_row_among_all() -> None:
    method: Any = build("instance", temperature=0.07, bank_momentum=0.5).eval()
    rows, now = batch(4, first=7), Step(StepRandom(0, 0))
    first, _ = views_of(method, rows, now)
    bank = method.bank.vectors.clone().double()
    with torch.no_grad():
        v = unit(method.projector(method.network(first)))
        expected = F.cross_entropy(v @ bank.T / 0.07, rows.index)
        found = method.objective(method.embed(rows, now), STEP).total
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    method.bank.seen[:9] = True  # two of the four
    method.after_step(Progress(1, 2))
    bank[7:9] = unit(0.5 * bank[7:9] + 0.5 * v[:2])
    bank[9:11] = v[2:]
    torch.testing.assert_close(method.bank.vectors.double(), bank, rtol=1e-5, atol=1e-6)


def test_copies_of_a_picture_are_no_negatives_to_instance_and_simclr() -> None:
    rows, now = batch(4), Step(StepRandom(0, 0))
    copies = rows.with_columns(group=torch.tensor([5, 5, 8, 5]))
    method: Any = build("instance").eval()
    with torch.no_grad():
        method.objective(method.embed(copies, now), STEP)
        method.after_step(Progress(1, 2))  # from now on the bank knows them
        embeddings = method.embed(copies, now)
        logits = unit(embeddings["query"]) @ method.bank.vectors.double().T / 0.07
        for row, mates in enumerate(([1, 3], [0, 3], [], [0, 1])):
            logits[row, mates] = -torch.inf
        expected = F.cross_entropy(logits, copies.index)
        assert method.objective(embeddings, STEP).total.item() == pytest.approx(expected.item(), rel=1e-5)
        alone = rows.with_columns(group=torch.arange(4))
        assert method.objective(method.embed(alone, now), STEP).total > expected

        method = build("simclr").eval()
        apart, together = (method.objective(method.embed(one, now), STEP).total for one in (rows, copies))
        assert together < apart
        none_left = rows.with_columns(group=torch.zeros(4, dtype=torch.int64))
        assert float(method.objective(method.embed(none_left, now), STEP).total) == pytest.approx(0, abs=1e-6)


def test_moco_v3_freezes_patches_that_were_drawn_alone() -> None:
    """Not those of a model that training starts from, whatever they are called there."""
    options: dict[str, Any] = {"version": "v3", "hidden_dim": 32, "projection_dim": 16}
    options |= {"queue_size": None, "norm_rows": None}
    drawn: Any = build("moco", image={"architecture": "vit"} | VIT, **options)
    patches = drawn.network.image.backbone.embeddings.patch_embeddings
    assert not any(weight.requires_grad for weight in patches.parameters())
    onward: Any = build("moco", image={"architecture": "vit"} | VIT, trained=drawn.network.spec(), **options)
    patches = onward.network.image.backbone.embeddings.patch_embeddings
    assert all(weight.requires_grad for weight in patches.parameters())


def test_drawn_pairs_come_in_no_other_order() -> None:
    for order in ("classes", "shuffled"):
        tables: Tables = {"data": {"source": SOURCE}, "training": {"order": order}}
        with pytest.raises(ConfigError, match=rf"^--training\.order {order}: .* --method\.pairs batch"):
            build_settings(find_method("siamese"), tables)
        assert build_settings(find_method("siamese"), tables, {"method": {"pairs": "batch"}})


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("moco", {"version": "v3", "norm_rows": 16}),
        ("instance", {"loss": "softmax", "num_noise": 7}),
        ("supcon", {"embedding_dim": 64, "hidden_dim": 32}),
        ("supcon", {"embedding_dim": 64, "projection_dim": 32}),
    ],
)
def test_options_that_would_be_ignored_are_refused(name: str, ignored: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"--method.{list(ignored)[-1]}".replace("_", "-")):
        find_method(name).options(**ignored)


def test_noise_samples_are_refused_where_the_softmax_looks_at_all_rows() -> None:
    with pytest.raises(ConfigError, match=r"--method\.num-noise: 40 training rows .* --method\.loss nce"):
        build("instance", num_noise=7)


def test_instance_noise_contrast_keeps_its_first_normaliser() -> None:
    method: Any = build("instance", loss="nce", num_noise=64).eval()
    assert math.isnan(float(method.log_normalizer))
    with torch.no_grad():
        embeddings = method.embed(batch(4), Step(StepRandom(0, 0)))
        noise = method._draw_noise(embeddings["noise_seed"]).double()
        logits = unit(embeddings["query"]) @ noise.T / 0.07
        method.objective(embeddings, STEP)
        first = float(method.log_normalizer)
        method.after_step(Progress(1, 2))
        again = method.objective(method.embed(batch(4), Step(StepRandom(0, 1))), STEP).total
    assert float(method.log_normalizer) == first
    assert first == pytest.approx(math.log(40) + float(logits.exp().mean().log()), rel=1e-5)
    assert again.isfinite()
    seeds = torch.full((4, 1), 5, dtype=torch.int64)
    noise = method._draw_noise(seeds)
    assert noise.shape == (64, 32)
    assert torch.equal(noise, method._draw_noise(seeds))
    assert not torch.equal(noise, method._draw_noise(seeds + 1))


def test_supcon_keeps_what_it_compares_where_the_embedding_has_a_width() -> None:
    method: Any = build("supcon", num_views=1, embedding_dim=5).eval()
    rows = batch(4, label=torch.tensor([0, 0, 1, 1]))
    views = make_views(
        rows, Step(StepRandom(0, 0)), method.network.image, method.view_configs["views"], range(1)
    )
    kept = method.network.encode_images(views)
    assert kept.shape == (4, 5)
    torch.testing.assert_close(method.embed(rows, Step(StepRandom(0, 0)))["first"], kept)
    assert build("supcon").network.projection is None


@pytest.mark.parametrize("num_views", [1, 2])
def test_supcon_draws_all_views_of_a_class_together(num_views: int) -> None:
    method: Any = build("supcon", num_views=num_views).eval()
    label = torch.tensor([3, 3, 0, 1, 3])
    embeddings = method.embed(batch(5, label=label), Step(StepRandom(0, 0)))
    assert len(embeddings) == num_views + 1
    z = unit(torch.cat([embeddings[name] for name in ("first", "second")[:num_views]]))
    y = label.repeat(num_views)
    losses = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        log_sum = torch.logsumexp(torch.stack([z[i] @ z[j] / 0.1 for j in others]), 0)
        positives = [j for j in others if y[j] == y[i]]
        if positives:  # with one view a class of one picture is no anchor
            losses.append(-torch.stack([z[i] @ z[j] / 0.1 - log_sum for j in positives]).mean())
    found = method.objective(embeddings, STEP).total
    assert found.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


def test_siamese_compares_neighbouring_rows() -> None:
    method: Any = build("siamese", margin=0.8).eval()
    label = torch.tensor([0, 0, 1, 2, 4, 4])
    embeddings = method.embed(batch(6, label=label), Step(StepRandom(0, 0)))
    x = unit(embeddings["features"])
    apart = [(x[i] - x[i + 1]).norm() for i in (0, 2, 4)]
    expected = (apart[0] ** 2 + (0.8 - apart[1]).clamp_min(0) ** 2 + apart[2] ** 2) / 6
    terms = method.objective(embeddings, STEP)
    assert terms.total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert float(terms.parts["share_same"]) == pytest.approx(2 / 3)


def test_siamese_compares_every_pair_of_the_batch_if_asked_to() -> None:
    method: Any = build("siamese", margin=0.8, pairs="batch").eval()
    label = torch.tensor([0, 0, 1, 2, 1])
    embeddings = method.embed(batch(5, label=label), Step(StepRandom(0, 0)))
    x = unit(embeddings["features"])
    values = []
    for i in range(5):
        for j in range(5):
            apart = (x[i] - x[j]).norm()
            if i != j:
                near = label[i] == label[j]
                values.append(apart**2 / 2 if near else (0.8 - apart).clamp_min(0) ** 2 / 2)
    terms = method.objective(embeddings, STEP)
    assert terms.total.item() == pytest.approx(torch.stack(values).mean().item(), rel=1e-5)


def test_multiview_contrasts_every_pair_of_views() -> None:
    method: Any = build("multiview", channels=("L", "a", "bRG"), temperature=0.2).eval()
    embeddings = method.embed(batch(5), Step(StepRandom(0, 0)))
    views = [unit(embeddings[key]) for key in ("L", "a", "bRG")]
    both_ways = []
    for i in range(3):
        for j in range(3):
            if i != j:
                both_ways.append(F.cross_entropy(views[i] @ views[j].T / 0.2, torch.arange(5)))
    found = method.objective(embeddings, STEP)
    assert found.total.item() == pytest.approx(torch.stack(both_ways).mean().item(), rel=1e-5)
    pairs = {"L with a", "L with bRG", "a with bRG"}
    assert set(found.parts) == pairs | {f"{pair}_information" for pair in pairs}
    for pair in pairs:
        bound = math.log(5) - found.parts[pair].item()
        assert found.parts[f"{pair}_information"].item() == pytest.approx(bound, abs=1e-5)


def test_multiview_s_encoders_see_their_channels_alone() -> None:
    method: Any = build("multiview").eval()
    encoder = method.network.image
    mean, std = torch.tensor(encoder.mean).view(3, 1, 1), torch.tensor(encoder.std).view(3, 1, 1)
    colours = torch.rand(2, 3, 32, 32)
    grey = torch.full((2, 3, 32, 32), 0.5)
    with torch.no_grad():
        light, colour = method.network.encode_views((colours - mean) / std)
        of_grey = method.network.encode_views((grey - mean) / std)
        brighter = method.network.encode_views((grey * 1.5 - mean) / std)
    assert not torch.allclose(light, of_grey[0])
    torch.testing.assert_close(of_grey[1], brighter[1], atol=1e-4, rtol=1e-3)  # grey has no colour
    assert not torch.allclose(of_grey[0], brighter[0], atol=1e-4)
    assert method.network.dim == light.shape[1] + colour.shape[1]


@pytest.mark.parametrize(
    "channels",
    [
        ("L",),
        ("L", ""),
        ("L", "x"),
        ("L", "ab", "L"),
        ("ab", "ba"),  # the same twice
        ("L", "aab"),
        ("L", "abRG"),  # an encoder has three inputs
    ],
)
def test_multiview_refuses_views_that_are_none(channels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"^--method\.channels"):
        build("multiview", channels=channels)


def test_heads_have_no_bias_before_a_batch_norm() -> None:
    head = mlp_head(4, 8, 2)
    assert [type(layer) for layer in head] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert head[0].bias is None
    plain = mlp_head(4, 8, 2, batch_norm=False)
    assert [type(layer) for layer in plain] == [nn.Linear, nn.ReLU, nn.Linear]
    assert plain[0].bias is not None


@pytest.mark.parametrize("scaled", [False, True])
def test_a_projector_s_last_batch_norm_shifts_nothing(scaled: bool) -> None:
    projector = mlp_projector(4, 8, 2, scaled=scaled)
    assert (projector[-1].weight is not None) == scaled
    assert projector[-1].bias is None
    made = projector(torch.randn(6, 4))
    torch.testing.assert_close(made.mean(0), torch.zeros(2), rtol=0, atol=1e-6)
