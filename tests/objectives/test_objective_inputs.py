"""What every objective promises about its inputs: any float dtype, any shape, degenerate rows, checks,
memory."""

from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from likewise import objectives as o
from likewise.objectives import _strips, _tiles

# Every pairwise objective as a function of two (B, D) features; groups or labels repeat.
PAIRWISE = {
    "info_nce": lambda a, b: o.info_nce(a, b, temperature=0.1),
    "info_nce_groups": lambda a, b: o.info_nce(
        a, b, temperature=0.1, group_queries=labels(a), group_keys=labels(a)
    ),
    "info_nce_teacher": lambda a, b: o.info_nce(
        a, b, temperature=0.1, target_queries=b, target_keys=a, target_weight=0.4
    ),
    "clip_loss": lambda a, b: o.clip_loss(a, b, temperature=0.1),
    "clip_loss_cold": lambda a, b: o.clip_loss(a, b, temperature=0.001),
    "nt_xent": lambda a, b: o.nt_xent(a, b, temperature=0.1),
    "moco_loss": lambda a, b: (
        o.moco_loss(
            a, b, torch.cat([b, a]), temperature=0.1, groups=labels(a), queue_groups=labels(a).repeat(2)
        )
        + 0 * b.sum()
    ),
    "sigmoid_loss": lambda a, b: o.sigmoid_loss(a, b, temperature=0.1, bias=-10.0),
    "supervised_contrastive": lambda a, b: (
        o.supervised_contrastive(a, labels(a), temperature=0.1) + 0 * b.sum()
    ),
    "pair_loss": lambda a, b: o.pair_loss(a, labels(a)) + 0 * b.sum(),
    "triplet_all": lambda a, b: o.triplet_loss(a, labels(a)) + 0 * b.sum(),
    "triplet_hard": lambda a, b: o.triplet_loss(a, labels(a), mining="hard") + 0 * b.sum(),
    "triplet_semihard": lambda a, b: o.triplet_loss(a, labels(a), mining="semihard") + 0 * b.sum(),
    "local_information": lambda a, b: o.local_information(b[:, None], a, temperature=0.1),
    "byol_loss": lambda a, b: o.byol_loss(a, b) + 0 * b.sum(),
    "simsiam_loss": lambda a, b: o.simsiam_loss(a, b) + 0 * b.sum(),
    "alignment": o.alignment,
    "mean_difference": o.mean_difference,
    "cross_view_consistency": o.cross_view_consistency,
}
TWO_ROWS = {
    "uniformity": lambda a, b: o.uniformity(a) + 0 * b.sum(),
    "mmd": o.mmd,
    "coral": o.coral,
}
EVERY = {**PAIRWISE, **TWO_ROWS}


def labels(x):
    return torch.arange(x.shape[0]) // 2


def gradients(objective, a, b):
    a, b = a.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    loss = objective(a, b)
    return loss.detach(), *torch.autograd.grad(loss, (a, b))


