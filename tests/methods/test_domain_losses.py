"""Losses of domain adaptation by hand, and where their gradients go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_methods import build, steps_of
from small_runs import small_settings

from likewise.methods.base import BuildContext, Progress, Step
from likewise.methods.domains.cdan import MultilinearMap
from likewise.methods.domains.mean_teacher import MeanTeacher
from likewise.step_random import StepRandom
from likewise.views import view_preset


def test_mcd_s_classifiers_begin_apart() -> None:
    made, loader = build("mcd")
    found = made.embed(loader.batch(0), steps_of(made, 0)[0])
    assert not torch.equal(found["target"], found["target_second"])


def test_dann_s_encoder_gets_the_reversed_gradient() -> None:
    """At the middle of the training it is -(2 / (1 + exp(-5)) - 1) times that of the discriminator's loss."""
    made, loader = build("dann")
    network: Any = made.network
    gradients = []
    for share in (0, 1):
        made.zero_grad()
        found = made.embed(loader.batch(0), Step(StepRandom(0, 0), Progress(share, 2)))
        torch.nn.functional.binary_cross_entropy_with_logits(
            found["domain_logits"], found["is_target"].float()
        ).backward()
        gradients.append(network.bottleneck[0].weight.grad.clone())
    assert gradients[0].abs().max() == 0
    strength = 2 / (1 + np.exp(-5)) - 1
    made.zero_grad()
    features = network.encode_images(made.views(loader.batch(0), Step(StepRandom(0, 0))))
    logits = made.discriminator(features)[:, 0]  # type: ignore[operator]
    is_target = (torch.arange(16) >= 8).float()
    torch.nn.functional.binary_cross_entropy_with_logits(logits, is_target).backward()
    torch.testing.assert_close(
        gradients[1], -strength * network.bottleneck[0].weight.grad, rtol=1e-3, atol=1e-7
    )


def test_cdan_s_map_is_the_products_of_features_and_classes() -> None:
    features, probabilities = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.25, 0.75]])
    products = MultilinearMap(3, 2, 8)(features, probabilities)
    torch.testing.assert_close(products, torch.tensor([[0.25, 0.5, 0.75, 0.75, 1.5, 2.25]]))


def test_cdan_s_random_map_keeps_inner_products_on_average() -> None:
    """Section 3.2: its expected inner product is the product of both inner products."""
    torch.manual_seed(0)
    first, second = torch.randn(2, 500), torch.randn(2, 10).softmax(dim=1)
    mapped = MultilinearMap(500, 10, 40_000)(first, second)
    assert mapped.shape == (2, 40_000)
    expected = (first[0] @ first[0]) * (second[0] @ second[0])
    torch.testing.assert_close(mapped[0] @ mapped[0], expected, rtol=0.1, atol=0.0)


def test_cdan_weighs_sure_rows_twice_as_much_as_unsure_ones_at_most() -> None:
    made, _ = build("cdan")
    weights = made._certainty(torch.tensor([[50.0, 0.0], [0.0, 0.0]]))  # type: ignore[operator]
    torch.testing.assert_close(weights, torch.tensor([2.0, 1.5]))  # 1 + exp(0), 1 + exp(-log 2)


def test_cdan_s_loss_by_hand() -> None:
    """Rows weigh by their certainty within their domain, and both domains count alike."""
    made, _ = build("cdan")
    found = {
        "logits": torch.zeros(2, 2),
        "label": torch.tensor([0, 1]),
        "domain_logits": torch.tensor([0.5, -1.0, 2.0]),
        "certainty": torch.tensor([2.0, 1.0, 1.5]),
        "is_target": torch.tensor([False, False, True]),
    }
    source = (2 * np.log1p(np.exp(0.5)) + 1 * np.log1p(np.exp(-1.0))) / 3
    target = np.log1p(np.exp(-2.0))
    total = made.objective(found, Step(StepRandom(0, 0))).total
    assert float(total) == pytest.approx(np.log(2) + (source + target) / 2, rel=1e-6)


def test_cdan_s_discriminator_teaches_the_encoder_through_the_features_alone() -> None:
    """Neither the predicted classes nor their certainty have a gradient of it, and it is reversed."""
    made, loader = build("cdan")
    found = made.embed(loader.batch(0), Step(StepRandom(0, 0), Progress(1, 2)))
    assert not found["certainty"].requires_grad
    found["domain_logits"].sum().backward()
    network: Any = made.network
    assert network.classifier.weight.grad is None
    assert network.bottleneck[0].weight.grad.abs().sum() > 0


