import dataclasses
import math

import numpy as np
import pytest
import torch

from likewise.metrics import linear_probe
from likewise.metrics.classification import calibration_error
from likewise.metrics.linear_probe import _classifier, _fit, _scaling, _temperature


def blobs(count, seed, spread=1.0, classes=4, dimension=6):
    generator = torch.Generator().manual_seed(99)
    centres = torch.randn(classes, dimension, generator=generator) * 2
    generator.manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    return centres[labels] + spread * torch.randn(count, dimension, generator=generator), labels


def test_optimum_worked_by_hand():
    # x = +1 and -1 of two classes: by symmetry the logit difference is z x, and the loss
    # log(1 + e^-z) + l2 z^2 / 4 is least where 1 / (1 + e^z) = l2 z / 2
    model = _classifier(100)
    assert _fit(model, np.array([[1.0], [-1.0]]), np.array([1, 0]), 0.1)
    z = float(model.coef_[0, 0])
    assert 1 / (1 + math.exp(z)) == pytest.approx(0.1 * z / 2, rel=1e-4)
    assert model.intercept_.tolist() == pytest.approx([0.0], abs=1e-6)


def test_the_gradient_vanishes():
    features, labels = blobs(200, 0, spread=3.0)
    mean, scale = _scaling(features.double().numpy())
    rows = (features.double().numpy() - mean) * scale
    assert rows.mean(axis=0) == pytest.approx(np.zeros(6), abs=1e-9)
    assert rows.std(axis=0) == pytest.approx(np.ones(6))
    model = _classifier(1000)
    assert _fit(model, rows, labels.numpy(), 1e-2)
    weights = torch.from_numpy(model.coef_).requires_grad_()
    bias = torch.from_numpy(model.intercept_).requires_grad_()
    logits = torch.from_numpy(rows) @ weights.T + bias
    loss = torch.nn.functional.cross_entropy(logits, labels) + 1e-2 / 2 * weights.square().sum()
    for gradient in torch.autograd.grad(loss, (weights, bias)):
        assert gradient.abs().max() < 1e-5


def test_reads_what_is_linear_and_reports_how():
    train, train_labels = blobs(300, 0)
    test, labels = blobs(200, 1)
    result = linear_probe(train, train_labels, test, labels)
    assert result.accuracy > 0.9 > 0.5 > result.chance_accuracy
    assert result.converged
    assert result.l2 in result.selection_accuracy
    assert result.num_train == 300
    assert result.accuracy == pytest.approx(float((result.predictions == labels.numpy()).mean()))
    again = linear_probe(train, train_labels, test, labels)
    assert (again.accuracy, again.selection_accuracy) == (result.accuracy, result.selection_accuracy)


def test_a_fit_that_does_not_converge_says_so():
    train, labels = blobs(300, 0)
    assert linear_probe(train, labels, train, labels).converged is True
    assert linear_probe(train, labels, train, labels, max_iterations=1).converged is False


def test_scale_and_shift_of_the_features_do_not_matter():
    train, train_labels = blobs(150, 0, spread=2.0)
    test, labels = blobs(100, 1, spread=2.0)
    plain = linear_probe(train.double(), train_labels, test.double(), labels)
    scale = torch.tensor([1e3, 1e-3, 1.0, 5.0, 0.1, 20.0], dtype=torch.float64)
    scaled = linear_probe(train.double() * scale + 3, train_labels, test.double() * scale + 3, labels)
    assert (plain.predictions == scaled.predictions).mean() > 0.98


def test_the_evaluation_part_chooses_nothing():
    train, train_labels = blobs(150, 0, spread=2.0)
    test, labels = blobs(100, 1, spread=2.0)
    honest = linear_probe(train, train_labels, test, labels)
    shuffled = linear_probe(train, train_labels, test, labels.flip(0))
    assert honest.l2 == shuffled.l2
    assert honest.selection_accuracy == shuffled.selection_accuracy
    assert (honest.predictions == shuffled.predictions).all()


def test_a_selection_part_chooses_when_given():
    train, train_labels = blobs(40, 0, spread=3.0)
    select, select_labels = blobs(200, 2, spread=3.0)
    test, labels = blobs(200, 1, spread=3.0)
    result = linear_probe(
        train, train_labels, test, labels, selection_embeddings=select, selection_labels=select_labels
    )
    best = max(result.selection_accuracy.values())
    assert result.selection_accuracy[result.l2] == best
    with pytest.raises(ValueError, match="together"):
        linear_probe(train, train_labels, test, labels, selection_embeddings=select)


