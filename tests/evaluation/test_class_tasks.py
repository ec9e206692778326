import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from likewise.data import Dataset, Splits
from likewise.data.column_kinds import Classes, Names
from likewise.data.stored_kinds import Images
from likewise.errors import ConfigError, DataError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import default_tasks, evaluate, find_task
from likewise.evaluation.tasks import clustering
from likewise.evaluation.tasks.clustering import draw_classes
from likewise.evaluation.tasks.few_shot import FewShotOptions
from likewise.training.monitor import validation_figures

NAMES = [f"class {number}" for number in range(40)]
NEW = ["few-shot", "verification", "ranking", "clustering"]


def part(labels, domains=None):
    labels = None if labels is None else np.asarray(labels)
    count = 12 if labels is None else len(labels)
    columns = {"id": Names([str(number) for number in range(count)]), "group": Classes(np.arange(count), [])}
    columns["image"] = Images(pixels=None, rows=np.arange(count))
    if labels is not None:
        columns["label"] = Classes(labels, NAMES)
    if domains is not None:
        columns["domain"] = Classes(domains, [f"domain {number}" for number in range(5)])
    return Dataset(columns)


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


class Blind(Stub):
    """A model whose embeddings say nothing of the classes."""

    def encode_dataset_images(self, data):
        return np.random.default_rng(0).normal(size=(len(data), 12)).astype(np.float32)


