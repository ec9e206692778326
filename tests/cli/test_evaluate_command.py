"""What `likewise evaluate` measures on: never on rows that were trained on, and it says which it took."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small_runs import small_settings

from likewise.cli.evaluate_command import show_results
from likewise.cli.main import main
from likewise.data import DataConfig, prepare
from likewise.data.columns import Needs
from likewise.data.scenes import draw_scenes
from likewise.evaluation.context import Context
from likewise.evaluation.tasks.probe import ProbeTask
from likewise.evaluation.tasks.retrieval import Retrieval, RetrievalOptions
from likewise.runs.folder import RunFolder
from likewise.training.engine import train


def write_table(folder: Path, count: int, *, first: int = 0, splits: tuple[str, ...] = ()) -> Path:
    """A table of scenes, the splits by turns; equal numbers are equal pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    scenes = draw_scenes(first + count, seed=5, size=32)
    lines = ["image,caption,label" + (",split" if splits else "")]
    for number in range(first, first + count):
        Image.fromarray(scenes.images[number].transpose(1, 2, 0)).save(folder / f"{number}.png")
        split = f",{splits[number % len(splits)]}" if splits else ""
        lines.append(f"{number}.png,{scenes.captions[number]} {number},{number % 3}{split}")
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("data") / "own", 40)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    settings = small_settings("clip", steps=2)
    settings = dataclasses.replace(settings, data=DataConfig(source=str(source), split_seed=3))
    return train(settings, tmp_path_factory.mktemp("runs") / "run", show=False).path


