import dataclasses

import numpy as np
import pytest

from likewise.cli.evaluate_command import EvaluateCommand, _refuse_ignored, _task_options
from likewise.data import Dataset, Splits
from likewise.errors import ConfigError, DataError
from likewise.evaluation.tasks import Embedded, Episodes, default_tasks, evaluate
from likewise.training.heldout import look_at_held_out

NAMES = [f"class {number}" for number in range(40)]
NEW = ["few-shot", "verification", "ranking", "clustering"]


def part(labels, domains=None):
    labels = None if labels is None else np.asarray(labels)
    count = 12 if labels is None else len(labels)
    return Dataset(
        ids=[str(number) for number in range(count)],
        groups=np.arange(count),
        labels=labels,
        label_names=None if labels is None else NAMES,
        domains=domains,
        domain_names=None if domains is None else [f"domain {number}" for number in range(5)],
    )


def split(train_labels, labels, domains=None):
    return Splits(train=part(train_labels), validation=part(labels, domains), summary={}, bad_records=[])


class Stub:
    """A model whose embedding of a row is its class's direction and a little noise."""

    abilities = ("encode_images",)

    def encode_dataset_images(self, data):
        labels = np.zeros(len(data), dtype=int) if data.labels is None else data.labels
        directions = np.random.default_rng(0).normal(size=(41, 12))
        noise = np.random.default_rng(len(data)).normal(size=(len(data), 12))
        return (directions[labels] + 0.5 * noise).astype(np.float32)


SHARED = split(np.arange(60) % 6, np.arange(60) % 6)
APART = split(np.arange(60) % 6, 10 + np.arange(120) % 24, np.arange(120) % 24 // 12)


def test_tasks_that_learn_need_a_class_of_both_parts():
    assert default_tasks(Stub(), SHARED) == ["neighbours", "probe", *NEW, "collapse"]
    assert default_tasks(Stub(), APART) == [*NEW, "collapse"]
    for task in ("neighbours", "probe"):
        assert evaluate(Embedded(Stub(), SHARED), task)["accuracy"] > 0.5
        with pytest.raises(DataError, match="no class of the held-out part"):
            evaluate(Embedded(Stub(), APART), task)


def test_without_labels_there_is_nothing_of_classes():
    unlabelled = split(None, None)
    assert default_tasks(Stub(), unlabelled) == ["collapse"]
    for task in ("neighbours", *NEW):
        with pytest.raises(DataError, match="needs labels"):
            evaluate(Embedded(Stub(), unlabelled), task)
    # training without labels hinders only what learns from it
    assert default_tasks(Stub(), split(None, np.arange(30) % 6)) == [*NEW, "collapse"]


@pytest.mark.parametrize(
    ("labels", "fitting"),
    [
        ([0] * 8, []),
        (list(range(8)), []),
        ([0, 0, 1], ["ranking", "clustering"]),
        ([0, 0, 1, 1, 2, 2], ["few-shot", "ranking", "clustering"]),
        ([0, 0, 1, 1, 2, 3], NEW),
    ],
)
def test_a_default_task_can_always_be_measured(labels, fitting):
    splits = split(np.full(5, 39), labels)
    assert default_tasks(Stub(), splits) == [*fitting, "collapse"]
    for task in fitting:
        assert evaluate(Embedded(Stub(), splits), task)["data_fingerprint"]
    for task in set(NEW) - set(fitting):
        with pytest.raises(DataError, match="cannot be measured"):
            evaluate(Embedded(Stub(), splits), task)


def test_domains_are_reported_within_and_across():
    embedded = Embedded(Stub(), APART)
    shots = evaluate(embedded, "few-shot")
    assert (shots["num_ways"], shots["chance_accuracy"]) == (20, 0.05)
    assert (shots["num_ways_within_domain"], shots["chance_within_domain_accuracy"]) == (12, 1 / 12)
    assert 0.3 < shots["accuracy"] < shots["within_domain_accuracy"]  # fewer ways are easier
    for task, name in (("verification", "roc_auc"), ("ranking", "r_precision")):
        figures = evaluate(embedded, task)
        assert figures[f"within_domain_{name}"] > figures[f"chance_within_domain_{name}"]
    one_domain = dataclasses.replace(APART.validation, domains=np.zeros(120, dtype=int))
    alone = Embedded(Stub(), dataclasses.replace(APART, validation=one_domain))
    assert not any("within" in name for task in NEW for name in evaluate(alone, task))


def test_episodes_are_made_as_asked():
    embedded = Embedded(Stub(), APART, episodes=Episodes(num_ways=15, num_shots=2, num_episodes=30))
    figures = evaluate(embedded, "few-shot")
    assert [figures[f"num_{name}"] for name in ("ways", "shots", "episodes")] == [15, 2, 30]
    assert "within_domain_accuracy" not in figures  # a domain has 12 classes
    with pytest.raises(DataError, match="30-way"):
        evaluate(Embedded(Stub(), APART, episodes=Episodes(num_ways=30)), "few-shot")


def test_the_look_while_training_is_at_what_can_be_known():
    assert set(look_at_held_out(Embedded(Stub(), SHARED))[0]) == {"neighbours", "collapse"}
    assert set(look_at_held_out(Embedded(Stub(), APART))[0]) == {"few-shot", "ranking", "collapse"}


def test_options_that_no_task_reads_are_refused():
    for option in ({"ways": 5}, {"shots": 2}, {"episodes": 10}):
        given = EvaluateCommand(run="x", task="ranking", **option)
        with pytest.raises(ConfigError, match="only few-shot reads this"):
            _refuse_ignored(given, ["ranking"])
        _refuse_ignored(given, ["few-shot", "ranking"])
    with pytest.raises(ConfigError, match="only zero-shot reads this"):
        _refuse_ignored(EvaluateCommand(run="x", templates="plain"), NEW)
    _refuse_ignored(EvaluateCommand(run="x"), NEW)


def test_options_of_episodes_reach_them():
    asked = _task_options(EvaluateCommand(run="x", ways=5, episodes=20))
    assert asked == {
        "templates": "photo",
        "rerank": None,
        "rerank_by": "both",
        "episodes": Episodes(num_ways=5, num_shots=1, num_episodes=20),
    }
    assert _task_options(EvaluateCommand(run="x", templates="a {}"))["templates"] == ["a {}"]
    for option in ({"ways": 1}, {"shots": 0}, {"episodes": 1}):
        with pytest.raises(ConfigError, match="at least"):
            _task_options(EvaluateCommand(run="x", **option))
