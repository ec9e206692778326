"""`likewise answer`: one question, a table of questions, a list of answers."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from PIL import Image
from small_runs import small_settings

from likewise.cli.main import main
from likewise.data.scenes.generate import draw_scenes
from likewise.training.engine import train


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small_settings("vqa", steps=2), tmp_path_factory.mktemp("vqa") / "run", show=False).path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    for number, pixels in enumerate(draw_scenes(2, seed=5, size=40).images):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / f"{number}.png")
    return tmp_path / "0.png"


def test_the_command_answers_one_question_and_a_table(
    run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, table = str(photo), tmp_path / "t.csv"
    table.write_text(
        "image,question\n0.png,is it red?\n0.png,is it blue?\n1.png,how many things are there?\n"
    )
    main(["answer", str(run), image, "is it red?", "is it blue?", "--num-answers", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("\t")[:2] for line in lines] == [[image, "is it red?"], [image, "is it blue?"]]
    assert all(line.count(" %)") == 2 for line in lines)
    for ending in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"answers.{ending}"
        main(["answer", str(run), str(table), "--answers", "yes", "no", "--out", str(out), "--quiet"])
        assert "3 questions" in capsys.readouterr().out
        assert out.stat().st_size > 0
    rows = (tmp_path / "answers.csv").read_text().splitlines()
    assert rows[0] == "row,image,question,answer,rank,probability,log_prob"
    assert len(rows) == 1 + 3 * 2
    for words, code, said in (
        ([image], 2, "no question: give one on the command line"),
        (
            [image, "is it red?", "--answers", "yes,no"],
            2,
            "yes,no: 1 answer to choose from; expected two or more, with spaces",
        ),
        ([image, "is it red?", "--answers", "@no.txt"], 2, "--answers @no.txt cannot be read"),
        (["--answers", "yes", "no", image, "is it?"], 3, "put it after the image and the questions"),
        ([str(table), "--out", str(table)], 2, "is a file that is read here"),
        ([image, ""], 2, "question 0 is empty"),
        ([image, "what?", "--batch-size", "0"], 2, "--batch-size is 0; expected at least 1"),
        ([image, "what?", "--num-answers", "0", "--free"], 2, "--num-answers is 0; expected at least 1"),
        ([image, "what?", "--out", "answers.txt"], 2, "expected a name that ends in"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["answer", str(run), *words])
        assert stopped.value.code == code
        assert said in capsys.readouterr().err


def test_the_questions_come_before_the_captions(
    run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "both.csv"
    table.write_text("image,caption,question\n0.png,a red square,is it red?\n")
    main(["answer", str(run), str(table)])
    found = capsys.readouterr()
    assert found.out.startswith("0.png\tis it red?\t")
    assert "column question, not of caption; --text-column names another" in found.err
    main(["answer", str(run), str(table), "--text-column", "caption"])
    assert capsys.readouterr().out.startswith("0.png\ta red square\t")


def test_answers_to_choose_from_come_from_a_file_or_from_several_flags(
    run: Path, photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tmp_path / "answers.txt"
    listed.write_text("yes\n\nno\nmaybe so\nno\n")
    ask = ["answer", str(run), str(photo), "is it red?", "--num-answers", "9", "--answers"]
    for given in ([f"@{listed}"], [str(listed)], ["yes", "no", "--answers", "maybe so"]):
        main([*ask, *given])
        cell = capsys.readouterr().out.strip().split("\t")[2]
        assert {answer.rpartition(" (")[0] for answer in cell.split(", ")} == {"yes", "no", "maybe so"}


def test_questions_on_images_of_another_table_keep_their_order(
    run: Path, photo: Path, tmp_path: Path
) -> None:
    (tmp_path / "images.csv").write_text("image_id,image\n7,0.png\n8,1.png\n")
    questions, out = tmp_path / "questions.csv", tmp_path / "found.csv"
    questions.write_text("image_id,question\n8,what is it?\n7,is it red?\n8,is it blue?\n")
    words = ["--images", str(tmp_path / "images.csv"), "--num-answers", "1", "--out", str(out)]
    main(["answer", str(run), str(questions), *words])
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["question"] for row in rows] == ["what is it?", "is it red?", "is it blue?"]
    assert [row["image"] for row in rows] == ["1.png", "0.png", "1.png"]