SHARED = split(np.arange(60) % 6, np.arange(60) % 6)
APART = split(np.arange(60) % 6, 10 + np.arange(120) % 24, np.arange(120) % 24 // 12)


def test_tasks_that_learn_need_a_class_of_both_parts():
    assert default_tasks(Stub(), SHARED) == ["neighbours", "probe", *NEW, "collapse"]
    assert default_tasks(Stub(), APART) == [*NEW, "collapse"]
    for task in ("neighbours", "probe"):
        assert evaluate(Context(Stub(), SHARED), task)["accuracy"] > 0.5
        with pytest.raises(DataError, match="no class of the validation part"):
            evaluate(Context(Stub(), APART), task)


def test_without_labels_there_is_nothing_of_classes():
    unlabelled = split(None, None)
    assert default_tasks(Stub(), unlabelled) == ["collapse"]
    for task in ("neighbours", *NEW):
        with pytest.raises(DataError, match="needs labels"):
            evaluate(Context(Stub(), unlabelled), task)
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
        assert evaluate(Context(Stub(), splits), task)["data_fingerprint"]
    for task in set(NEW) - set(fitting):
        with pytest.raises(DataError, match="cannot be measured"):
            evaluate(Context(Stub(), splits), task)


@pytest.mark.parametrize(
    ("train_labels", "can_be_probed"), [([0] * 8, False), ([0, 1, 2, 3], False), ([0, 0, 1, -1], True)]
)
def test_a_default_probe_can_always_be_measured(train_labels, can_be_probed):
    splits = split(train_labels, [0, 0, 0])
    learning = [task for task in default_tasks(Stub(), splits) if task in ("neighbours", "probe")]
    assert learning == ["neighbours", *(["probe"] if can_be_probed else [])]
    for task in learning:
        assert evaluate(Context(Stub(), splits), task)["data_fingerprint"]
    if not can_be_probed:
        with pytest.raises(DataError, match="probe cannot be measured"):
            evaluate(Context(Stub(), splits), "probe")


def test_domains_are_reported_within_and_across():
    context = Context(Stub(), APART)
    shots = evaluate(context, "few-shot")
    assert (shots["num_ways"], shots["chance_accuracy"]) == (20, 0.05)
    assert (shots["num_ways_within_domain"], shots["chance_within_domain_accuracy"]) == (12, 1 / 12)
    assert 0.3 < shots["accuracy"] < shots["within_domain_accuracy"]  # fewer ways are easier
    for task, name in (("verification", "roc_auc"), ("ranking", "r_precision")):
        figures = evaluate(context, task)
        assert figures[f"within_domain_{name}"] > figures[f"chance_within_domain_{name}"]
    one_domain = APART.validation.with_columns(domain=Classes(np.zeros(120, dtype=int), ["one"]))
    alone = Context(Stub(), dataclasses.replace(APART, validation=one_domain))
    assert not any("within" in name for task in NEW for name in evaluate(alone, task))


def test_figures_across_domains_need_none_inside():
    labels = np.arange(120) // 20
    of_one_class = APART.validation.with_columns(
        label=Classes(labels, NAMES), domain=Classes(labels, list("abcdef"))
    )
    figures = evaluate(Context(Stub(), dataclasses.replace(APART, validation=of_one_class)), "ranking")
    assert "map_at_r" in figures
    assert not any("within" in name for name in figures)


def test_episodes_are_made_as_asked():
    context = Context(Stub(), APART)
    figures = evaluate(context, "few-shot", FewShotOptions(ways=15, shots=2, episodes=30))
    assert [figures[f"num_{name}"] for name in ("ways", "shots", "episodes")] == [15, 2, 30]
    assert "within_domain_accuracy" not in figures  # a domain has 12 classes
    with pytest.raises(DataError, match="30-way"):
        evaluate(context, "few-shot", FewShotOptions(ways=30))


def test_the_look_while_training_is_at_what_can_be_known():
    assert set(validation_figures(Context(Stub(), SHARED))[0]) == {"neighbours", "collapse"}
    assert set(validation_figures(Context(Stub(), APART))[0]) == {"few-shot", "ranking", "collapse"}


def test_clustering_draws_whole_classes():
    few = draw_classes(np.repeat(np.arange(4), 1000), 800)  # an even share of each
    assert np.bincount(few // 1000).tolist() == [200] * 4
    many = np.repeat(np.arange(500), 5)
    rows = draw_classes(many, 302)
    assert len(rows) == 300
    assert set(np.bincount(many[rows])) == {0, 5}
    assert (np.diff(rows) > 0).all()
    assert (draw_classes(many, 302) == rows).all()
    uneven = np.repeat(np.arange(30), np.arange(30) * 10 + 10)
    counts = np.bincount(uneven[draw_classes(uneven, 1000)], minlength=30)
    assert set(counts[counts > 0] - np.minimum(100, np.bincount(uneven)[counts > 0])) == {0}
    unknown = np.array([-1, 3, 3, 5])
    assert draw_classes(unknown, 200).tolist() == [1, 2, 3]


def test_clustering_of_many_small_classes_can_be_measured(monkeypatch):
    monkeypatch.setattr(clustering, "_MAX_ITEMS", 200)
    rng = np.random.default_rng(0)
    pairs = np.repeat(np.arange(300), 2)
    one_pair = np.append(np.arange(600), 599)  # wherever it lies, it is among what is drawn
    for labels in (pairs, one_pair, one_pair[::-1]):
        rows = rng.normal(size=(labels.max() + 1, 8))[labels]
        context = SimpleNamespace(images=rows, labels=labels)
        figures = find_task("clustering").run(context, None)
        assert figures["num_items"] <= 200
        assert figures["num_clusters"] < figures["num_items"]
        assert figures["nmi"] > 0.9


def test_confusions_of_many_classes_are_named_not_tabled():
    few = evaluate(Context(Stub(), SHARED), "neighbours")
    assert (len(few["confusion"]), few["label_names"]) == (40, NAMES)
    names = [*NAMES, *(f"another {number}" for number in range(20))]
    train = SHARED.train.with_columns(label=Classes(SHARED.train.labels, names))
    held_out = train.with_columns(label=Classes(np.roll(train.labels, 1), names))  # not those of their twins
    many = Context(Blind(), dataclasses.replace(SHARED, train=train, validation=held_out))
    for task in ("neighbours", "probe"):
        figures = evaluate(many, task)
        assert not {"confusion", "label_names"} & set(figures)
        assert figures["most_confused"]
        mistake = figures["most_confused"][0]
        assert mistake["class"] != mistake["taken_for"]
        assert {mistake["class"], mistake["taken_for"]} <= set(NAMES[:6])
        assert figures["num_train"] == 60
    assert evaluate(many, "probe")["converged"] is True


def test_options_of_episodes_have_a_least_value():
    for option in ({"ways": 1}, {"shots": 0}, {"episodes": 1}):
        with pytest.raises(ConfigError, match="at least"):
            FewShotOptions(**option)


@pytest.mark.parametrize(
    ("labels", "shots", "said"),
    [
        (range(8), 1, "no class has two items; an episode needs two such classes"),
        ([0, 0, 1], 1, "only one class has two items"),
        ([0, 0, 1, 1], 3, "no class has 4 items"),
    ],
)
def test_episodes_that_cannot_be_say_what_is_missing(labels, shots, said):
    context = Context(Stub(), split([39], list(labels)))
    with pytest.raises(DataError, match=said):
        evaluate(context, "few-shot", FewShotOptions(shots=shots))
