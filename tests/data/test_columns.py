"""Columns: from a table or from scenes to a batch; nothing is dropped silently; two sources at once."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from likewise.batches.loader import Loader
from likewise.batches.samplers import ShuffledOrder, make_order
from likewise.batches.tokenized_texts import tokenize, tokenize_answers, training_texts
from likewise.cli.files.source_tables import print_report
from likewise.data import DataConfig, Dataset, Splits, open_source, prepare
from likewise.data import columns as columns_module
from likewise.data.annotation_kinds import Box, Boxes, WeightedTexts
from likewise.data.column_kinds import Numbers, Parsing
from likewise.data.columns import COLUMNS, OPTIONAL, REQUIRED, Column, Needs, column_names, required_of
from likewise.data.scenes import draw_scenes
from likewise.data.source_report import inspect_source
from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import ConfigError, DataError, RecordError, SourceError, TooManyBadRecords

ROWS = 12
BOXES = [{"phrase": "a dog", "box": [1, 2, 3, 4]}, {"phrase": "the sky", "bbox": [0, 0, 10, 2.5]}]


def write_images(folder: Path) -> None:
    """Twelve images whose bytes are the same whatever wrote them."""
    folder.mkdir(exist_ok=True)
    for number in range(ROWS):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 10, 3), dtype=np.uint8)
        (folder / f"{number}.ppm").write_bytes(b"P6 10 9 255\n" + pixels.tobytes())


def full_row(number: int) -> dict[str, Any]:
    return {
        "image1": f"{number}.ppm",
        "image2": f"{(number + 1) % ROWS}.ppm",
        "premise": f"premise {number}",
        "hypothesis": f"hypothesis {number}",
        "negative": f"negative {number}",
        "answers": ["yes", "yes", "no", f"answer {number}"],
        "similarity_score": number / 4,
        "objects": BOXES,
        "label": "ab"[number % 2],
        "style": "flat",
    }


def write_table(folder: Path, name: str, rows: list[dict[str, Any]]) -> Path:
    """CSV cells hold lists as JSON."""
    write_images(folder)
    path = folder / name
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        lines = [list(rows[0])] + [
            [v if isinstance(v, str) else json.dumps(v) for v in row.values()] for row in rows
        ]
        quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in line) for line in lines]
        path.write_text("\n".join(quoted) + "\n", encoding="utf-8")
    return path


def opened(source: Path | str, needs: Needs, folder: Path, **options: Any) -> Splits:
    config = DataConfig(source=str(source), cache_dir=str(folder / "cache"), **options)
    return prepare(config, image_size=8, needs=needs)


def loader_of(data: Dataset, needs: Needs, batch_size: int = 4, **options: Any) -> Loader:
    tokenizer = train_tokenizer(training_texts(data, needs), vocabulary_size=300, max_tokens=32)
    tokens = tokenize(data, tokenizer, needs)
    order = options.pop("order", None) or ShuffledOrder(len(data), batch_size=batch_size, seed=0)
    answers = tokenize_answers(data, tokenizer, needs)
    return Loader(data, tokens, order, seed=0, needs=needs, answers=answers, **options)


EVERYTHING = Needs(
    "image", "image_2", "text", "text_2", "text_3", "answer", "score", "boxes", "label", domain=OPTIONAL
)


@pytest.mark.parametrize("name", ["all.csv", "all.jsonl", "all.parquet"])
def test_every_column_reaches_a_batch(name: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", name, [full_row(number) for number in range(ROWS)])
    splits = opened(path, EVERYTHING, tmp_path)
    assert splits.summary["columns"] == {
        "image": "image1",
        "image_2": "image2",
        "text_2": "hypothesis",
        "text_3": "negative",
        "text": "premise",
        "answer": "answers",
        "score": "similarity_score",
        "boxes": "objects",
        "label": "label",
        "domain": "style",
    }
    assert splits.summary["columns_unread"] == []
    data = splits.train
    row = data.ids.index("5.ppm") if "5.ppm" in data.ids else 0
    number = int(data.ids[row].split(".")[0])
    batch = loader_of(data, EVERYTHING).batch(0)
    assert {*batch.columns} == {*EVERYTHING} | {"group"}
    assert batch.image.shape == batch.image_2.shape == (4, 3, 9, 9)
    place = int(batch.index[0])
    assert torch.equal(batch.image_2[0], data.images([place], "image_2")[0])
    assert not torch.equal(batch.image[0], batch.image_2[0])
    assert data.column("text").values[row] == (f"premise {number}",)
    assert data.column("text_2").values[row] == (f"hypothesis {number}",)
    assert data.column("answer").values[row] == (("yes", 0.5), ("no", 0.25), (f"answer {number}", 0.25))
    assert data.column("boxes").values[row][1] == Box("the sky", (0.0, 0.0, 10.0, 2.5), relative=False)
    assert data.column("image").sizes[row].tolist() == [10, 9]
    assert batch.score.dtype == torch.float32
    assert float(batch.score[0]) == int(data.ids[place].split(".")[0]) / 4
    assert batch.text_2.tokens.shape[0] == batch.text_3.mask.shape[0] == 4
    assert batch.answer.weights.tolist() == [[0.5, 0.25, 0.25]] * 4
    assert batch.answer.tokens.shape[:2] == batch.answer.mask.shape[:2] == (4, 3)
    assert torch.equal(batch.rows(1, 3).answer.tokens, batch.answer.tokens[1:3])
    assert torch.equal(batch.rows(1, 3).text.tokens, batch.text.tokens[1:3])
    assert torch.equal(batch.to("cpu").score, batch.score)
    assert "boxes" not in loader_of(data, Needs("image")).batch(0)


def test_a_batch_says_which_column_it_lacks(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", "t.jsonl", [{"image": f"{n}.ppm"} for n in range(ROWS)])
    needs = Needs("image")
    batch = loader_of(opened(path, needs, tmp_path).train, needs).batch(0)
    with pytest.raises(DataError, match=r"no column score \(columns: image, group\)"):
        _ = batch.score
    with pytest.raises(SourceError, match="prepared without the column score"):
        opened(path, needs, tmp_path).train.column("score")


def questions(count: int = ROWS) -> list[dict[str, Any]]:
    return [
        {"image": f"{n % ROWS}.ppm", "question": f"what is {n}?", "answer": f"it is {n}", "lat": n}
        for n in range(count)
    ]


def test_questions_and_answers(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", "vqa.csv", questions(2 * ROWS))
    splits = opened(path, Needs("image", "text", "answer"), tmp_path)
    data = splits.train
    assert sum(splits.summary["counts"].values()) == 2 * ROWS  # two questions of an image are two rows
    assert all(len(texts) == 1 for texts in data.texts or [])
    assert {len(answer) for answer in data.column("answer").values} == {1}
    assert splits.validation is not None
    assert not set(data.groups) & set(splits.validation.groups)  # of one image, so in one part


def test_nothing_is_dropped_silently(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", "vqa.csv", questions())
    splits = opened(path, Needs("image", "text"), tmp_path)
    assert splits.summary["columns_unread"] == ["answer", "lat"]
    (note,) = [note for note in splits.summary["notes"] if "columns not read" in note]
    assert note.startswith("columns not read: answer, lat; options such as --data.text-column")
    report = inspect_source(DataConfig(source=str(path), cache_dir=str(tmp_path / "cache")))
    assert report.columns == {"image": "image", "text": "question", "answer": "answer"}
    assert report.columns_unread == ["lat"]
    stream = io.StringIO()
    print_report(report, Console(file=stream, width=120))
    assert "columns not read  lat" in stream.getvalue()
    named = opened(path, Needs("score"), tmp_path, score_column="lat").train
    assert sorted(named.column("score").values.tolist())[0] >= 0


def test_sentence_pairs_are_pairs_for_those_who_need_them(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    lines = [f"left {n}\tright {n}\t{n / 4 if n else ''}" for n in range(ROWS)]
    path.write_text("\n".join(["sentence1\tsentence2\tscore", *lines]))
    pairs = Needs(text=REQUIRED, text_2=REQUIRED, score=OPTIONAL)
    splits = opened(path, pairs, tmp_path)
    assert sum(splits.summary["counts"].values()) == ROWS
    assert splits.summary["columns"] == {"text_2": "sentence2", "text": "sentence1", "score": "score"}
    everyone = [*splits.train.ids, *(splits.validation.ids if splits.validation is not None else [])]
    assert len(everyone) == ROWS
    scores = np.concatenate(
        [part.column("score").values for part in (splits.train, splits.validation) if part]
    )
    assert np.isnan(scores).sum() == 1
    alone = opened(path, Needs("text"), tmp_path)
    assert sum(alone.summary["counts"].values()) == 2 * ROWS
    assert alone.summary["columns_unread"] == ["score"]
    with pytest.raises(TooManyBadRecords, match="no score"):
        opened(path, Needs("text", "text_2", "score"), tmp_path)


@pytest.mark.parametrize(
    ("headers", "columns"),
    [
        (
            ("图片", "问题", "答案", "分数"),
            {"image": "图片", "text": "问题", "answer": "答案", "score": "分数"},
        ),
        (("句子1", "句子2", "相似度"), {"text": "句子1", "text_2": "句子2", "score": "相似度"}),
        (("premise", "hypothesis", "label"), {"text": "premise", "text_2": "hypothesis", "label": "label"}),
        (
            ("anchor", "positive", "negative"),
            {"text": "anchor", "text_2": "positive", "text_3": "negative"},
        ),
        (
            ("left_image", "right_image", "statement", "label"),
            {"image": "left_image", "image_2": "right_image", "text": "statement", "label": "label"},
        ),
        (("图片1", "图片2", "领域"), {"image": "图片1", "image_2": "图片2", "domain": "领域"}),
    ],
)
def test_usual_headers_are_recognized(
    headers: tuple[str, ...], columns: dict[str, str], tmp_path: Path
) -> None:
    roles = {header: role for role, header in columns.items()}
    cells = {"image": "{}.ppm", "image_2": "{}.ppm", "score": "{}", "label": "a", "domain": "b"}
    rows = [
        {header: cells.get(roles[header], "a text of row {}").format(n) for header in headers}
        for n in range(3)
    ]
    path = write_table(tmp_path / "d", "t.csv", rows)
    assert open_source(DataConfig(source=str(path)), Needs(*columns)).columns == columns


def parsed(kind: Any, cell: Any, **options: Any) -> Any:
    config = DataConfig(source="x", **options)
    return kind.parse([cell], Parsing(config=config, resolve=pytest.fail, drop=pytest.fail))


def test_answers_come_in_many_forms() -> None:
    assert parsed(WeightedTexts, " yes ") == (("yes", 1.0),)
    assert parsed(WeightedTexts, 3.0) == (("3", 1.0),)
    assert parsed(WeightedTexts, "a|b|a", text_separator="|") == (("a", 2 / 3), ("b", 1 / 3))
    assert parsed(WeightedTexts, '["a", "b"]') == (("a", 0.5), ("b", 0.5))
    assert parsed(WeightedTexts, {"a": 0.3, "b": 1}) == (("a", 0.3), ("b", 1.0))
    vqa = [{"answer": "no", "answer_confidence": "maybe", "answer_id": 1}, {"answer": "no", "answer_id": 2}]
    assert parsed(WeightedTexts, vqa) == (("no", 1.0),)
    assert parsed(WeightedTexts, [{"text": "a", "weight": 0.4}]) == (("a", 0.4),)
    assert parsed(WeightedTexts, {"text": ["in 1815"], "answer_start": [3]}) == (("in 1815", 1.0),)
    assert parsed(WeightedTexts, [["a", 0.4], ["b", 0.6]]) == (("a", 0.4), ("b", 0.6))
    assert parsed(WeightedTexts, ["yes", "no"]) == (("yes", 0.5), ("no", 0.5))
    for blank in (None, "", math.nan, [], ["", None]):
        assert parsed(WeightedTexts, blank) is None
    with pytest.raises(RecordError, match="a number was expected, got 'much'"):
        parsed(WeightedTexts, {"a": "much"})


def test_boxes_come_in_many_forms() -> None:
    dog = (Box("a dog", (0.1, 0.2, 0.3, 1.0), relative=True),)
    assert parsed(Boxes, [{"phrase": "a dog", "box": [0.1, 0.2, 0.3, 1]}]) == dog
    assert parsed(Boxes, '[{"label": "a dog", "bbox": [0.1, 0.2, 0.3, 1]}]') == dog
    assert parsed(Boxes, {"bbox": [[0.1, 0.2, 0.3, 1]], "category": ["a dog"]}) == dog
    assert parsed(Boxes, [{"box": [1, 2, 3, 4]}]) == (Box("", (1.0, 2.0, 3.0, 4.0), relative=False),)
    assert parsed(Boxes, None) is None
    for wrong in ("a dog", [[1, 2, 3, 4]], [{"box": [1, 2, 3]}], [{"box": [1, 2, 3, "x"]}], {"bbox": [3]}):
        with pytest.raises(RecordError):
            parsed(Boxes, wrong)


def test_bad_cells_of_needed_columns_are_bad_records(tmp_path: Path) -> None:
    rows = questions()
    rows[3]["score"] = "high"
    for number, row in enumerate(rows):
        row.setdefault("score", number)
    path = write_table(tmp_path / "d", "t.jsonl", rows)
    splits = opened(path, Needs("image", "text", "score"), tmp_path, max_bad_share=0.1)
    (bad,) = splits.bad_records
    assert (bad.place, bad.reason) == ("t.jsonl:4", "score: a number was expected, got 'high'")
    assert splits.summary["bad_records"] == 1
    assert opened(path, Needs("image", "text"), tmp_path).bad_records == []
    with pytest.raises(SourceError, match=r"text_2 is needed.*Give --data\.text-2-column"):
        opened(path, Needs("image", "text", "text_2"), tmp_path)


def test_a_new_column_is_one_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    depth = Column("depth", Numbers, headers="depth_in_metres", help="how deep")
    monkeypatch.setattr(columns_module, "COLUMNS", (*COLUMNS, depth))
    rows = [{"image": f"{n}.ppm", "Depth in metres": n / 2} for n in range(ROWS)]
    path = write_table(tmp_path / "d", "t.csv", rows)
    needs = Needs("image", "depth")
    splits = opened(path, needs, tmp_path, validation_share=0.3)
    assert splits.validation is not None
    assert splits.validation.has("depth")
    batch = loader_of(splits.train, needs).batch(0)
    named = dict(zip(splits.train.ids, splits.train.column("depth").values, strict=True))
    assert [named[splits.train.ids[i]] for i in batch.index] == batch["depth"].tolist()
    report = inspect_source(DataConfig(source=str(path), cache_dir=str(tmp_path / "cache")))
    assert report.columns["depth"] == "Depth in metres"
    assert report.lacking["depth"] == 0


def test_an_option_names_each_column() -> None:
    fields = DataConfig.__dataclass_fields__
    assert [name for name in column_names() if f"{name}_column" not in fields] == []


# Fingerprints of runs begun before columns were typed: such a run must be able to go on.
FROZEN = {
    ("all.csv", ("image", "text")): ("6371c9778ebe345e", "6d1aa7af7ceeeb87"),
    ("all.csv", ("image", "label")): ("6371c9778ebe345e", "6d1aa7af7ceeeb87"),
    ("all.csv", ("text",)): ("0ca82505b6368fbc", "0795285896f4260e"),
    ("plain.csv", ("image",)): ("5e54619c62a22e74", "f5323fcbbe55c23b"),
    ("plain.csv", ("image", "text")): ("5e54619c62a22e74", "f5323fcbbe55c23b"),
    ("pairs.tsv", ("text",)): ("5f64f1433684f8ad", "afd26b76c4ed5faa"),
    ("text.txt", ("text",)): ("948e92aaf608f045", "ccbac185f093a61a"),
    ("vqa.jsonl", ("image", "text")): ("80dacc106b96e28c", "0ec6f672a3704c5b"),
    ("scenes:train=20,validation=6,seed=1,size=24", ("image", "text")): (
        "54f5e57c868d362e",
        "61708caa8ec5e550",
    ),
    ("scenes:train=20,validation=6,test=3,seed=1,size=24,style=sketch", ("image",)): (
        "ef830360810fb4e7",
        "7ccd5e7f282d8b54",
    ),
    ("scenes:train=20,validation=6,seed=1,size=24", ("text",)): ("8b0a77cae098d50e", "370bb30a50823649"),
}


@pytest.fixture(scope="module")
def frozen_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frozen") / "d"
    write_images(folder)
    rows = [
        f"{n}.ppm,caption {n} {way},{n % 3},{'ab'[n % 2]},{n // 2},{'train' if n < 9 else 'val'}"
        for way in range(2)
        for n in range(ROWS)
    ]
    plain = [",".join(row.split(",")[:2]) for row in rows]
    (folder / "all.csv").write_text("\n".join(["image,caption,label,domain,group,split", *rows]))
    (folder / "plain.csv").write_text("\n".join(["image,caption", *plain]))
    pairs = [f"left {n}\tright {n}\t{n / 4}\n" for n in range(9)]
    (folder / "pairs.tsv").write_text("sentence1\tsentence2\tscore\n" + "".join(pairs))
    (folder / "text.txt").write_text("".join(f"sentence number {n}\n" for n in range(9)))
    vqa = [
        {"image": f"{n % ROWS}.ppm", "question": f"what is {n}?", "answer": f"it is {n}"} for n in range(24)
    ]
    (folder / "vqa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in vqa))
    return folder


@pytest.mark.parametrize(("name", "needs"), FROZEN)
def test_fingerprints_are_those_of_earlier_runs(name: str, needs: tuple[str, ...], frozen_data: Path) -> None:
    source = name if name.startswith("scenes") else frozen_data / name
    found = opened(source, Needs(*needs), frozen_data.parent).summary["fingerprint"]
    assert (found["train"], found["validation"]) == FROZEN[name, needs]


def test_the_fingerprint_knows_every_column(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", "t.jsonl", questions())
    first = opened(path, Needs("image", "text", "answer"), tmp_path).summary["fingerprint"]
    assert first != opened(path, Needs("image", "text"), tmp_path).summary["fingerprint"]
    other = write_table(tmp_path / "e", "t.jsonl", [row | {"answer": "?"} for row in questions()])
    assert first != opened(other, Needs("image", "text", "answer"), tmp_path).summary["fingerprint"]


SCENES = "scenes:train=20,validation=6,seed=3,size=24"


@pytest.mark.parametrize(
    ("task", "needs"),
    [
        ("captions", Needs("image", "text", "label", "boxes", domain=OPTIONAL)),
        ("questions", Needs("image", "text", "answer")),
        ("statements", Needs("image", "text", "label")),
        ("pairs", Needs("image", "image_2", "text", "label")),
        ("grounding", Needs("image", "text", "boxes")),
    ],
)
def test_scenes_give_all_they_know(task: str, needs: Needs, tmp_path: Path) -> None:
    data = opened(f"{SCENES},task={task}", needs, tmp_path).train
    scenes = draw_scenes(20, seed=3, size=24)
    batch = loader_of(data, needs).batch(0)
    assert {*needs} <= {*batch.columns}
    place = 7 if task != "pairs" else 0
    images = {number: torch.as_tensor(image) for number, image in enumerate(scenes.images)}
    rows: Any = data.rows
    assert torch.equal(data.images([place])[0], images[int(rows[place])])
    texts = data.texts or []
    if task == "captions":
        assert texts == [(caption,) for caption in scenes.captions]
        assert data.domain_names == ["flat"]
        boxes = data.column("boxes").values
        assert [len(row) for row in boxes] == scenes.content.counts.tolist()
        assert all(box.phrase in texts[n][0] for n, row in enumerate(boxes) for box in row)
        x, y, width, height = boxes[0][0].box
        assert [x, y, x + width, y + height] == pytest.approx(scenes.boxes[0, 0].tolist())
    if task == "questions":
        asked = scenes.questions()
        assert texts == [(question.question,) for question in asked]
        assert data.column("answer").values == [((question.answer, 1.0),) for question in asked]
    if task == "statements":
        assert data.label_names == ["false", "true", "undecided"]
        assert np.bincount(data.labels if data.labels is not None else []).tolist() == [20, 20, 20]
    if task == "pairs":
        said = scenes.pairs()[0]
        assert texts[0] == (said.text,)
        assert torch.equal(batch.image_2[0], images[int(data.column("image_2").rows[int(batch.index[0])])])
        assert int(data.column("image_2").rows[0]) == said.second
        assert data.label_names == ["false", "true"]


def test_an_unknown_task_of_scenes_is_refused() -> None:
    with pytest.raises(ConfigError, match="task must be one of captions, questions"):
        open_source(DataConfig(source="scenes:task=riddles"))


LABELLED = Needs(image=REQUIRED, domain=REQUIRED, label=required_of("source"))


def two_domains(tmp_path: Path, **options: Any) -> Splits:
    """Twelve labelled rows, and twelve of which most have no label."""
    source = write_table(
        tmp_path / "a", "a.csv", [{"image": f"{n}.ppm", "label": "xy"[n % 2]} for n in range(ROWS)]
    )
    target = write_table(
        tmp_path / "b", "b.csv", [{"image": f"{n}.ppm", "label": "z" if n < 4 else ""} for n in range(ROWS)]
    )
    return opened(source, LABELLED, tmp_path, target=str(target), validation_share=0.25, **options)


def test_two_sources_are_two_domains(tmp_path: Path) -> None:
    splits = two_domains(tmp_path)
    assert splits.bad_records == []
    assert splits.validation is not None
    for part in (splits.train, splits.validation):
        assert part.domain_names == ["source", "target"]
        assert part.label_names == ["x", "y", "z"]
        assert part.is_target is not None
        assert 0 < part.is_target.sum() < len(part)
        assert part.domains is not None
        assert (part.domains == part.is_target).all()
    data = splits.train
    assert not set(data.groups[data.domains == 0]) & set(data.groups[data.domains == 1])
    for domain, folder in enumerate("ab"):
        alone = opened(tmp_path / folder / f"{folder}.csv", Needs("image"), tmp_path, validation_share=0.25)
        rows = np.flatnonzero(data.domains == domain)
        assert [data.ids[row] for row in rows] == alone.train.ids
        assert torch.equal(data.images(rows), alone.train.images(np.arange(len(rows))))
        assert np.array_equal(np.asarray(data.original(rows[0])), np.asarray(alone.train.original(0)))
    with pytest.raises(TooManyBadRecords, match="no label"):
        two_domains_of(tmp_path, Needs("image", "label"))


def two_domains_of(tmp_path: Path, needs: Needs) -> Splits:
    return opened(tmp_path / "a" / "a.csv", needs, tmp_path, target=str(tmp_path / "b" / "b.csv"))


def test_labels_of_the_target_are_for_evaluation_alone(tmp_path: Path) -> None:
    data = two_domains(tmp_path).train
    assert data.labels is not None
    assert data.is_target is not None
    assert (data.labels[data.is_target] >= 0).any()  # there for evaluation
    order = make_order(
        "domains", data.labels, num_rows=len(data), batch_size=8, examples_per_class=2, world_size=1, seed=0,
        is_target=data.is_target,
    )  # fmt: skip
    made = loader_of(data, LABELLED, order=order)
    for step in range(4):
        batch = made.batch(step)
        assert (batch.domain == 1).sum() == 4
        assert (batch.label[batch.domain == 1] == -1).all()
        assert (batch.label[batch.domain == 0] >= 0).all()
    seen = [
        loader_of(data, Needs("image", label=OPTIONAL, domain=REQUIRED), order=order).batch(s)
        for s in range(4)
    ]
    assert any((batch.label[batch.domain == 1] >= 0).any() for batch in seen)


def test_domains_keep_their_own_names(tmp_path: Path) -> None:
    needs = Needs("image", "domain")
    target = "scenes:train=12,validation=4,size=24,style=sketch"
    splits = opened(SCENES, needs, tmp_path, target=target)
    assert splits.train.domain_names == ["flat", "sketch"]
    assert len(splits.train) == 32
    assert splits.validation is not None
    assert len(splits.validation) == 10
    same = opened(SCENES, needs, tmp_path, target=target.replace("sketch", "flat"))
    assert same.train.domain_names == ["source", "target"]
    assert opened(SCENES, Needs("image", domain=OPTIONAL), tmp_path).train.is_target is None
    images = torch.as_tensor(np.asarray(draw_scenes(12, seed=0, size=24, style="sketch").images))
    assert torch.equal(splits.train.images(np.arange(20, 32)), images)
    assert torch.equal(splits.train.images([31, 0])[0], images[11])


def test_needs_may_be_names() -> None:
    assert Needs.of({"images", "labels"}) == Needs("image", "label")
    assert Needs.of(["text"]) == Needs("text")
    assert Needs.of(Needs("image")) == Needs("image")
