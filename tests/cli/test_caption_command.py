"""`likewise caption`: printed, in files of every form, beside images, and what is set aside."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_runs import small_settings

from likewise import load, train
from likewise.cli.main import main
from likewise.messages import printed_line

NAMES = ("one.png", "three.png", "two.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("captioner") / "run"
    return train(small_settings("captioning", steps=3, save_every=0), folder, show=False).path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three images, and a file that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.new("RGB", (40, 30), (80 * number, 30, 30)).save(folder / name)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


def test_every_form_of_file_has_the_captions(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = load(run).caption([photos / name for name in NAMES], num_beams=2)
    words = ["caption", str(run), str(photos), "--num-beams", "2", "--num-captions", "2", "--device", "cpu"]
    rows = {}
    for suffix in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"captions.{suffix}"
        main([*words, "--out", str(out)])
        said = capsys.readouterr()
        assert "captions of 3 images" in said.out
        assert "1 image set aside" in said.err
        assert "broken.png" in said.err
        if suffix == "csv":
            with open(out, encoding="utf-8", newline="") as stream:
                rows[suffix] = [
                    row | {"rank": int(row["rank"]), "log_prob": float(row["log_prob"])}
                    for row in csv.DictReader(stream)
                ]
        elif suffix == "jsonl":
            rows[suffix] = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        else:
            rows[suffix] = pq.read_table(out).to_pylist()
    assert rows["csv"] == rows["jsonl"] == rows["parquet"]
    assert [row["image"] for row in rows["csv"]] == [name for name in NAMES for _ in range(2)]
    assert [row["caption"] for row in rows["csv"] if row["rank"] == 1] == expected
    main(["caption", str(run), str(photos / "one.png"), "--num-beams", "2", "--device", "cpu"])
    assert capsys.readouterr().out == f"one.png\t{printed_line(expected[0])}\n"


def test_text_files_beside_the_images(run: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["caption", str(run), str(photos), "--out", "txt", "--device", "cpu"]
    main(words)
    expected = load(run).caption([photos / name for name in NAMES])
    made = [(photos / name).with_suffix(".txt") for name in NAMES]
    assert [path.read_text(encoding="utf-8") for path in made] == [f"{caption}\n" for caption in expected]
    made[0].write_text("by hand")
    with pytest.raises(SystemExit):
        main(words)
    assert "3 text files are there already; add --overwrite" in capsys.readouterr().err
    assert made[0].read_text() == "by hand"
    main([*words, "--overwrite"])
    assert made[0].read_text(encoding="utf-8") == f"{expected[0]}\n"
    Image.new("RGB", (40, 30)).save(photos / "one.jpg")
    with pytest.raises(SystemExit):
        main([*words, "--overwrite"])
    assert "would share one text file" in capsys.readouterr().err


def test_few_different_captions_are_warned_of(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(21):
        Image.new("RGB", (32, 32), (200, 30, 30)).save(tmp_path / f"{number}.png")
    main(["caption", str(run), str(tmp_path), "--device", "cpu"])
    assert "21 images have the same caption" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["broken.png"], "no image could be read"),
        (["nowhere.png"], "nowhere.png"),
        (["one.png", "--out", "captions.doc"], "--out"),
        (["one.png", "--num-captions", "3"], "--num-captions 3 needs --num-beams 3"),
        (["one.png", "--sample", "--num-beams", "2"], "give one of the two"),
    ],
)
def test_what_cannot_be_captioned_is_one_line(
    words: list[str], message: str, run: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["caption", str(run), str(photos / words[0]), *words[1:], "--device", "cpu"])
    assert stopped.value.code not in (0, None)
    assert message in capsys.readouterr().err


def test_images_elsewhere_and_generated_ones_are_read(
    run: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "away" / "table.csv"
    table.parent.mkdir()
    table.write_text(f"image,label\n{NAMES[0]},x\n")
    words = ["caption", str(run), str(table), "--num-beams", "1", "--device", "cpu"]
    with pytest.raises(SystemExit):
        main(words)
    assert f"try: {NAMES[0]} lies in {photos}: --image-root {photos}." in capsys.readouterr().err
    main([*words, "--image-root", str(photos)])
    assert capsys.readouterr().out.startswith(NAMES[0])
    main(["caption", str(run), "scenes:train=2,validation=0,size=32", "--num-beams", "1", "--device", "cpu"])
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(SystemExit):
        main([*words, "--out", str(table)])
    assert "is a file that is read here" in capsys.readouterr().err
    assert table.read_text().startswith("image,label")
