"""The contract of every evaluation task, and a task added from outside."""

from __future__ import annotations

import dataclasses
import json
import sys
from numbers import Real
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from small_runs import small_settings

from likewise.cli.main import main
from likewise.data import Dataset, Splits
from likewise.data.column_kinds import Classes, Names, Numbers, Texts
from likewise.data.columns import Needs
from likewise.data.stored_kinds import Images
from likewise.errors import AbilityError, ConfigError, DataError
from likewise.evaluation import tasks
from likewise.evaluation.base import COMMON_FIGURES, REGISTERED, Figure, NoOptions, Task, task
from likewise.evaluation.context import Context
from likewise.evaluation.registry import (
    default_tasks,
    evaluate,
    figure_of,
    find_task,
    monitored_tasks,
)
from likewise.evaluation.registry import tasks as all_tasks
from likewise.evaluation.tasks.retrieval import RetrievalOptions
from likewise.runs.folder import RunFolder
from likewise.training.engine import train

NAMES = [
    "retrieval",
    "neighbours",
    "probe",
    "zero-shot",
    "few-shot",
    "verification",
    "ranking",
    "clustering",
    "collapse",
]
OF_TEXTS = ["sts", "text-retrieval", "text-collapse"]

# Their figures are tested with the methods that train for them.
ELSEWHERE = [
    "image-audio-retrieval",
    "sts",
    "vqa",
    "text-retrieval",
    "captioning",
    "entailment",
    "nlvr",
    "grounding",
    "text-assignment",
    "transfer",
]

ADDED = '''
from dataclasses import dataclass

from likewise.data.column_kinds import Classes, Names, Texts
from likewise.data.stored_kinds import Images
from likewise.data.columns import Needs
from likewise.evaluation.base import Figure, Task, task


@dataclass(frozen=True, kw_only=True)
class LengthOptions:
    """Options of lengths."""

    power: int = 1
    """lengths: power of the mean length."""


@task("lengths")
class Lengths(Task):
    """How long the embeddings are."""

    title = "Lengths of embeddings"
    summary = "how long the embeddings are"
    needs = Needs("image")
    abilities = ("encode_images",)
    options = LengthOptions
    figures = (
        Figure("length", "Mean length", better="higher", chance=0.25, headline="Length"),
        Figure("num_items", "Items", "count"),
    )

    def run(self, context, options):
        lengths = (context.images**2).sum(axis=1) ** 0.5
        return {"length": float(lengths.mean()) ** options.power, "num_items": len(lengths)}
'''


class Model:
    """A stand-in with all abilities that tasks use; embeddings follow the class with noise."""

    abilities = ("encode_images", "encode_texts", "match")

    def encode_dataset_images(self, data: Dataset) -> np.ndarray:
        assert data.labels is not None
        directions = np.random.default_rng(0).normal(size=(12, 16))
        noise = np.random.default_rng(len(data)).normal(size=(len(data), 16))
        return np.asarray(directions[data.labels] + 0.5 * noise, dtype=np.float32)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.random.default_rng(1).normal(size=(len(texts), 16)).astype(np.float32)

    def judge_dataset(self, data: Dataset, texts: list[str]) -> Any:
        def judge(images: np.ndarray, texts: np.ndarray) -> np.ndarray:
            return np.zeros(len(images), np.float32)

        judge.posterior = judge  # type: ignore[attr-defined]
        return judge


