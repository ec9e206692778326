"""Model.entail, compare and ground, and their commands, on small trained models."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_runs import small_settings

from likewise.cli.main import main
from likewise.data.scenes.generate import draw_scenes
from likewise.errors import AbilityError, ConfigError, DataError
from likewise.model import load
from likewise.training.engine import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("statements")
    made = {
        name: train(small_settings(name, steps=2), folder / name, show=False).path
        for name in ("entailment", "nlvr", "tcl")
    }
    scenes = draw_scenes(3, seed=5, size=40)
    for number, pixels in enumerate(scenes.images):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(folder / f"{number}.png")
    (folder / "rows.csv").write_text(
        "image,image_2,text\n0.png,1.png,there is a star\n1.png,2.png,two things\n"
    )
    boxes = json.dumps([{"phrase": "a star", "box": [2, 2, 10, 10]}, {"phrase": "", "box": [20, 20, 9, 9]}])
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "boxes"], ["0.png", boxes], ["nowhere.png", boxes]])
    return made | {"folder": folder}


def said(words: list[str], capsys: Any) -> tuple[int, str, str]:
    code = 0
    try:
        main(words)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    found = capsys.readouterr()
    return code, found.out, found.err


def test_one_image_for_all_statements_and_one_statement_for_all_images(runs: dict[str, Path]) -> None:
    model, folder = load(runs["entailment"]), runs["folder"]
    statements = ["there is a star", "there are two things"]
    both = model.entail(folder / "0.png", statements)
    alone = [model.entail(folder / "0.png", text)[0] for text in statements]
    for one, other in zip(both, alone, strict=True):
        assert one.label == other.label
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
        assert list(one.probabilities) == ["false", "true", "undecided"]
        assert one.probability == max(one.probabilities.values())
    assert len(model.entail([folder / "0.png", folder / "1.png"], statements[0], batch_size=1)) == 2


def test_what_does_not_go_together_is_named(runs: dict[str, Path]) -> None:
    entailer, reasoner, folder = load(runs["entailment"]), load(runs["nlvr"]), runs["folder"]
    with pytest.raises(DataError, match="2 images and 3 statements do not go together"):
        entailer.entail([folder / "0.png"] * 2, ["a", "b", "c"])
    with pytest.raises(DataError, match="3 left images and 2 right images and 3 statements"):
        reasoner.compare([folder / "0.png"] * 3, [folder / "1.png"] * 2, ["a", "b", "c"])
    with pytest.raises(DataError, match="text 0 is ' '"):
        entailer.entail(folder / "0.png", " ")
    with pytest.raises(AbilityError, match="cannot entail, it can compare"):
        reasoner.entail(folder / "0.png", "a star")
    with pytest.raises(AbilityError, match="tcl"):
        entailer.ground(folder / "0.png", "a star")


def test_an_image_that_cannot_be_read_is_named_by_its_place(runs: dict[str, Path]) -> None:
    one = Image.open(runs["folder"] / "0.png")
    images, texts = [one, one, one, b"xxx"], list("abcd")
    with pytest.raises(DataError, match=r"^image 3: "):
        load(runs["entailment"]).entail(images, texts)
    with pytest.raises(DataError, match=r"^image 3: "):
        load(runs["tcl"]).ground(images, texts)
    for pair, name in (((images, one), "left"), ((one, images), "right")):
        with pytest.raises(DataError, match=rf"^{name} image 3: "):
            load(runs["nlvr"]).compare(*pair, texts)


def test_the_order_of_a_pair_matters_and_maps_come_for_both(runs: dict[str, Path]) -> None:
    model, folder = load(runs["nlvr"]), runs["folder"]
    pair = folder / "0.png", folder / "1.png"
    (seen,) = model.look(*pair, statements="both pictures show a star")
    verdict = model.compare(*pair, "both pictures show a star")[0]
    assert seen.verdict.probabilities == pytest.approx(verdict.probabilities, abs=1e-5)
    assert [one.shape[0] for one in seen.maps] == [seen.maps[0].shape[1]] * 2
    assert all((one >= 0).all() for one in seen.maps)
    for wrong in (7, -1, 1.5):
        with pytest.raises(ConfigError, match=f"got layer {wrong}"):
            model.look(*pair, statements="a", layer=wrong)  # type: ignore[arg-type]


def test_grounding_gives_places_of_the_image_and_ranks_boxes(runs: dict[str, Path]) -> None:
    model = load(runs["tcl"])
    wide = np.asarray(Image.open(runs["folder"] / "0.png").resize((80, 40)))
    given = [(0, 0, 20, 20), (30, 10, 25, 25)]
    with pytest.warns(UserWarning, match=r"boxes without a score: 1, the first is 0,0,20,20; "):
        first, second = model.ground(wide, ["a star", "a red circle"], given)
    assert first.point is not None
    assert 20 <= first.point[0] <= 60  # the square is the middle of the image
    assert len(first.box_scores) == len(second.box_scores) == 2
    assert (first.box_scores[0], first.best_box) == (None, 1)  # the square shows 20 to 60
    with pytest.warns(UserWarning, match="boxes without a score: 2"):
        (none,) = model.ground(wide, "a star", [(0, 0, 20, 20), (90, 0, 5, 5)])
    assert (none.box_scores, none.best_box) == ([None, None], None)
    assert 0 < first.probability < 1
    ragged = [[(0, 0, 9, 9), (1, 2)]] * 2
    for boxes in ([(1, 2, 3)], [(0, 0, 0, 5)], [[(0, 0, 1, 1)]] * 3, [[(1, 2), (3, 4)]], [5, 6], ragged):
        with pytest.raises(DataError, match="box"):
            model.ground(wide, ["a", "b"], boxes)


def test_commands_print_and_write(runs: dict[str, Path], capsys: Any) -> None:
    folder = runs["folder"]
    image, table, out = str(folder / "0.png"), str(folder / "rows.csv"), str(folder / "out.csv")
    code, printed, _ = said(["entail", str(runs["entailment"]), image, "there is a star"], capsys)
    assert code == 0
    assert printed.startswith(f"{image}\tthere is a star\t")
    code, printed, _ = said(["compare", str(runs["nlvr"]), table, "--out", out], capsys)
    assert (code, "wrote verdicts on 2 statements" in printed) == (0, True)
    with open(out, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["statement"] for row in rows] == ["there is a star", "two things"]
    assert [(row["row"], row["image"], row["image_2"]) for row in rows] == [
        ("rows.csv:2", "0.png", "1.png"),
        ("rows.csv:3", "1.png", "2.png"),
    ]
    assert float(rows[0]["p(true)"]) + float(rows[0]["p(false)"]) == pytest.approx(1, abs=1e-5)
    drawing = str(folder / "found.png")
    words = ["ground", str(runs["tcl"]), image, "a star", "--box", "1,1,9,9", "20,20,9,9", "--out", drawing]
    code, printed, _ = said(words, capsys)
    assert (code, "best box" in printed, Path(drawing).is_file()) == (0, True, True)
    code, printed, err = said(["ground", str(runs["tcl"]), str(folder / "boxes.csv")], capsys)
    assert (code, printed.count("a star"), "1 row set aside: boxes.csv:3: missing" in err) == (0, 1, True)


def test_statements_that_are_cut_are_warned_of(runs: dict[str, Path], capsys: Any) -> None:
    image, longer = str(runs["folder"] / "0.png"), "there is a red star and " * 30
    with pytest.warns(
        UserWarning, match=r"1 of 2 statements .* 'there is a red star .*\.\.\.': of its \d+ tokens the last"
    ):
        load(runs["entailment"]).entail(image, ["a star", longer])
    with pytest.warns(UserWarning, match="1 of 1 phrases are longer"):
        load(runs["tcl"]).ground(image, longer)
    code, printed, err = said(["compare", str(runs["nlvr"]), image, image, longer, "a star"], capsys)
    assert (code, len(printed.splitlines())) == (0, 2)
    assert err.startswith("warning: 1 of 2 statements are longer than this model reads, the first is 'there")
    assert len(err.splitlines()) == 1


def test_files_of_every_ending_in_any_case(runs: dict[str, Path], capsys: Any) -> None:
    folder = runs["folder"]
    out = folder / "verdicts.PARQUET"
    words = ["entail", str(runs["entailment"]), str(folder / "rows.csv"), "--out", str(out)]
    assert said(words, capsys)[0] == 0
    assert pq.read_table(out).column("statement").to_pylist() == ["there is a star", "two things"]


def test_images_without_boxes_among_others_have_an_empty_cell(runs: dict[str, Path], capsys: Any) -> None:
    folder = runs["folder"]
    table, out = folder / "some_boxes.csv", folder / "regions.csv"
    boxes = json.dumps([{"phrase": "a star", "box": [2, 2, 10, 10]}])
    with table.open("w", newline="") as file:
        rows = [["image", "text", "boxes"], ["0.png", "a circle", "[]"], ["1.png", "a star", boxes]]
        csv.writer(file).writerows(rows)
    code, _, err = said(["ground", str(runs["tcl"]), str(table), "--out", str(out)], capsys)
    assert (code, err) == (0, "note: 1 row without phrases of boxes: their texts are looked for.\n")
    with out.open(newline="") as file:
        found = {row["phrase"]: row["best_box"] for row in csv.DictReader(file)}
    assert found == {"a circle": "", "a star": "0"}
    assert said(["ground", str(runs["tcl"]), str(table)], capsys)[1].count("best box") == 1


def test_commands_refuse_what_cannot_work(runs: dict[str, Path], capsys: Any) -> None:
    folder = runs["folder"]
    image = str(folder / "0.png")
    entail, ground = ["entail", str(runs["entailment"])], ["ground", str(runs["tcl"])]
    table, copy = str(folder / "rows.csv"), folder / "copy.png"
    copy.write_bytes((folder / "0.png").read_bytes())
    drawing = str(folder / "drawing.png")
    for words, message in (
        (["compare", str(runs["nlvr"])], "nothing to compare: name two images and a statement"),
        (["compare", str(runs["nlvr"]), image, image], "two images without a statement"),
        (["compare", str(runs["nlvr"]), image], "is one image; name two images and a statement"),
        (["compare", str(runs["nlvr"]), image, image, "a", "--image-root", "x"], "--image-root: no effect"),
        (["compare", str(runs["nlvr"]), image, "no.png", "a"], "image_2: missing: there is no such file"),
        ([*entail, image], "no statement: give one on the command line"),
        ([*entail, str(folder / "no.png"), "a"], "there is no such file"),
        ([*entail, table, "--out", table], "is a file that is read here"),
        ([*entail, str(folder / "*.csv"), "--out", table], "is a file that is read here"),
        ([*entail, table, "--text-column", "nothing"], "no column 'nothing' (--text-column)"),
        ([*entail, image, "a", "--text-column", "text"], "leave the option out"),
        ([*entail, table, " "], "statement 0 is empty"),
        ([*ground, str(copy), "a", "--out", str(copy)], "is a file that is read here"),
        ([*ground, table, "a", "--out", drawing], "is for one image file, and"),
        ([*ground, table, "a", "--box", "1,1,9,9"], "--box is for one image file, and"),
        ([*ground, image, "a", "--layer", "-1"], "fusion layers, 0 to 1; got layer -1"),
        (["ground", str(runs["tcl"]), image, "a", "--box", "1,2,3"], "expected four numbers"),
        (["ground", str(runs["tcl"]), image, "a", "--out", "x.txt"], "expected a name that ends in .png"),
        (["ground", str(runs["nlvr"]), image, "a"], "cannot ground"),
        (["entail", str(runs["entailment"]), image, "a", "--batch-size", "0"], "--batch-size is 0"),
    ):
        code, _, err = said(words, capsys)
        assert code in (2, 3, 4)
        assert message in err
    assert copy.read_bytes() == (folder / "0.png").read_bytes()
    assert not Path(drawing).exists()


def rows_of(out: Path) -> list[dict[str, str]]:
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_keep_their_order_and_each_lost_one_is_named(runs: dict[str, Path], capsys: Any) -> None:
    folder = runs["folder"]
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:60])
    table, out = folder / "order.jsonl", folder / "order.csv"
    images = ["1.png", "cut.png", "0.png", "1.png", "cut.png", "0.png", "0.png"]
    rows = [{"image": name, "statement": f"text {n}"} for n, name in enumerate(images)]
    rows[5]["statement"] = None  # type: ignore[assignment]
    table.write_text("\n".join(map(json.dumps, rows)))
    words = ["entail", str(runs["entailment"]), str(table), "--out", str(out), "--batch-size", "3"]
    code, _, err = said(words, capsys)
    assert [row["statement"] for row in rows_of(out)] == ["text 0", "text 2", "text 3", "text 6"]
    assert [row["row"] for row in rows_of(out)] == [f"order.jsonl:{line}" for line in (1, 3, 4, 7)]
    assert (code, err.startswith("3 rows set aside: ")) == (0, True)
    for lost in ("order.jsonl:2: truncated", "order.jsonl:5: truncated", "order.jsonl:6: no statement"):
        assert lost in err
    judged = load(runs["entailment"]).entail([folder / "1.png", folder / "0.png"], ["text 0", "text 2"])
    for row, verdict in zip(rows_of(out), judged, strict=False):
        assert float(row["p(true)"]) == pytest.approx(verdict.probabilities["true"], abs=1e-5)


def test_where_no_image_is_found_the_reasons_are_told(runs: dict[str, Path], capsys: Any) -> None:
    folder = runs["folder"]
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere/x.png").write_bytes((folder / "0.png").read_bytes())
    table = folder / "lost.csv"
    table.write_text("image,image_2,statement\nx.png,x.png,there is a star\n")
    for command, run in (("entail", "entailment"), ("compare", "nlvr"), ("ground", "tcl")):
        words = [command, str(runs[run]), str(table), "--text-column", "statement"]
        code, _, err = said(words, capsys)
        assert (code, "1 row set aside: lost.csv:2: missing: there is no file" in err) == (3, True)
        assert "--image-root" in err
        assert "--data." not in err
        code, printed, err = said([*words, "--image-root", str(folder / "elsewhere")], capsys)
        assert (code, len(printed.splitlines()), err) == (0, 1, "")


def test_boxes_that_cannot_be_used_cost_their_row_alone(runs: dict[str, Path], capsys: Any) -> None:
    folder = runs["folder"]
    table, out = folder / "bad_boxes.jsonl", folder / "bad_boxes.csv"
    good, bad = [2, 2, 10, 10], [2, 2, -3, 10]
    rows = [
        {"image": "0.png", "boxes": [{"phrase": "a star", "box": good}]},
        {"image": "0.png", "boxes": [{"phrase": "a star", "box": bad}]},
        {"image": "0.png", "boxes": [{"phrase": "a star", "box": [1, 2]}]},
        {"image": "0.png", "boxes": [{"box": good}]},
        {"image": "0.png", "boxes": []},
        {"image": "1.png", "boxes": [{"phrase": "a circle", "box": good}, {"box": [20, 20, 5, 5]}]},
    ]
    table.write_text("\n".join(map(json.dumps, rows)))
    code, _, err = said(["ground", str(runs["tcl"]), str(table), "--out", str(out)], capsys)
    assert (code, [row["phrase"] for row in rows_of(out)]) == (0, ["a star", "a circle"])
    assert err.startswith("4 rows set aside: ")
    for reason in (
        "jsonl:2: boxes: width and height must be above 0, got 2, 2, -3, 10",
        "jsonl:3: boxes: a box has four numbers",
        "jsonl:4: no phrase",
        "jsonl:5: no phrase",
    ):
        assert reason in err


def test_words_are_for_every_image_of_any_source(runs: dict[str, Path], capsys: Any) -> None:
    folder = runs["folder"]
    for command, run in (("entail", "entailment"), ("ground", "tcl")):
        words = [command, str(runs[run]), str(folder / "rows.csv"), "a star", "a circle"]
        code, printed, _ = said(words, capsys)
        assert (code, len(printed.splitlines())) == (0, 4)
        assert printed.startswith(f"{folder / '0.png'}\ta star\t")
        _, _, err = said([*words, "--text-column", "text"], capsys)
        assert err.startswith("note: --text-column has no effect")
    bare = folder / "without_ending"
    bare.write_bytes((folder / "0.png").read_bytes())
    code, printed, _ = said(["entail", str(runs["entailment"]), str(bare), "a star"], capsys)
    assert (code, printed.startswith(f"{bare}\ta star\t")) == (0, True)


def test_generated_scenes_are_judged_too(runs: dict[str, Path], capsys: Any) -> None:
    scenes = "scenes:train=2,validation=0,seed=1,size=32,task="
    for command, run, task in (
        ("entail", "entailment", "statements"),
        ("compare", "nlvr", "pairs"),
        ("ground", "tcl", "grounding"),
    ):
        code, printed, err = said([command, str(runs[run]), scenes + task], capsys)
        assert (code, err) == (0, "")
        assert printed.startswith("train scene 0\t")
