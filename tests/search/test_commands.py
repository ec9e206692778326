"""The commands index, search, duplicates, embed into parts, and classify by an index."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from likewise.cli.main import main
from likewise.errors import ConfigError
from likewise.model import Model, load
from likewise.model.reranking import candidate_scores
from likewise.search import Index, open_index
from likewise.search.rows.processes import Process, this_process


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[str, str]:
    """What a command prints, and its remarks."""
    main([*map(str, words)])
    found = capsys.readouterr()
    return found.out, found.err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    with pytest.raises(SystemExit):
        main([*map(str, words)])
    return capsys.readouterr().err


def test_index_and_search(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "photos.index"
    words = ("index", photos, "--model", run, "--out", out, "--device", "cpu")
    assert "24 embedded, 0 kept, 0 dropped" in said(capsys, *words)[0]
    assert "0 embedded, 24 kept, 0 dropped" in said(capsys, *words)[0]
    lines = said(capsys, "search", out, "a red square", "--top", 3, "--json", "--device", "cpu")[
        0
    ].splitlines()
    first = json.loads(lines[0])
    assert len(lines) == 3
    model, index = load(run), open_index(out)
    scores = np.asarray(index.vectors) @ model.encode_texts(["a red square"])[0]
    assert first["row"] == scores.argmax()
    assert first["score"] == pytest.approx(scores.max(), abs=1e-4)
    assert first["captions"] == [index.records([first["row"]])[0]["captions"][0]]
    assert 0 <= first["percentile"] < 100
    table, _ = said(capsys, "search", out, "--like", "003.png", "--top", 2, "--filter", "label=red")
    assert table.splitlines()[0].split() == ["rank", "score", "percentile", "id", "text", "or", "label"]
    assert len(table.splitlines()) == 3
    assert "003.png" not in table
    least = index.best_of_random()
    for word in ("red", "a blue square", "number", "zebra", "a", "a green square number 4", "shops"):
        best = float((np.asarray(index.vectors) @ model.encode_texts([word])[0]).max())
        remark = said(capsys, "search", out, word, "--device", "cpu")[1]
        assert ("perhaps nothing here fits" in remark) == (best < least)


def test_combinations_and_sheets(index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = index.records([4])[0]["path"]
    sheet = tmp_path / "answers.png"
    out, _ = said(
        capsys, "search", index.folder, "a square - 0.1*a red square", "--image", f"500*{path}", "--json",
        "--top", 1, "--sheet", sheet, "--device", "cpu",
    )  # fmt: skip
    assert json.loads(out)["id"] == "004.png"
    with Image.open(sheet) as drawn:
        assert drawn.width > 176
    assert said(capsys, "search", index.folder, "x", "--min-score", 0.9999)[0] == ""
    assert "no answer reaches" in said(capsys, "search", index.folder, "x", "--min-score", 0.9999)[1]
    assert "no row meets" in said(capsys, "search", index.folder, "x", "--filter", "label=pink")[1]


def test_reranking_is_by_the_pair_scorer(
    index: Index, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = said(
        capsys, "search", index.folder, "a red square", "--rerank", 8, "--top", 8, "--json", "--device", "cpu"
    )
    hits = [json.loads(line) for line in out.splitlines()]
    plain = index.search(model.encode_texts(["a red square"]), top=8).rows[0]
    assert {hit["row"] for hit in hits} == set(plain.tolist())
    paths = [hit["path"] for hit in hits]
    scores, chances = candidate_scores(model, paths, "a red square")
    assert (np.diff(scores) <= 1e-6).all()
    np.testing.assert_allclose([hit["match"] for hit in hits], chances, atol=1e-4)
    np.testing.assert_allclose(chances, model.match(paths, "a red square"), atol=1e-5)
    error = refused(capsys, "search", index.folder, "red - blue", "--rerank", 8)
    assert "needs a query of one text" in error


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "nothing to search for"),
        (("red", "--filter", "label"), "--filter label: expected COLUMN=VALUE"),
        (("red", "--filter", "colour=red"), "no column colour"),
        (("red", "--top", "0"), "--top is 0"),
        (("--like", "3.png"), "no id 3.png"),
        (("red", "--rerank-by", "x"), "add --rerank 64"),
        (("red", "--sheet", "answers.txt"), "ends in .png"),
        (("red", "--image", "none.jpg"), "none.jpg: cannot be read"),
    ],
)
def test_wrong_searches_are_refused(
    words: tuple[str, ...], expected: str, index: Index, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in refused(capsys, "search", index.folder, *words)


def test_duplicates_are_written_and_collapsed(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("000.png", "001.png", "002.png"):
        shutil.copy(photos.parent / name, folder)
        shutil.copy(photos.parent / name, folder / f"copy_{name}")
    out = tmp_path / "photos.index"
    said(capsys, "index", folder, "--model", run, "--out", out, "--device", "cpu")
    words = ("duplicates", out, "--kinds", "exact", "near", "--out", tmp_path / "d.csv")
    printed, _ = said(capsys, *words, "--sheet", tmp_path / "d.png")
    assert "3 groups of duplicates with 6 of 6 images: besides the first of each 3 exact" in printed
    rows = list(csv.DictReader((tmp_path / "d.csv").read_text().splitlines()))
    assert [(row["group"], row["kind"], row["id"]) for row in rows[:2]] == [
        ("1", "first", "000.png"),
        ("1", "exact", "copy_000.png"),
    ]
    assert (tmp_path / "d.png").is_file()
    listed, _ = said(capsys, "duplicates", out, "--kinds", "exact")
    assert "   1  000.png, copy_000.png (exact)" in listed
    shown, _ = said(capsys, "search", out, "--like", "000.png", "--collapse", "--top", 5, "--json")
    hits = [json.loads(line) for line in shown.splitlines()]
    assert len(hits) <= 3
    assert sum(1 + hit.get("others", 0) for hit in hits) == 5


def test_parts_of_several_processes_make_one_index(
    run: Path,
    photos: Path,
    index: Index,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parts, out = tmp_path / "parts", tmp_path / "photos.index"
    words = ("embed", run, "--data", photos, "--out", f"{parts}/", "--rows-a-part", 5, "--device", "cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert "process 1 of 2: wrote 3 parts" in said(capsys, *words)[0]
    build = ("index", f"{parts}/", "--model", run, "--out", out, "--device", "cpu")
    assert "of 5 parts 2 are missing (2, 4)" in refused(capsys, *build)
    monkeypatch.setenv("RANK", "1")
    assert "process 2 of 2: wrote 2 parts" in said(capsys, *words)[0]
    (parts / "part-00003-of-00005.parquet").unlink()
    (parts / "part-00004-of-00005.parquet").write_bytes(b"cut short")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    assert "wrote 2 parts" in said(capsys, *words)[0]
    assert "24 embedded" not in said(capsys, *build)[0]
    joined = open_index(out)
    np.testing.assert_allclose(joined.vectors, index.vectors, atol=1e-6)
    assert joined.records(range(24)) == index.records(range(24))
    assert joined.thumbnail(7) == index.thumbnail(7)
    # Images that are indexed from their folder later are not embedded again.
    again = said(capsys, "index", photos, "--model", run, "--out", out, "--device", "cpu")[0]
    assert "0 embedded, 24 kept" in again


def test_which_process_this_is() -> None:
    assert this_process({}) == Process(0, 1, 0)
    assert this_process({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == Process(5, 8, 1)
    array = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "3", "SLURM_ARRAY_TASK_MAX": "9"}
    assert this_process(array) == Process(4, 7, 0)
    assert this_process(array | {"SLURM_ARRAY_TASK_STEP": "2"}) == Process(2, 4, 0)
    both = array | {"SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1"}
    assert this_process(both) == Process(9, 14, 1)
    with pytest.raises(ConfigError, match="RANK is 3, and WORLD_SIZE is 3"):
        this_process({"RANK": "3", "WORLD_SIZE": "3"})
    with pytest.raises(ConfigError, match="expected a number"):
        this_process({"RANK": "x", "WORLD_SIZE": "3"})


def test_classes_by_names_and_by_neighbours(
    run: Path, model: Model, index: Index, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [str(photos.parent / f"{number:03d}.png") for number in range(3)]
    out = tmp_path / "classes.parquet"
    words = ("classify", run, *images, "--device", "cpu", "--out", out)
    said(capsys, *words, "--labels", "red,green,blue", "--templates", "a {} square", "--num-classes", "3")
    rows = pq.read_table(out).to_pylist()
    texts = model.encode_texts([f"a {name} square" for name in ("red", "green", "blue")])
    logits = model.encode_images(images[:1]) @ texts.T / float(model.network.temperature.detach())
    odds = np.exp(logits[0] - logits.max())
    expected = dict(zip(("red", "green", "blue"), odds / odds.sum(), strict=True))
    assert {row["class"]: row["probability"] for row in rows[:3]} == pytest.approx(expected, rel=1e-4)
    # Each image is in the index: with one neighbour it finds itself.
    said(capsys, *words, "--index", index.folder, "--neighbours", 1, "--sort-into", tmp_path / "sorted")
    assert [row["class"] for row in pq.read_table(out).to_pylist()] == ["red", "green", "blue"]
    assert sorted(
        str(path.relative_to(tmp_path / "sorted")) for path in (tmp_path / "sorted").rglob("*.png")
    ) == [
        "blue/002.png",
        "green/001.png",
        "red/000.png",
    ]
    said(
        capsys, *words, "--index", index.folder, "--abstain-below", 0.999, "--sort-into", tmp_path / "unsure"
    )
    assert [row["class"] for row in pq.read_table(out).to_pylist()] == ["", "", ""]
    assert len(list((tmp_path / "unsure/_unsure").iterdir())) == 3
    assert (photos.parent / "000.png").is_file()  # copies, nothing is moved
    assert "no classes of its own" in refused(capsys, *words)
    assert "at least two names" in refused(capsys, *words, "--labels", "red")
    assert "--labels and --index are 2 ways to classify" in refused(
        capsys, *words, "--labels", "a,b", "--index", index.folder
    )


def test_an_index_in_lancedb_gives_the_same_answers(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lancedb", reason="LanceDB is not installed")
    out, address = tmp_path / "photos.index", tmp_path / "lance"
    said(capsys, "index", photos, "--model", run, "--out", out, "--lance", address, "--device", "cpu")
    query = ("a red square", "--json", "--top", 3, "--filter", "label=red", "--filter", "price=11.5")
    found = [
        [json.loads(line) for line in said(capsys, "search", name, *query, "--device", "cpu")[0].splitlines()]
        for name in (out, f"lance:{address}")
    ]
    for ours, theirs in zip(*found, strict=True):
        assert theirs["id"] == ours["id"]
        assert theirs["score"] == pytest.approx(ours["score"], abs=1e-4)
        assert theirs["percentile"] == pytest.approx(ours["percentile"], abs=0.1)
    assert "no column colour" in refused(capsys, "search", f"lance:{address}", "x", "--filter", "colour=red")
    assert "--like has no effect" in refused(capsys, "search", f"lance:{address}", "--like", "003.png")
    assert "no index of likewise" in refused(capsys, "search", f"lance:{tmp_path / 'none'}", "x")