def part(count: int) -> Dataset:
    labels = np.arange(count) % 12
    return Dataset(
        {
            "id": Names([str(number) for number in range(count)]),
            "group": Classes(np.arange(count), []),
            "image": Images(pixels=cast(Any, None), rows=np.arange(count)),
            "text": Texts([(f"caption {number}",) for number in range(count)]),
            "label": Classes(labels, [f"class {number}" for number in range(12)]),
            "domain": Classes(labels // 6, ["first", "second"]),
        }
    )


@pytest.fixture(scope="module")
def context() -> Context:
    splits = Splits(train=part(72), validation=part(96), summary={}, bad_records=[])
    return Context(Model(), splits)  # type: ignore[arg-type]


def test_tasks_are_found_and_listed_in_order() -> None:
    assert list(all_tasks()) == [NAMES[0], *ELSEWHERE, *NAMES[1:], "text-collapse"]
    assert {path.stem for path in Path(tasks.__file__ or "").parent.glob("[!_]*.py")} == {
        name.replace("-", "_") for name in [*NAMES, *ELSEWHERE, "text-collapse"]
    }


@pytest.fixture(scope="module")
def of_texts() -> Context:
    """Scored pairs in groups of three, without images."""
    columns = {name: column for name, column in part(48).columns.items() if name not in ("image", "label")}
    seconds = Texts([(f"text {number}",) for number in range(48)])
    data = Dataset(
        columns
        | {"text_2": seconds, "score": Numbers(np.arange(48.0)), "group": Classes(np.arange(48) // 3, [])}
    )
    return Context(Model(), Splits(train=data, validation=data, summary={}, bad_records=[]))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*NAMES, *OF_TEXTS])
def test_everything_a_task_returns_is_declared(name: str, context: Context, of_texts: Context) -> None:
    if name in OF_TEXTS:
        context = of_texts
    one = find_task(name)
    keys = [figure.key for figure in one.figures]
    assert len(set(keys)) == len(keys)
    assert all(figure.title for figure in one.figures)
    assert one.title
    assert one.summary
    assert ("text" if name in OF_TEXTS else "image") in one.needs.required()
    assert dataclasses.is_dataclass(one.options)
    assert one.supports(context.splits)
    options = RetrievalOptions(rerank=5) if name == "retrieval" else None
    found = evaluate(context, name, options)
    chances = {figure.chance for figure in one.figures if isinstance(figure.chance, str)}
    assert found.keys() <= {*keys, *chances, *one.extras, "data_fingerprint"}
    for key, value in found.items():
        if key in keys:
            assert value is None or (isinstance(value, Real) and not isinstance(value, bool)), key
    for figure in one.figures:
        assert figure.key in found  # this data and these options bring out all of them
        if figure.chance is not None:
            assert isinstance(figure.chance_in(found), Real)
        if figure.unit == "count":
            assert figure.key.startswith("num_")
            assert figure.better is figure.chance is None
        if figure.unit == "share":
            assert -1 <= found[figure.key] <= 1
    for key in one.extras:
        assert key in found


def test_figures_have_words_for_any_entry_of_results() -> None:
    plain, reranked = (
        figure_of("retrieval", key) for key in ("image_to_text_r1", "reranked_image_to_text_r1")
    )
    assert (plain.title, plain.headline, plain.better) == (
        "Image to text, R@1",
        "Right caption first",
        "higher",
    )
    assert reranked.title == "Re-ranked: image to text, R@1"
    assert reranked.chance == plain.chance == "chance_image_to_text_r1"
    assert reranked.headline is None
    elsewhere = figure_of("few-shot", "within_domain_accuracy")
    assert elsewhere.title == "Within a domain: accuracy"
    assert elsewhere.chance_in({"chance_within_domain_accuracy": 0.5}) == 0.5
    assert figure_of("ranking", "within_domain_map_at_r").title == "Within a domain: MAP@R"
    assert figure_of("probe", "num_left_out") is COMMON_FIGURES[0]
    unknown = figure_of("a task of later", "some_figure")
    assert (unknown.title, unknown.unit, unknown.better) == ("Some figure", "number", None)
    assert figure_of("verification", "equal_error_rate").better == "lower"


def test_monitored_tasks_depend_on_shared_classes(context: Context) -> None:
    model: Any = Model()
    assert monitored_tasks(model, context.splits) == ["retrieval", "neighbours", "collapse"]
    other = dataclasses.replace(context.splits, train=part(0))
    assert monitored_tasks(model, other) == ["retrieval", "few-shot", "ranking", "collapse"]
    assert default_tasks(model, dataclasses.replace(other, validation=None)) == []


def test_what_is_lacking_is_named(context: Context) -> None:
    wordless = part(20).with_columns(text=Texts([()] * 20))
    splits = dataclasses.replace(context.splits, validation=wordless)
    table = {"kind": "table (CSV)", "columns_named": ["text"]}
    for summary, said in (({}, "give a table with a column text"), (table, r"give --data\.text-column")):
        told = dataclasses.replace(splits, summary=summary)
        with pytest.raises(DataError, match=rf"retrieval needs captions, and the data has none; {said}\.$"):
            evaluate(Context(context.model, told), "retrieval")
    blind: Any = Model()
    blind.abilities = ("encode_images",)
    with pytest.raises(AbilityError, match="zero-shot needs a model that can encode_texts"):
        evaluate(Context(blind, context.splits), "zero-shot")
    with pytest.raises(ConfigError, match="no task is called 'prob'; did you mean 'probe'"):
        find_task("prob")


def test_two_tasks_of_one_name_or_option_are_refused() -> None:
    @dataclasses.dataclass(frozen=True)
    class Options:
        shots: int = 5

    def define(name: str, kind: type) -> None:
        @task(name)
        class Other(Task):
            title, summary, needs, abilities = "Other", "another", Needs("image"), ()
            figures = (Figure("other", "Other"),)
            options = kind

            def run(self, context: Context, options: Any) -> dict[str, Any]:
                return {"other": 0.0}

    with pytest.raises(ValueError, match="two tasks are called 'probe'"):
        define("probe", NoOptions)
    with pytest.raises(ValueError, match=r"options of other and few-shot have the same names: \['shots'\]"):
        define("other", Options)
    define("other", NoOptions)
    assert "other" in all_tasks()
    REGISTERED.pop("other")


def test_a_task_is_added_by_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "lengths.py").write_text(ADDED)
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(tmp_path / "tasks")])
    try:
        run = train(small_settings("simclr", steps=1), tmp_path / "run", show=False).path
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["evaluate", "--help"])
        shown = capsys.readouterr().out
        assert "lengths: how long the embeddings are" in " ".join(shown.replace("│", " ").split())
        assert "--power INT" in shown
        main(["evaluate", str(run), "lengths", "--power", "2", "--device", "cpu"])
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["lengths", "Mean", "length", "1", "0.25", "higher"] in lines
        figures = RunFolder(run).read_json(RunFolder(run).results)["lengths"]
        assert figures["length"] == pytest.approx(1)
        with pytest.raises(SystemExit):
            main(["evaluate", str(run), "collapse", "--power", "2"])
        assert "--power: only lengths reads this; the task is collapse." in capsys.readouterr().err
        main(["evaluate", str(run), "--json", "--device", "cpu"])
        assert "lengths" in json.loads(capsys.readouterr().out)
    finally:
        REGISTERED.pop("lengths", None)
        sys.modules.pop("likewise.evaluation.tasks.lengths", None)


def test_a_task_that_is_measured_during_training_draws_a_curve() -> None:
    """Without one nothing of it would be shown."""
    for name, found in all_tasks().items():
        curves = [figure.key for figure in found.figures if figure.curve]
        assert (found.monitored == "never") or curves, name