def test_what_the_model_cannot_do_is_said_before_data_is_opened(trained: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", str(trained), "grounding", "--data", "nowhere.csv"])
    assert "grounding needs a model that can ground" in capsys.readouterr().err


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy, for each test to write into."""
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def measured(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[dict[str, Any], str]:
    main(["evaluate", *map(str, words), "--json"])
    said = capsys.readouterr()
    return json.loads(said.out), said.err


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int | str | None, str]:
    with pytest.raises(SystemExit) as left:
        main(list(map(str, words)))
    return left.value.code, capsys.readouterr().err


def held_out(run: Path) -> int:
    return int(json.loads((run / "data.json").read_text())["counts"]["validation"])


def test_the_own_source_by_name_keeps_its_parts(
    run: Path, source: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    plain, said = measured(capsys, run, "retrieval")
    assert plain["retrieval"]["num_images"] == held_out(run) < 40
    assert f"validation part of {source}, drawn by seed 3: {held_out(run)} rows" in said
    named, _ = measured(capsys, run, "retrieval", "--data", "table.csv")
    assert named == plain
    kept = RunFolder(run).read_results()
    assert kept.own["retrieval"]["measured_on"] == plain["retrieval"]["measured_on"]
    assert kept.others == []


def test_rows_that_were_trained_on_are_left_out(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_table(tmp_path / "other", 50)  # all of the run's pictures, and ten more
    trained_on = 40 - held_out(run)
    results, said = measured(capsys, run, "retrieval", "--data", other)
    assert f"warning: {trained_on} of the 50 rows were trained on" in said
    assert f"all of {other}, which names no parts: {50 - trained_on} rows" in said
    (kept,) = RunFolder(run).read_results().others
    assert {name: kept[name] for name in ("task", "source", "part", "rows")} == {
        "task": "retrieval",
        "source": str(other),
        "part": "all",
        "rows": 50 - trained_on,
    }
    assert kept["fingerprint"] == kept["figures"]["data_fingerprint"]
    for figures in (results["retrieval"], kept["figures"]):
        assert (figures["num_left_out"], figures["num_images"]) == (trained_on, 50 - trained_on)
    fresh, said = measured(capsys, run, "--data", write_table(tmp_path / "fresh", 20, first=60))
    assert fresh["retrieval"]["num_images"] == 20
    assert fresh["retrieval"]["num_left_out"] == 0
    assert "warning" not in said
    learnt = fresh["probe"]["measured_on"]
    assert f"drawn by seed 0: {fresh['probe']['num_items']} row" in learnt
    assert f"learning from {20 - fresh['probe']['num_items']} rows" in learnt
    told = f"--data TRAINING --data.validation {tmp_path / 'fresh' / 'table.csv'}"
    line = next(line for line in said.splitlines() if line.startswith("neighbours and probe: "))
    assert line.startswith(f"neighbours and probe: measured on {learnt}; ")
    assert line.endswith(f"to learn from other rows and measure all of these, give {told}")


def test_figures_of_other_data_are_never_overwritten_by_those_of_different_data(
    run: Path,
    source: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = RunFolder(run).read_results().own
    assert before["retrieval"]["measured_on"].startswith(
        f"the validation part of {source}, drawn by seed 3: "
    )
    first = write_table(tmp_path / "first", 30, first=60)
    second = write_table(tmp_path / "second", 10, first=100)
    # One name, two folders; then one training source with two tables to measure on.
    for table in (first, second):
        monkeypatch.chdir(table.parent)
        measured(capsys, run, "collapse", "--data", "table.csv")
    monkeypatch.chdir(tmp_path)
    for table in (first, second):
        for task in ("collapse", "neighbours"):
            found, said = measured(capsys, run, task, "--data", source, "--data.validation", table)
            where = f"all of {table}, which names no parts: {30 if table == first else 10} rows"
            assert where in said
            learnt = f", learning from 40 rows of {source}" if task == "neighbours" else ""
            assert found[task]["measured_on"] == where + learnt
    kept = RunFolder(run).read_results()
    assert kept.own == before
    assert [(entry["task"], entry["source"], entry["rows"]) for entry in kept.others] == [
        ("collapse", str(first), 30),
        ("collapse", str(second), 10),
        ("collapse", str(first), 30),  # in another order, which is another fingerprint
        ("neighbours", str(first), 30),
        ("collapse", str(second), 10),
        ("neighbours", str(second), 10),
    ]
    # A copy of the same rows elsewhere replaces the entry.
    shutil.copytree(first.parent, tmp_path / "moved")
    measured(capsys, run, "collapse", "--data", tmp_path / "moved" / "table.csv")
    others = RunFolder(run).read_results().others
    assert others[0]["source"] == str(tmp_path / "moved" / "table.csv")
    assert others[1:] == kept.others[1:]


def test_figures_of_changed_data_stand_apart_from_the_runs_own(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = (run / "config.toml").read_text()
    table = write_table(tmp_path / "own", 44)
    (run / "config.toml").write_text(re.sub(r"(?m)^source = .*", f'source = "{table}"', config, count=1))
    before = RunFolder(run).read_results().own
    _, said = measured(capsys, run, "collapse")
    assert "is not as it was when training read it" in said
    kept = RunFolder(run).read_results()
    assert kept.own == before
    assert [(entry["task"], entry["source"]) for entry in kept.others] == [("collapse", str(table))]


def test_a_source_of_trained_rows_alone_is_refused(
    run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, _ = measured(capsys, run, "retrieval", "--data", source, "--data.split-seed", "7")
    assert results["retrieval"]["num_left_out"] > 0  # the other draw's part holds rows of the run's own
    own = DataConfig(source=str(source), split_seed=3)
    seen = prepare(own, image_size=32, needs=Needs("image")).train.ids
    shutil.copytree(source.parent, tmp_path / "copy")
    header, *lines = source.read_text().splitlines()
    kept = [line for line in lines if line.split(",")[0] in seen]
    (tmp_path / "copy" / "table.csv").write_text("\n".join([header, *kept]) + "\n")
    code, said = refused(capsys, "evaluate", run, "--data", tmp_path / "copy" / "table.csv")
    assert code == 3
    assert f"all {len(kept)} rows" in said
    assert "were trained on" in said


def test_data_that_moved_is_known_again(
    run: Path, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace(f'"{source}"', '"own/table.csv"'))
    code, said = refused(capsys, "evaluate", run)
    assert code == 3
    assert "It is the run's own data, named relative to the folder where training was started" in said
    named, _ = measured(capsys, run, "retrieval", "--data", source)
    assert named["retrieval"]["num_images"] == held_out(run)
    fresh, said = measured(capsys, run, "retrieval", "--data", write_table(tmp_path / "fresh", 20, first=60))
    assert fresh["retrieval"]["num_left_out"] is None
    assert "whether rows of this were trained on is not known" in said


@pytest.mark.parametrize("names", [("test",), ("val",), ("train", "test")])
def test_a_part_that_is_named_is_measured(
    run: Path, tmp_path: Path, names: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_table(tmp_path / "other", 24, first=60, splits=names)
    results, said = measured(capsys, run, "--data", other)
    count = 24 // len(names)
    assert results["retrieval"]["num_images"] == count
    assert results["retrieval"]["measured_on"] == f"the part {names[-1]} of {other}: {count} rows"
    assert results["retrieval"]["measured_on"] in said
    assert ("neighbours" in results) == ("train" in names)
    main(["embed", str(run), "--data", str(other), "--out", str(tmp_path / "all.npy")])
    assert len(np.load(tmp_path / "all.npy")) == 24


def test_rows_in_both_parts_of_another_source_are_warned_of(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_table(tmp_path / "other", 20, first=60, splits=("train",))
    copies = [f"{number}.png,again {number},{number % 3},test" for number in range(60, 70)]
    path.write_text(path.read_text() + "\n".join(copies) + "\n")
    results, said = measured(capsys, run, "--data", path)
    overlap = "10 of the 10 held-out rows have the image, text or group of a row that is learnt from"
    assert said.count(f"warning: {overlap}") == 1
    kept = {entry["task"]: entry for entry in RunFolder(run).read_results().others}
    for task in ("neighbours", "probe"):
        assert results[task]["overlap"].startswith(overlap)
        assert kept[task]["figures"]["overlap"].startswith(overlap)
        assert kept[task]["learned_from"]["rows"] == 20
    assert "overlap" not in results["retrieval"]
    # a task that learns nothing there
    assert "warning" not in measured(capsys, run, "retrieval", "--data", path)[1]
    # what the run was trained on is left out first, and with it the overlap
    copy = write_table(tmp_path / "copy", 60, splits=("test",))
    seen = RunFolder(run).read_json(run / "data.json")["counts"]["train"]
    copy.write_text(copy.read_text() + "".join(f"{number}.png,x,0,train\n" for number in range(40)))
    results, said = measured(capsys, run, "neighbours", "--data", copy)
    assert results["neighbours"]["num_items"] == 60 - seen
    assert f"warning: {40 - seen} of the {60 - seen} held-out rows" in said


def test_one_task_that_fails_leaves_the_others(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(self: Retrieval, context: Context, options: RetrievalOptions) -> dict[str, Any]:
        raise ValueError("no reason.")

    monkeypatch.setattr(Retrieval, "run", failing)
    (run / "results.json").unlink()
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(run), "--json"])
    said = capsys.readouterr()
    assert left.value.code == 3
    assert "likewise evaluate: retrieval cannot be measured on this data: no reason." in said.err
    assert "likewise evaluate: no figures of retrieval" in said.err
    kept = RunFolder(run).read_json(run / "results.json")
    assert "collapse" in kept
    assert set(json.loads(said.out)) == set(kept)
    code, said_alone = refused(capsys, "evaluate", run, "retrieval")
    assert code == 3
    assert said_alone == "likewise evaluate: retrieval cannot be measured on this data: no reason.\n"


def test_a_probe_that_did_not_converge_is_warned_of(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = ProbeTask.run
    changed = lambda *given: measure(*given) | {"converged": False}  # noqa: E731
    monkeypatch.setattr(ProbeTask, "run", changed)
    assert "warning: probe: the fit ended before it converged" in measured(capsys, run, "probe")[1]


def test_counts_are_shown_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"num_pairs": 13180, "num_items": 20000.0, "accuracy": 2 / 3, "chance_accuracy": 0.5}
    show_results({"verification": figures | {"converged": False, "threshold": None, "roc": [[0, 1]]}})
    shown = capsys.readouterr().out
    assert [line.split()[1:] for line in shown.splitlines()[1:]] == [
        ["Pairs", "13,180"],
        ["Num", "items", "20,000"],
        ["Accuracy", "66.7", "%", "50.0", "%", "higher"],
        ["Converged", "no"],
    ]


def test_figures_of_other_options_do_not_stay(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    default = {"accuracy": 0.5, "num_ways": 5, "data_fingerprint": "a"}
    run.add_results("few-shot", default | {"within_domain_accuracy": 0.4, "num_ways_within_domain": 5})
    asked = default | {"num_ways": 10}  # more than a domain has
    run.add_results("few-shot", asked)
    assert run.read_json(run.results)["few-shot"] == asked


def test_parts_that_are_not_embedded_are_counted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_table(tmp_path / "other", 24, first=60, splits=("train", "val", "test"))
    words = ["--data", str(other), "--out", str(tmp_path / "x.npy")]
    main(["embed", str(run), *words])
    hint = f"--data {other} --data.validation-split test --part validation"
    said = capsys.readouterr().out
    assert "wrote 16 embeddings" in said
    assert f"left out: 8 rows of the part test; add {hint} to embed them." in said
    main(["embed", str(run), *hint.split(), "--out", str(tmp_path / "test.npy")])
    assert "wrote 8 embeddings" in capsys.readouterr().out
    main(["embed", str(run), *words, "--part", "train"])
    assert "left out" not in capsys.readouterr().out
    settings = small_settings("clip", steps=1, batch_size=4)
    settings = dataclasses.replace(settings, data=DataConfig(source=str(other)))
    own = train(settings, tmp_path / "own", show=False).path
    main(["embed", str(own), "--out", str(tmp_path / "x.npy")])
    assert f"left out: 8 rows of the part test; add {hint} to embed them." in capsys.readouterr().out
    main(["embed", str(own), *hint.split(), "--out", str(tmp_path / "test.npy")])
    assert "wrote 8 embeddings" in capsys.readouterr().out


def test_parts_that_cannot_be_measured_are_listed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_table(tmp_path / "other", 24, first=60, splits=("train", "extra"))
    code, said = refused(capsys, "evaluate", run, "--data", other)
    assert code == 3
    assert "splits found: extra, train" in said
    test = write_table(tmp_path / "test", 24, first=60, splits=("test",))
    code, said = refused(capsys, "evaluate", run, "probe", "--data", test)
    assert code == 3
    assert "probe: learning from labelled rows needs a training part" in said
    assert (
        refused(capsys, "embed", run, "--data", test, "--part", "train", "--out", tmp_path / "x.npy")[0] == 3
    )


def test_a_model_without_its_run_cannot_know(
    run: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, said = measured(capsys, run / "model", "retrieval", "--data", source)
    assert results["retrieval"]["num_left_out"] is None
    assert "a model without a run" in said


@pytest.mark.parametrize("device", ["banana", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(
    run: Path, device: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["evaluate", run], ["embed", run, "--out", run / "x.npy"]):
        code, said = refused(capsys, *words, "--device", device)
        assert code == 2
        assert f"device {device} cannot be used here" in said
        assert said.count("\n") == 1
        assert "mkldnn" not in said  # every kind that torch knows


@pytest.mark.parametrize("option", [["--data.fit", "pad"], ["--data.store-size", "33"]])
def test_squares_other_than_in_training_are_refused(
    run: Path, source: Path, tmp_path: Path, option: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for data in (source, write_table(tmp_path / "other", 4, first=60)):
        code, said = refused(capsys, "evaluate", run, "retrieval", "--data", data, *option)
        assert code == 2
        assert f"{option[0]} {option[1]}: this model was trained with" in said
    out = tmp_path / "x.npy"
    assert refused(capsys, "embed", run, "--data", source, "--out", out, *option)[0] == 2
    same = ["--data.fit", "crop", "--data.store-size", "32"]
    results, _ = measured(capsys, run, "retrieval", "--data", source, *same)
    assert results["retrieval"]["num_images"] == held_out(run)


def test_figures_are_printed_before_they_are_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "results.json").write_text('{"retrieval": {')
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(run), "retrieval", "--json"])
    said = capsys.readouterr()
    assert left.value.code == 4
    assert "image_to_text_r1" in json.loads(said.out)["retrieval"]
    assert f"{run / 'results.json'} is damaged" in said.err


def test_training_warns_of_rows_in_both_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_table(tmp_path / "data", 24, splits=("train", "train", "val"))
    path.write_text(path.read_text() + "0.png,again,0,val\n")
    settings = dataclasses.replace(small_settings("clip", steps=1), data=DataConfig(source=str(path)))
    said = "1 of the 9 held-out rows have the image"
    train(settings, tmp_path / "run", show=True)
    assert f"WARNING: {said}" in capsys.readouterr().err
    assert f"warning: {said}" in measured(capsys, tmp_path / "run", "retrieval")[1]


def test_a_tasks_name_is_checked_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = refused(capsys, "evaluate", tmp_path / "no run", "retrievel")
    assert code == 2
    assert said == "likewise evaluate: no task is called 'retrievel'; did you mean 'retrieval'?\n"
    code, said = refused(capsys, "evaluate", tmp_path / "no run", "xyz")
    assert code == 2
    assert "there are retrieval, image-audio-retrieval, sts, vqa, text-retrieval, captioning, " in said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["all", "--rerank", "0"], "--rerank must be at least 1, got 0"),
        (["few-shot", "--ways", "1"], "--ways must be at least 2, got 1"),
        (["retrieval", "--rerank-by", "match"], "give --rerank K too"),
        (["retrieval", "--shots", "2"], "--shots: only few-shot reads this; the task is retrieval."),
        (["ranking", "--ways", "5", "--episodes", "10"], "--ways, --episodes: only few-shot reads this"),
        (["few-shot", "--templates", "plain"], "--templates: only zero-shot reads this"),
        (["zero-shot", "--templates", "foo"], "no templates called 'foo'; there are photo, plain"),
        (["zero-shot", "--templates", "a {} or {}"], "expected a set's name or a sentence with one {}"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_opened(
    words: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = refused(capsys, "evaluate", tmp_path / "no run", *words)
    assert code == 2
    assert reason in said
    assert said.count("\n") == 1
