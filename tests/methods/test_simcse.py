"""SimCSE end to end: sentences, groups, pairs and triplets, bad input, what training starts from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_methods import build
from small_runs import SOURCE

from likewise import load
from likewise.batches.batch import Batch, TokenBatch
from likewise.batches.tokenized_texts import GroupMates, TokenTable
from likewise.cli.main import main
from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import ConfigError, DataError
from likewise.methods.base import Step
from likewise.methods.text.simcse import Config
from likewise.runs.folder import RunFolder
from likewise.step_random import StepRandom
from likewise.training import train

COLOURS, THINGS = ("red", "green", "blue", "grey", "black"), ("circle", "square", "cross", "star")
SENTENCES = [f"a {colour} {thing}" for colour in COLOURS for thing in THINGS]
SMALL: dict[str, Any] = {
    "training__steps": 2,
    "training__batch_size": 8,
    "training__loggers": (),
    "training__log_every": 1,
    "training__precision": "float32",
    "text__width": 32,
    "text__depth": 1,
    "text__heads": 2,
    "text__vocabulary_size": 300,
}


def trained(folder: Path, data: Path | str, **options: Any) -> RunFolder:
    return train(method="simcse", data=data, out=folder / "run", show=False, **(SMALL | options))


def table(file: Path, header: str, *lines: str) -> Path:
    file.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return file


def pairs(folder: Path) -> Path:
    """Scored by what two descriptions share."""
    rows = [
        f"{one}\t{other}\t{len(set(one.split()) & set(other.split()))}"
        for one in SENTENCES[::3]
        for other in SENTENCES[1::4]
    ]
    return table(folder / "pairs.tsv", "sentence1\tsentence2\tscore", *rows)


def test_sentences_are_learnt_and_measured_on_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "sentences.txt"
    source.write_text("\n".join(SENTENCES))
    run = trained(tmp_path, source)
    assert set(run.read_results().own) == {"text-collapse"}
    config = run.config.read_text()
    assert "[image]" not in config
    assert "[views]" not in config
    assert load(run.path).config["images"] is None
    main(["evaluate", str(run.path), "sts", "--data", str(pairs(tmp_path)), "--json"])
    found = json.loads(capsys.readouterr().out)["sts"]
    assert found["num_left_out"] + found["num_pairs"] == 35
    assert found["overlap_spearman"] > 0.9
    assert -1 <= found["spearman"] <= 1
    assert {"first", "second", "score", "cosine"} == found["worst_pairs"][0].keys()
    main(["report", str(run.path), "--out", str(tmp_path / "report.html")])
    page = (tmp_path / "report.html").read_text()
    assert "Pairs of texts" in page
    assert "Confusions" not in page


def test_triplets_with_an_empty_field_are_bad_records(tmp_path: Path) -> None:
    rows = [f"{one}\tone {one} here\tno {one}" for one in SENTENCES]
    rows[3] = f"{SENTENCES[3]}\t\tno star"
    file = table(tmp_path / "nli.tsv", "premise\tentailment\tcontradiction", *rows)
    run = trained(tmp_path, file, data__max_bad_share=0.1)
    bad = [json.loads(line) for line in run.bad_records.read_text().splitlines()]
    assert [(record["place"], record["reason"]) for record in bad] == [("nli.tsv:5", "no text_2")]


def test_scored_pairs_are_no_positives(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="takes every pair for a positive"):
        trained(tmp_path, pairs(tmp_path))


def test_texts_of_one_group_are_positives(tmp_path: Path) -> None:
    rows = [
        "\t".join(f"{word} {one} number{place}" for word in ("see", "this is", "I like", "look,", "not"))
        for place, one in enumerate(SENTENCES)
    ]
    file = table(tmp_path / "groups.tsv", "\t".join(f"caption_{number}" for number in range(1, 6)), *rows)
    run = trained(tmp_path, file, training__micro_batch_size=4, data__validation_share=0.3)
    found = run.read_results().own["text-retrieval"]
    assert found["num_texts"] > 10
    assert found["num_texts"] % 5 == 0
    assert 0 < found["chance_r1"] < 1
    assert found["tfidf_r1"] > 0.5


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["only one"], "two rows or more"),
        (["the same"] * 20, "all 20 rows mean the same"),
        ([*SENTENCES, "word " * 20_000], "caption too long: 99,999 characters"),
    ],
)
def test_sentences_that_teach_nothing_are_explained(tmp_path: Path, lines: list[str], said: str) -> None:
    source = tmp_path / "sentences.txt"
    source.write_text("\n".join(lines))
    with pytest.raises((DataError, ConfigError), match=said):
        trained(tmp_path, source)


def test_options_of_images_are_rejected(tmp_path: Path) -> None:
    source = tmp_path / "sentences.txt"
    source.write_text("\n".join(SENTENCES))
    with pytest.raises(ConfigError, match=r"--data\.fit: simcse reads no images"):
        trained(tmp_path, source, data__fit="pad")


def test_it_starts_from_the_text_encoder_of_clip(tmp_path: Path) -> None:
    options = {
        "image__architecture": "resnet",
        "image__width": 8,
        "image__depth": 10,
        "image__image_size": 32,
    }
    clip = train(method="clip", data=SOURCE, out=tmp_path / "clip", show=False, **(SMALL | options))
    source = tmp_path / "sentences.txt"
    source.write_text("\n".join(SENTENCES))
    given = {key: value for key, value in SMALL.items() if not key.startswith("text")}
    run = train(
        method="simcse",
        data=source,
        out=tmp_path / "run",
        show=False,
        **(given | {"training__start_from": str(clip.path), "training__learning_rate": 1e-12}),
    )
    for (name, ours), theirs in zip(
        load(run.path).network.text.state_dict().items(),  # type: ignore[union-attr, operator]
        load(clip.path).network.text.state_dict().values(),  # type: ignore[union-attr, operator]
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0, msg=name)
    assert load(run.path).network.text.dropout == 0.1  # type: ignore[union-attr]


def test_two_masks_of_dropout_make_two_views() -> None:
    method, loader = build("simcse")
    batch, step = loader.batch(0), Step(StepRandom(0, 0))
    same = method.embed(batch, step)
    torch.testing.assert_close(same["first"], same["second"])
    method.network.text.set_dropout(0.1)  # type: ignore[union-attr, operator]
    apart = method.embed(batch, step)
    assert not torch.allclose(apart["first"], apart["second"])


def test_a_row_of_three_texts_has_a_hard_negative() -> None:
    method, loader = build("simcse")
    batch = loader.batch(0)
    longer = TokenBatch(
        torch.nn.functional.pad(batch.text.tokens, (0, 3)), torch.nn.functional.pad(batch.text.mask, (0, 3))
    )
    triplets: Batch = batch.with_columns(text_2=batch.text, text_3=longer)
    found = method.embed(triplets, Step(StepRandom(0, 0)))
    torch.testing.assert_close(found["negative"], found["first"])  # padding changes nothing
    alone = method.objective(method.embed(batch, Step(StepRandom(0, 0))), Step(StepRandom(0, 0)))
    assert method.objective(found, Step(StepRandom(0, 0))).total > alone.total


def test_mates_are_other_texts_of_the_group() -> None:
    texts = [("a", "b"), ("c",), ("d",), ("e", "f", "g")]
    groups = np.array([5, 3, 5, 1])
    tokenizer = train_tokenizer(["a b c d e f g"], vocabulary_size=300, max_tokens=8)
    mates = GroupMates.find(TokenTable(texts, tokenizer), groups)
    assert mates is not None
    captions = np.arange(7)
    found = [set() for _ in captions]  # type: ignore[var-annotated]
    for uniform in np.linspace(0, 0.999, 20):
        for caption, mate in enumerate(mates.pick(captions, np.full(7, uniform))):
            found[caption].add("abcdefg"[mate])
    assert ["".join(sorted(one)) for one in found] == ["bd", "ad", "c", "ab", "fg", "eg", "ef"]
    assert GroupMates.find(TokenTable([("a",), ("a",), ("b",)], tokenizer), np.array([0, 0, 1])) is None


def test_options_out_of_range_are_named() -> None:
    for options, said in (
        ({"temperature": 0.0}, "--method.temperature"),
        ({"hard_negative_weight": 0.0}, "--method.hard-negative-weight"),
        ({"dropout": 1.0}, "--method.dropout"),
        ({"mlm_weight": -1.0}, "--method.mlm-weight"),
    ):
        with pytest.raises(ConfigError, match=said):
            Config(**options)