def test_fixmatch_s_loss_by_hand() -> None:
    """Cross-entropy with the class of the weak view, over all rows; the balance by the share of sure ones."""
    options = {"confidence": 0.9, "ramp_share": 0.5, "class_balance": 0.01, "bottleneck_dim": 4}
    made = MeanTeacher(MeanTeacher.options(form="fixmatch", **options), context(classes=("a", "b")))
    strong = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    found = {
        "logits": torch.zeros(1, 2),
        "label": torch.tensor([0]),
        "strong": strong,
        "taught": torch.tensor([[0.05, 0.95], [0.6, 0.4]]),
    }
    first = 1 / (1 + np.exp(-1.0))
    consistency = -np.log(1 - first) / 2
    mean = (first + 0.5) / 2  # of class a
    balance = -(np.log(mean) + np.log(1 - mean))  # each class: 1/2 log p + 1/2 log (1 - p)
    expected = np.log(2) + 0.5 * (consistency + 0.01 * 0.5 * balance)  # half way up the ramp
    total = made.objective(found, Step(StepRandom(0, 0), Progress(1, 4))).total
    assert float(total) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("phase", "expected"),
    [("classes", 2 * np.log(2)), ("disagree", 2 * np.log(2) - 0.25), ("agree", 0.25)],
)
def test_mcd_s_three_losses_by_hand(phase: str, expected: float) -> None:
    """Predictions of the one target row: (1/2, 1/2) and (3/4, 1/4)."""
    made, _ = build("mcd")
    found = {
        "source": torch.zeros(2, 2),
        "source_second": torch.zeros(2, 2),
        "label": torch.tensor([0, 1]),
        "target": torch.zeros(1, 2),
        "target_second": torch.tensor([[np.log(3.0), 0.0]], dtype=torch.float32),
    }
    total = made.objective(found, Step(StepRandom(0, 0), phase=phase)).total
    assert float(total) == pytest.approx(expected, rel=1e-6)


def test_the_map_of_cross_task_learns_from_the_source_alone_and_is_fixed_for_the_consistency() -> None:
    made, loader = build("cross-task")
    mapped: Any = made.map
    gradients = []
    for target in (0.0, 5.0):
        found = made.embed(loader.batch(0), Step(StepRandom(0, 0)))
        is_target = found["is_target"][:, None]
        changed = found["classes"].detach() + target * is_target * torch.arange(found["classes"].shape[1])
        made.zero_grad()
        made.objective(found | {"classes": changed.requires_grad_()}, Step(StepRandom(0, 0))).total.backward()
        gradients.append(mapped[0].weight.grad.clone())
        assert changed.grad is not None
        assert (changed.grad.abs().sum(dim=1) > 0).all()  # the consistency is of both domains
    torch.testing.assert_close(gradients[0], gradients[1])


def test_a_counterpart_in_the_other_domain_gets_the_same_prediction() -> None:
    """Only the first pair of rows shows the same thing."""
    made, _ = build("cross-view")
    logits = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    group = torch.tensor([7, 8, 7, 9])
    found = {
        "logits": logits,
        "strong_logits": logits,
        "weak": torch.eye(4),
        "strong": torch.eye(4),
        "label": torch.tensor([0, 1]),
        "group": group,
    }
    parts = made.objective(found, Step(StepRandom(0, 0))).parts
    p = 1 / (1 + np.exp(-1.0))
    divergence = (2 * p - 1) * np.log(p / (1 - p))  # KL((p, 1 - p), (1 - p, p)), the same both ways
    assert float(parts["across"]) == pytest.approx(divergence / 2, rel=1e-5)
    assert float(parts["consistency"]) == 0
    assert float(parts["paired_share"]) == 0.5


def test_mean_teacher_s_loss_by_hand() -> None:
    config = MeanTeacher.options(
        confidence=0.9, weight=3.0, ramp_share=0.0, class_balance=0.0, bottleneck_dim=4
    )
    made = MeanTeacher(config, context(classes=("a", "b")))
    found = {
        "logits": torch.zeros(1, 2),
        "label": torch.tensor([0]),
        "strong": torch.zeros(2, 2),
        "taught": torch.tensor([[0.95, 0.05], [0.6, 0.4]]),  # the second is not sure
    }
    total = made.objective(found, Step(StepRandom(0, 0))).total
    consistency = (0.45**2 + 0.45**2) / 2 / 2  # mean over classes, then over rows, one of which counts
    assert float(total) == pytest.approx(np.log(2) + 3 * consistency, rel=1e-6)


def context(classes: tuple[str, ...]) -> BuildContext:
    views = {name: view_preset("none") for name in ("views", "views_strong")}
    return BuildContext(image=small_settings("dann").image, views=views, num_rows=8, classes=classes)
