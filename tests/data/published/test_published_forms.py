"""Data sets in the form in which they are published, each as a small made-up sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from likewise.data import DataConfig, prepare
from likewise.data.annotation_kinds import Box
from likewise.data.columns import Needs
from likewise.data.record import Source
from likewise.data.sources.open import open_source
from likewise.errors import SourceError


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((16, 24, 3), 99, np.uint8)).save(path, path.suffix[1:].replace("jpg", "JPEG"))


def opened(source: Path, *needs: str, **options: Any) -> Source:
    return open_source(DataConfig(source=str(source), **options), Needs(*needs))


def test_coco_captions(tmp_path: Path) -> None:
    for number in (9, 25):
        photo(tmp_path / f"val2014/COCO_val2014_{number:012d}.jpg")
    content = {
        "info": {"year": 2014},
        "licenses": [{"id": 1, "url": "", "name": ""}],
        "images": [{"id": n, "file_name": f"COCO_val2014_{n:012d}.jpg", "height": 16} for n in (9, 25)],
        "annotations": [
            {"image_id": 25, "id": 1, "caption": "A giraffe eats ."},
            {"image_id": 9, "id": 2, "caption": "A box of food ."},
            {"image_id": 25, "id": 3, "caption": "Two giraffes ."},
            {"image_id": 77, "id": 4, "caption": "A photo that is not listed ."},
            {"image_id": 9, "id": 5},
        ],
    }
    path = tmp_path / "captions_val2014.json"
    path.write_text(json.dumps(content))
    source = opened(path, "image", "text", image_root=str(tmp_path / "val2014"))
    assert source.kind == "table (COCO captions)"
    assert [record.texts for record in source.records] == [
        ("A giraffe eats .", "Two giraffes ."),
        ("A box of food .",),
    ]
    assert [(one.bad.place, one.bad.reason) for one in source.problems] == [
        ("captions_val2014.json:4", "not as COCO captions has it: its image 77 is not among the images"),
        ("captions_val2014.json:5", "not as COCO captions has it: 'caption' is missing"),
    ]


def vqa_files(folder: Path) -> tuple[Path, Path]:
    questions = {
        "info": {"version": "2.0"},
        "task_type": "Open-Ended",
        "data_type": "mscoco",
        "data_subtype": "train2014",
        "license": {},
        "questions": [
            {
                "image_id": 458752,
                "question": "What is this photo taken through?",
                "question_id": 458752000,
            },
            {"image_id": 458752, "question": "What color is the shirt?", "question_id": 458752002},
            {"image_id": 262146, "question": "Is this man a skier?", "question_id": 262146000},
        ],
    }
    annotations = {
        "data_type": "mscoco",
        "data_subtype": "train2014",
        "annotations": [
            {
                "question_type": "what color is the",
                "multiple_choice_answer": "orange",
                "answers": [
                    {"answer": answer, "answer_confidence": "yes", "answer_id": number}
                    for number, answer in enumerate(["orange"] * 8 + ["red", "red"], start=1)
                ],
                "image_id": 458752,
                "answer_type": "other",
                "question_id": 458752002,
            },
            {
                "question_type": "what",
                "multiple_choice_answer": "net",
                "answers": [{"answer": "net", "answer_confidence": "maybe", "answer_id": 1}],
                "image_id": 458752,
                "answer_type": "other",
                "question_id": 458752000,
            },
        ],
    }
    first = folder / "v2_OpenEnded_mscoco_train2014_questions.json"
    second = folder / "v2_mscoco_train2014_annotations.json"
    first.write_text(json.dumps(questions))
    second.write_text(json.dumps(annotations, indent=1))
    return first, second


def test_vqa_questions_and_annotations_are_joined(tmp_path: Path) -> None:
    questions, annotations = vqa_files(tmp_path)
    for number in (458752, 262146):
        photo(tmp_path / f"train2014/COCO_train2014_{number:012d}.jpg")
    given: dict[str, Any] = {"annotations": str(annotations), "image_root": str(tmp_path / "train2014")}
    source = opened(questions, "image", "text", "answer", **given)
    assert [record.values["answer"] for record in source.records] == [
        (("net", 1.0),),
        (("orange", 0.8), ("red", 0.2)),
    ]
    assert source.records[1].texts == ("What color is the shirt?",)
    assert source.records[0].image.address.endswith("/COCO_train2014_000000458752.jpg")  # type: ignore[union-attr]
    assert [one.bad.reason for one in source.problems] == [
        "no row of --data.annotations has its question_id: 262146000"
    ]
    given |= {"cache_dir": str(tmp_path)}
    config = DataConfig(source=str(questions), max_bad_share=0.5, validation_share=0.0, **given)
    data = prepare(config, image_size=16, needs=Needs("image", "text", "answer")).train
    assert len(data) == 2
    assert len(set(data.groups.tolist())) == 1


def test_photos_of_vqas_test_dev_part_are_those_of_the_test_part(tmp_path: Path) -> None:
    questions, _ = vqa_files(tmp_path)
    content = json.loads(questions.read_text()) | {"data_subtype": "test-dev2015"}
    questions.write_text(json.dumps(content))
    photo(tmp_path / "COCO_test2015_000000458752.jpg")
    source = opened(questions, "image", "text", image_root=str(tmp_path))
    assert [len(record.texts) for record in source.records] == [2]


def test_vqa_questions_of_other_images_need_a_table_of_them(tmp_path: Path) -> None:
    questions, annotations = vqa_files(tmp_path)
    content = json.loads(questions.read_text())
    content["data_type"] = "abstract_v002"
    questions.write_text(json.dumps(content))
    photo(tmp_path / "a.png")
    (tmp_path / "images.csv").write_text("image_id,file_name\n458752,a.png\n262146,a.png\n")
    given = {"annotations": str(annotations), "images": str(tmp_path / "images.csv")}
    source = opened(questions, "image", "text", "answer", **given)
    assert [record.values["answer"][0][0] for record in source.records] == ["net", "orange"]


def test_nlvr2(tmp_path: Path) -> None:
    rows = [
        {
            "validation": {"1": "True"},
            "sentence": "An image shows one leather case.",
            "left_url": "https://example.org/1.jpg",
            "writer": 30,
            "label": label,
            "synset": "pencil_case",
            "right_url": "https://example.org/2.jpg",
            "identifier": f"train-10171-{pair}-0",
            "directory": 34,
        }
        for pair, label in ((0, "True"), (1, "False"))
    ]
    development = {name: value for name, value in rows[0].items() if name != "directory"}
    development["identifier"] = "dev-850-0-2"
    for stem in ("34/train-10171-0", "34/train-10171-1", "dev-850-0"):
        for number in (0, 1):
            photo(tmp_path / f"images/{stem}-img{number}.png")
    path = tmp_path / "train.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, development, {"identifier": "x"}]))
    source = opened(path, "image", "image_2", "text", "label", image_root=str(tmp_path / "images"))
    assert source.kind == "table (NLVR2)"
    assert [(record.id, record.label, record.group) for record in source.records] == [
        ("train-10171-0-0", "true", "train-10171"),
        ("train-10171-1-0", "false", "train-10171"),
        ("dev-850-0-2", "true", "dev-850"),
    ]
    for number, name in enumerate(("image", "image_2")):
        image = source.records[1].values[name]
        assert image.address == str(tmp_path / f"images/34/train-10171-1-img{number}.png")
    assert [one.bad.reason for one in source.problems] == ["not as NLVR2 has it: 'sentence' is missing"]


def test_snli_ve(tmp_path: Path) -> None:
    photo(tmp_path / "flickr30k_images/4705552913.jpg")
    rows = [
        {
            "annotator_labels": ["neutral"],
            "captionID": "4705552913.jpg#2",
            "gold_label": label,
            "pairID": f"4705552913.jpg#2r{number}n",
            "sentence1": "Two women are embracing while holding to go packages.",
            "sentence1_binary_parse": "( ( Two women ) )",
            "sentence2": f"The sisters are hugging goodbye {number}.",
            "Flickr30K_ID": "4705552913",
        }
        for number, label in enumerate(["neutral", "entailment", "contradiction", "-"])
    ]
    path = tmp_path / "snli_ve_train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given: dict[str, Any] = {"image_root": str(tmp_path / "flickr30k_images")}
    source = opened(path, "image", "text", "label", **given)
    assert source.kind == "table (SNLI-VE)"
    assert [record.label for record in source.records] == ["neutral", "entailment", "contradiction", None]
    assert source.records[1].texts == ("The sisters are hugging goodbye 1.",)
    given |= {"cache_dir": str(tmp_path)}
    config = DataConfig(source=str(path), max_bad_share=0.3, validation_share=0.0, **given)
    splits = prepare(config, image_size=16, needs=Needs("image", "text", "label"))
    assert splits.train.label_names == ["contradiction", "entailment", "neutral"]
    assert [bad.reason for bad in splits.bad_records] == ["no label"]


SENTENCES = """\
[/EN#1/people Two young guys] with [/EN#2/bodyparts shaggy hair] look at [/EN#3/bodyparts their hands] .
[/EN#1/people Two men] stand [/EN#0/notvisual outside] in [/EN#4/scene the yard] .
"""
BOXES = """\
<annotation>
  <filename>1000092795.jpg</filename>
  <size><width>24</width><height>16</height><depth>3</depth></size>
  <object><name>1</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>11</xmax><ymax>14</ymax></bndbox></object>
  <object><name>1</name><name>2</name>
    <bndbox><xmin>12</xmin><ymin>3</ymin><xmax>20</xmax><ymax>9</ymax></bndbox></object>
  <object><name>3</name><nobndbox>1</nobndbox></object>
  <object><name>4</name><scene>1</scene></object>
</annotation>
"""


def write_entities(folder: Path) -> None:
    photo(folder / "flickr30k-images/1000092795.jpg")
    photo(folder / "flickr30k-images/36979.jpg")
    for kind, ending, content in (("Sentences", "txt", SENTENCES), ("Annotations", "xml", BOXES)):
        (folder / kind).mkdir()
        for name in ("1000092795", "36979"):
            (folder / kind / f"{name}.{ending}").write_text(content)
    for part, name in (("train", "1000092795"), ("val", "36979"), ("test", "")):
        (folder / f"{part}.txt").write_text(f"{name}\n")
    (folder / "README.txt").write_text("Flickr30K Entities\n")


def test_flickr30k_entities(tmp_path: Path) -> None:
    write_entities(tmp_path)
    source = opened(tmp_path, "image", "text", "boxes")
    assert source.kind == "table (Flickr30K Entities)"
    assert [(record.id, record.split) for record in source.records] == [
        ("1000092795.jpg", "train"),
        ("36979.jpg", "val"),
    ]
    assert source.records[0].texts == (
        "Two young guys with shaggy hair look at their hands .",
        "Two men stand outside in the yard .",
    )
    assert source.records[0].values["boxes"] == (
        Box("Two young guys", (1.0, 2.0, 10.0, 12.0), relative=False),
        Box("Two young guys", (12.0, 3.0, 8.0, 6.0), relative=False),
        Box("shaggy hair", (12.0, 3.0, 8.0, 6.0), relative=False),
        Box("Two men", (1.0, 2.0, 10.0, 12.0), relative=False),
        Box("Two men", (12.0, 3.0, 8.0, 6.0), relative=False),
    )
    config = DataConfig(source=str(tmp_path), cache_dir=str(tmp_path / "cache"))
    splits = prepare(config, image_size=16, needs=Needs("image", "text", "boxes"))
    assert splits.validation is not None
    assert (len(splits.train), len(splits.validation)) == (1, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<annotation>", "no valid XML"),
        ('<!DOCTYPE a [<!ENTITY b "b">]><annotation>&b;</annotation>', "it declares entities"),
        ("<annotation><object><name>1</name><bndbox/></object></annotation>", "could not convert"),
    ],
)
def test_boxes_that_cannot_be_read_are_a_bad_photo(tmp_path: Path, content: str, reason: str) -> None:
    write_entities(tmp_path)
    (tmp_path / "Annotations/36979.xml").write_text(content)
    source = opened(tmp_path, "image", "text", "boxes")
    assert [record.id for record in source.records] == ["1000092795.jpg"]
    assert reason in source.problems[0].bad.reason
    (tmp_path / "Annotations/1000092795.xml").write_text(content)
    with pytest.raises(SourceError, match="no file of its Sentences can be used"):
        opened(tmp_path, "image", "text", "boxes")