def test_collapsed_embeddings_read_as_the_commonest_class():
    labels = torch.tensor([0] * 30 + [1] * 10)
    result = linear_probe(torch.ones(40, 4), labels, torch.ones(40, 4), labels)
    assert result.accuracy == result.chance_accuracy == 0.75


def test_degenerate_input_is_refused():
    rows, labels = blobs(20, 0)
    with pytest.raises(ValueError, match="one class"):
        linear_probe(rows, torch.zeros_like(labels), rows, labels)
    with pytest.raises(ValueError, match="NaN"):
        linear_probe(rows * float("nan"), labels, rows, labels)
    with pytest.raises(ValueError, match="no row has a label"):
        linear_probe(rows, labels, rows, torch.full_like(labels, -1))
    with pytest.raises(ValueError, match="two training rows"):
        linear_probe(rows[:2], torch.tensor([0, 1]), rows, labels)
    with pytest.raises(ValueError, match="l2_grid"):
        linear_probe(rows, labels, rows, labels, l2_grid=())


@pytest.mark.parametrize("classes", [2, 4])
def test_the_fitted_probe_is_scikit_learns_and_predicts_what_was_measured(classes):
    train, train_labels = blobs(120, 0, spread=2.0, classes=classes)
    test, labels = blobs(80, 1, spread=2.0, classes=classes)
    result = linear_probe(train, 10 * train_labels, test, 10 * labels)
    probe = result.probe
    assert probe.classes.tolist() == [10 * number for number in range(classes)]
    assert (probe.predict(test) == result.predictions).all()
    model = _classifier(1000)
    mean, scale = _scaling(train.double().numpy())
    _fit(model, (train.double().numpy() - mean) * scale, train_labels.numpy(), result.l2)
    rows = (test.double().numpy() - mean) * scale
    assert (10 * model.predict(rows) == result.predictions).all()
    plain = dataclasses.replace(probe, temperature=1.0)
    assert plain.probabilities(test) == pytest.approx(model.predict_proba(rows), abs=1e-9)


def test_the_temperature_is_the_likeliest():
    draws = np.random.default_rng(0)
    sure = draws.normal(size=(4000, 3)) * 2
    odds = np.exp(sure) / np.exp(sure).sum(axis=1, keepdims=True)
    labels = np.array([draws.choice(3, p=row) for row in odds])
    found = _temperature(3 * sure, labels, np.arange(3))  # three times too sure
    assert found == pytest.approx(3, rel=0.05)

    def loss(temperature):
        logits = 3 * sure / temperature
        likelihoods = logits[np.arange(4000), labels] - np.log(np.exp(logits).sum(axis=1))
        return np.log(temperature) ** 2 / 2 - likelihoods.sum()

    assert loss(found) <= min(loss(found * 0.99), loss(found * 1.01))
    assert _temperature(sure[:0], labels[:0], np.arange(3)) == pytest.approx(1, abs=1e-3)
    unknown = np.append(labels, 7)  # a class that the probe does not know
    assert _temperature(np.append(3 * sure, [[9, 0, 0]], axis=0), unknown, np.arange(3)) == found


def test_one_row_that_is_right_makes_no_certainty():
    assert _temperature(np.array([[2.0, 0.0]]), np.array([0]), np.arange(2)) > 0.5


def test_probabilities_are_calibrated_where_the_logits_are_too_sure():
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(400, 60, generator=generator) for _ in range(2))
    direction = torch.randn(60, generator=generator)
    noisy = [
        (rows @ direction + 8 * torch.randn(400, generator=generator) > 0).long() for rows in (train, test)
    ]
    result = linear_probe(train, noisy[0], test, noisy[1], l2_grid=(1e-6,))
    plain = dataclasses.replace(result.probe, temperature=1.0).probabilities(test).max(axis=1)
    right = result.predictions == noisy[1].numpy()
    assert result.probe.temperature > 1
    assert result.calibration_error < 0.6 * calibration_error(plain, right)


def test_calibration_error_worked_by_hand():
    confidences, right = np.array([0.95, 0.95, 0.55, 1.0]), np.array([True, False, True, True])
    # bins of a fifteenth: {0.95, 0.95, 1.0} with two of three right, {0.55}
    expected = (abs(2.9 - 2) + abs(0.55 - 1)) / 4
    assert calibration_error(confidences, right) == pytest.approx(expected)
    assert calibration_error(np.array([0.5, 0.5]), np.array([True, False])) == 0
    with pytest.raises(ValueError, match="0 confidences"):
        calibration_error(np.zeros(0), np.zeros(0, bool))