@pytest.fixture(params=["small", "streamed"])
def way(request, monkeypatch):
    """Both ways through: the dense formula, and tiles and strips far smaller than usual."""
    if request.param == "streamed":
        monkeypatch.setattr(_tiles, "DENSE_ENTRIES", 0)
        monkeypatch.setattr(_strips, "STRIP_ROWS", 2)
        monkeypatch.setattr(_strips, "STRIP_ENTRIES", 1)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.integers(2, 9),
    width=st.integers(1, 7),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
    seed=st.integers(0, 99),
)
def test_any_shape_and_dtype(way, rows, width, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    a, b = (torch.randn(rows, width, generator=generator).to(dtype) for _ in range(2))
    for name, objective in EVERY.items():
        ours, exact = gradients(objective, a, b), gradients(objective, a.double(), b.double())
        assert ours[0].dtype == (torch.float64 if dtype == torch.float64 else torch.float32), name
        assert ours[1].dtype == dtype, name
        assert all(value.isfinite().all() for value in ours), name
        if name not in (
            "mmd",
            "triplet_hard",
            "triplet_semihard",
        ):  # a median, an argmax: rounding may move them
            torch.testing.assert_close(ours[0].double(), exact[0], rtol=1e-3, atol=1e-3, msg=name)


DEGENERATE = {
    "identical rows": torch.ones(6, 4),
    "orthogonal rows": torch.eye(6),
    "zero vectors": torch.zeros(6, 4),
    "one zero vector": torch.cat([torch.zeros(1, 4), torch.ones(5, 4)]),
    "opposite rows": torch.tensor([[1.0], [-1.0]]).repeat(3, 4),
    "tiny": torch.full((6, 4), 1e-20),
    "huge": torch.full((6, 4), 1e15),
}


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", EVERY)
def test_degenerate_features_give_finite_gradients(name):
    for kind, x in DEGENERATE.items():
        if kind == "huge" and name in ("coral", "mmd", "cross_view_consistency"):
            continue  # not normalised: squares of 1e15 are what they are
        found = gradients(EVERY[name], x, x)
        assert all(value.isfinite().all() for value in found), kind


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", PAIRWISE)
def test_one_row(name):
    found = gradients(PAIRWISE[name], torch.randn(1, 4), torch.randn(1, 4))
    assert all(value.isfinite().all() for value in found)


@pytest.mark.usefixtures("way")
def test_identical_rows_give_log_of_their_number():
    x = torch.ones(8, 4)
    assert float(o.clip_loss(x, x, temperature=0.001)) == pytest.approx(
        torch.tensor(8.0).log().item(), rel=1e-6
    )
    assert float(o.nt_xent(x, x, temperature=0.07)) == pytest.approx(
        torch.tensor(15.0).log().item(), rel=1e-6
    )


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
@pytest.mark.parametrize("name", EVERY)
def test_checks_name_the_input_that_is_not_finite(name, bad):
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    a[2, 1] = bad
    with o.checked_inputs(), pytest.raises(ValueError, match=r"1 values that are not finite.*\[2"):
        EVERY[name](a, b)
    with o.checked_inputs():
        EVERY[name](torch.randn(4, 3), b)  # finite: nothing said


def test_checks_look_at_a_learned_temperature():
    x = torch.randn(4, 3)
    for bad in (float("nan"), 0.0, -1.0):
        with o.checked_inputs(), pytest.raises(ValueError, match="temperature"):
            o.clip_loss(x, x, temperature=torch.tensor(bad))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", EVERY)
def test_autocast_does_not_take_the_products_to_half_precision(name):
    a, b = torch.randn(6, 5), torch.randn(6, 5)

    def under_autocast(a, b):  # the loss is made under autocast, backward runs outside, as training does
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return EVERY[name](a, b)

    expected, found = gradients(EVERY[name], a, b), gradients(under_autocast, a, b)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_autocast_is_off_for_arguments_by_name_too():
    a, b = torch.randn(6, 300), torch.randn(6, 300)
    for objective in (
        lambda: o.info_nce(queries=a, keys=b, temperature=0.1),
        lambda: o.nce_log_normalizer(queries=a, noise=b, temperature=0.1, num_items=9),
    ):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = objective()
        assert found.dtype == torch.float32
        assert float(found) == float(objective())


@pytest.mark.parametrize(("dtype", "length"), [(torch.bfloat16, 3.0), (torch.float16, 3000.0)])
def test_half_precision_features_are_multiplied_exactly_where_they_keep_their_length(dtype, length):
    a, b = ((torch.randn(9, 16) * value).to(dtype) for value in (length, 1 / length))

    def loss(a, b, tile=None):
        return o.info_nce(a, b, temperature=0.1, normalize=False, tile=tile)

    exact = gradients(loss, a.double(), b.double())
    for tile in (None, (4, 4)):
        found = gradients(lambda a, b, tile=tile: loss(a, b, tile), a, b)
        assert float(found[0]) == pytest.approx(float(exact[0]), rel=1e-5)
        for ours, theirs in zip(found[1:], exact[1:], strict=True):  # rounded once, at the end
            torch.testing.assert_close(
                ours.double(), theirs, rtol=2**-7, atol=1e-4 * float(theirs.abs().max())
            )


MISSPELT = {
    "same_group": lambda x, word: o.info_nce(
        x, x, temperature=0.1, group_queries=labels(x), group_keys=labels(x), same_group=word
    ),
    "mining": lambda x, word: o.triplet_loss(x, labels(x), mining=word),
    "precision": lambda x, word: o.info_nce(x, x, temperature=0.1, precision=word),
    "precision of clip_loss": lambda x, word: o.clip_loss(x, x, temperature=0.1, precision=word),
    "precision of nt_xent": lambda x, word: o.nt_xent(x, x, temperature=0.1, precision=word),
    "precision of moco_loss": lambda x, word: o.moco_loss(x, x, x, temperature=0.1, precision=word),
    "precision of supervised_contrastive": lambda x, word: o.supervised_contrastive(
        x, labels(x), temperature=0.1, precision=word
    ),
}


@pytest.mark.parametrize("name", MISSPELT)
@pytest.mark.parametrize("word", ["share", "bf16", "Hard", ""])
def test_a_misspelt_choice_is_refused(name, word):
    option = name.split()[0]
    with pytest.raises(ValueError, match=rf"{option} must be .* or .*, got {word!r}"):
        MISSPELT[name](torch.randn(6, 3), word)


TOO_FEW = {
    **{
        name: EVERY[name]
        for name in ("clip_loss", "nt_xent", "moco_loss", "byol_loss", "alignment", "cross_view_consistency")
    },
    "sigmoid_loss": PAIRWISE["sigmoid_loss"],
    "siamese_loss": lambda a, b: o.siamese_loss(a, b, labels(a) == 0),
    "nce": lambda a, b: o.nce(a, b, a, temperature=0.1, num_items=9, log_normalizer=0.0),
    "noise of each query": lambda a, b: o.nce(
        a, a, b[:, None], temperature=0.1, num_items=9, log_normalizer=0.0
    ),
    "teacher's queries": lambda a, b: o.info_nce(a, a, temperature=0.1, target_queries=b, target_keys=a),
    "teacher's keys": lambda a, b: o.info_nce(a, a, temperature=0.1, target_queries=a, target_keys=b),
}


@pytest.mark.parametrize("name", TOO_FEW)
def test_one_row_is_not_spread_over_many(name):
    with pytest.raises(ValueError, match=r"\(1, .*3\)"):
        TOO_FEW[name](torch.randn(6, 3), torch.randn(1, 3))


@pytest.mark.parametrize(
    "call",
    [
        lambda x, groups: o.clip_loss(x, x, temperature=0.1, all_groups=groups),
        lambda x, groups: o.sigmoid_loss(x, x, temperature=0.1, bias=0.0, all_groups=groups),
        lambda x, groups: o.local_information(x[:, None], x, temperature=0.1, all_groups=groups),
    ],
)
def test_groups_of_one_side_alone_are_refused(call):
    with pytest.raises(ValueError, match="both sides"):
        call(torch.randn(6, 3), torch.arange(6))


def test_what_does_not_fit_is_named_as_it_was_given():
    x, labels = torch.randn(6, 3), torch.arange(6) // 2
    with pytest.raises(ValueError, match=r"queue_groups must have shape \(5,\)"):
        o.moco_loss(x, x, torch.randn(5, 3), temperature=0.1, groups=labels, queue_groups=labels)
    wide = {"all_features": torch.randn(6, 4), "all_labels": labels, "rows": torch.arange(6)}
    for objective in (o.triplet_loss, o.pair_loss, partial(o.supervised_contrastive, temperature=0.1)):
        with pytest.raises(ValueError, match=r"features \(6, 3\), all_features \(6, 4\)"):
            objective(x, labels, **wide)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("place", [-1, 4, 5000])
def test_places_outside_the_keys_are_refused(place):
    """A tile in which a place does not lie passes over it: the loss would be wrong and say nothing."""
    a, b = torch.randn(4, 3), torch.randn(4, 3)
    rows = torch.tensor([0, 1, 2, place])
    calls = {
        "positives": lambda: o.info_nce(a, b, rows, temperature=0.1),
        "rows": lambda: o.nt_xent(
            a, b, temperature=0.1, all_first=a.clone(), all_second=b.clone(), rows=rows
        ),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=rf"{name} must lie in \[0, 4\)"):
            call()


@pytest.mark.parametrize("name", ["siamese_loss", "pair_loss", "triplet_loss"])
@pytest.mark.parametrize("margin", [-1.0, float("nan"), float("inf")])
def test_a_margin_is_a_number_above_zero(name, margin):
    x = torch.randn(4, 3)
    given = (x, x, labels(x) > 0) if name == "siamese_loss" else (x, labels(x))
    with pytest.raises(ValueError, match="margin must be a finite number"):
        getattr(o, name)(*given, margin=margin)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("name", ["info_nce", "clip_loss", "nt_xent", "triplet_all", "byol_loss"])
def test_a_length_that_overflows_is_not_taken_for_none(name):
    """The loss is NaN, at which training stops; rows of no length would stand still and say nothing."""
    x = torch.randn(4, 3)
    x[1] = 1e20
    assert PAIRWISE[name](x, x).isnan()
    assert PAIRWISE[name](x.double(), x.double()).isfinite()


@pytest.mark.parametrize("mining", ["all", "hard", "semihard"])
def test_a_batch_without_rows_adds_nothing(mining):
    none = torch.zeros(0, 3, requires_grad=True)
    for loss in (
        o.triplet_loss(none, torch.zeros(0, dtype=torch.long), mining=mining),
        o.byol_loss(none, none),
        o.simsiam_loss(none, none),
    ):
        loss.backward()
        assert float(loss.detach()) == 0


def test_mmd_refuses_kernels_without_width():
    x = torch.randn(6, 3)
    for wrong in ({"bandwidth": 0.0}, {"bandwidth": -1.0}, {"num_kernels": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
            o.mmd(x, x, **wrong)


def test_labels_are_names_not_places():
    x = torch.randn(6, 4)
    few, many = torch.tensor([0, 1, 0, 1, 2, 2]), torch.tensor([0, 10**6, 0, 10**6, 10**15, 10**15])
    for objective in (
        lambda x, y: o.supervised_contrastive(x, y, temperature=0.1),
        lambda x, y: o.triplet_loss(x, y),
        lambda x, y: o.pair_loss(x, y),
    ):
        assert float(objective(x, few)) == float(objective(x, many))


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes."""

    values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.values = max(self.values, tensor.untyped_storage().nbytes() // tensor.element_size())
        return out


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("mean_difference", "coral")])
def test_similarities_are_never_held_whole(name, monkeypatch):
    monkeypatch.setattr(_tiles, "DENSE_ENTRIES", 0)
    monkeypatch.setattr("likewise.objectives._streamed.TILE_ROWS", 16)
    monkeypatch.setattr("likewise.objectives._streamed.TILE_COLUMNS", 16)
    monkeypatch.setattr(_strips, "STRIP_ROWS", 4)
    monkeypatch.setattr(_strips, "STRIP_ENTRIES", 1)
    monkeypatch.setattr("likewise.objectives.domains.MEDIAN_ROWS", 8)
    rows = 128
    with Largest() as largest:
        gradients(EVERY[name], torch.randn(rows, 2), torch.randn(rows, 2))
    assert largest.values <= rows * rows // 8
