"""The small files of a run's folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from likewise.errors import ModelError
from likewise.runs.folder import RunFolder


def test_figures_that_are_not_computed_again_stay(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.add_results("retrieval", {"r1": 0.5, "reranked_r1": 0.8, "num_judged": 16, "data_fingerprint": "a"})
    run.add_results("probe", {"accuracy": 0.1, "data_fingerprint": "a"})
    run.add_results("retrieval", {"r1": 0.6, "data_fingerprint": "a"})
    kept = {"r1": 0.6, "reranked_r1": 0.8, "num_judged": 16, "data_fingerprint": "a"}
    assert run.read_json(run.results)["retrieval"] == kept
    run.add_results("retrieval", {"r1": 0.7, "data_fingerprint": "b"})  # other data: nothing can stay
    assert run.read_json(run.results)["retrieval"] == {"r1": 0.7, "data_fingerprint": "b"}
    assert run.read_json(run.results)["probe"]["accuracy"] == 0.1


def test_figures_of_an_older_file_are_read(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    older = {"retrieval": {"r1": 0.5}, "retrieval on x.csv": {"r1": 0.4, "data_fingerprint": "b"}}
    run.write_json(run.results, older)
    entry = {
        "task": "retrieval",
        "source": "x.csv",
        "fingerprint": "b",
        "figures": older["retrieval on x.csv"],
    }
    assert run.read_results() == ({"retrieval": {"r1": 0.5}}, [entry])
    run.add_results("probe", {"accuracy": 0.1})
    assert run.read_json(run.results) == {
        "retrieval": {"r1": 0.5},
        "probe": {"accuracy": 0.1},
        "others": [entry],
    }


def test_an_entry_of_other_data_is_replaced_by_one_of_the_same_rows_alone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    first = {"task": "probe", "source": "a", "part": "all", "fingerprint": "a", "figures": {"accuracy": 0.1}}
    learned = {"learned_from": {"fingerprint": "t"}}
    different = [
        first | {"task": "neighbours"},
        first | {"part": "test"},
        first | {"fingerprint": "b"},
        first | learned,
        first | {"fingerprint": None},
        first | {"fingerprint": None},  # nothing says that these are the same rows
    ]
    for entry in (first, *different, first | {"source": "moved", "figures": {"accuracy": 0.2}}):
        run.add_other_results(entry)
    kept = run.read_results().others
    assert kept[0] == first | {"source": "moved", "figures": {"accuracy": 0.2}}
    assert kept[1:] == different


@pytest.mark.parametrize("content", [b'{"retrieval": {', b'{"others": {}}', b"[]", b"\xff\xfe"])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    run = RunFolder(tmp_path)
    run.results.write_bytes(content)
    with pytest.raises(ModelError, match=r"results\.json is damaged"):
        run.add_results("retrieval", {"r1": 0.5})
    assert run.results.read_bytes() == content


def test_damaged_lines_of_the_curves_are_passed_over(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    good = [{"kind": "train", "step": step, "loss": 0.5} for step in (1, 2, 3)]
    lines = [json.dumps(line).encode() for line in good]
    damaged = [
        b"7",
        b"null",
        b'["kind", "step"]',
        b'{"kind": "train"}',
        b'{"step": "two", "kind": 1}',
        b"\xff{",
    ]
    run.metrics.write_bytes(b"\n".join([lines[0], *damaged, lines[1], b"\xff", lines[2], b'{"kind": "tr']))
    assert run.read_metrics() == good
    run.cut_metrics(2, finished=False)
    assert [json.loads(line) for line in run.metrics.read_text().splitlines()] == good[:2]
