"""Question answering: the loss by hand, starts from other methods' runs, and use after training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_methods import build, context_of
from small_runs import small_settings
from torch.nn import functional as F

import likewise
from likewise.batches.batch import AnswerBatch, Batch
from likewise.cli.main import main
from likewise.data import prepare
from likewise.encoders.decoders import Candidates, TransformerDecoder, start_from_fusion
from likewise.errors import AbilityError, ConfigError, DataError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import find_task
from likewise.methods.base import Progress, Step, TokenizerInfo
from likewise.methods.image_text.vqa import VQA, Config
from likewise.model import Model
from likewise.reporting.collect import report
from likewise.reporting.formatting import rows_by_type
from likewise.runs.folder import RunFolder
from likewise.step_random import StepRandom

STEP = Step(StepRandom(0, 0), Progress(0, 10))


def small_method() -> tuple[VQA, Batch]:
    """With three answers a question at most, of unequal weights."""
    method, loader = build("vqa")
    assert isinstance(method, VQA)
    batch = loader.batch(0)
    tokens = torch.tensor([[[1, 9, 2, 0], [1, 9, 7, 2], [1, 2, 0, 0]]]).repeat(len(batch), 1, 1)
    mask = torch.tensor([[[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]]]).bool().repeat(len(batch), 1, 1)
    weights = torch.tensor([0.6, 0.3, 0.1]).repeat(len(batch), 1)
    weights[0] = torch.tensor([1.0, 0.0, 0.0])
    return method.eval(), batch.with_columns(answer=AnswerBatch(tokens, mask, weights))


def losses_by_hand(method: VQA, batch: Batch, alpha: float) -> list[float]:
    """For each question the sum over answers and tokens, in float64."""
    pixels, answers = method.views(batch, STEP), batch.answer
    expected = []
    for row in range(len(batch)):
        question = [part[row : row + 1] for part in (pixels, batch.text.tokens, batch.text.mask)]
        total = 0.0
        for k in range(answers.tokens.shape[1]):
            ids = answers.tokens[row, k, answers.mask[row, k]][None]
            both = (
                [method.network]
                if method.ema_encoder is None
                else [method.network, method.ema_encoder.module]
            )
            found = [net.answer_logits(net.read_questions(*question), ids)[0].double() for net in both]  # type: ignore[operator]
            log_probs = found[0].log_softmax(-1)
            for place in range(ids.shape[1] - 1):
                loss = -log_probs[place, ids[0, place + 1]]
                if alpha:
                    soft = -(found[1][place].softmax(-1) * log_probs[place]).sum()
                    loss = (1 - alpha) * loss + alpha * soft
                total += float(answers.weights[row, k]) * float(loss)
        expected.append(total)
    return expected


@pytest.mark.parametrize("alpha", [0.0, 0.4])
@torch.no_grad()
def test_loss_is_the_weighted_sum_of_the_answers(alpha: float) -> None:
    method, batch = small_method()
    assert method.ema_encoder is not None
    for weight in method.ema_encoder.parameters():
        weight.mul_(1.1)  # another network than the online one
    method.alpha.fill_(alpha)
    found = method.embed(batch, STEP)
    expected = losses_by_hand(method, batch, alpha)
    torch.testing.assert_close(found["loss"].double(), torch.tensor(expected).double(), rtol=1e-4, atol=1e-4)
    total = method.objective(found, STEP).total
    assert float(total) == pytest.approx(float(np.mean(expected)), rel=1e-4)


@torch.no_grad()
def test_answers_of_weight_zero_and_padding_do_not_count() -> None:
    method, batch = small_method()
    given = batch.answer
    more = AnswerBatch(
        F.pad(given.tokens, (0, 2, 0, 1), value=5),
        F.pad(given.mask, (0, 2, 0, 1), value=False),
        F.pad(given.weights, (0, 1)),
    )
    more.mask[:, -1, :3] = True  # a whole answer of weight 0
    found = method.embed(batch.with_columns(answer=more), STEP)["loss"]
    torch.testing.assert_close(found, method.embed(batch, STEP)["loss"])


def test_the_teachers_weight_rises_in_the_first_epoch_and_zero_keeps_no_teacher() -> None:
    method, _ = small_method()
    method.after_step(Progress(5, 100, 10))
    assert float(method.alpha) == pytest.approx(0.2)
    method.after_step(Progress(30, 100, 10))
    assert float(method.alpha) == pytest.approx(0.4)
    from_nothing = dataclasses.replace(small_settings("vqa").method, distillation=None)
    context = context_of("vqa", TokenizerInfo(300, None, ()))
    assert VQA(from_nothing, context).ema_encoder is None
    assert VQA(dataclasses.replace(from_nothing, distillation=0.3), context).ema_encoder is not None


def other_run(method: str, folder: Path, **text: Any) -> tuple[Path, Any]:
    settings = small_settings(method, steps=1, save_every=0)
    settings = dataclasses.replace(settings, text=dataclasses.replace(settings.text, **text))
    return likewise.train(settings, folder, show=False).path, settings


@pytest.mark.parametrize(
    ("method", "shared"), [("tcl", ("image", "text", "fusion")), ("clip", ("image", "text"))]
)
def test_it_starts_from_another_methods_run(method: str, shared: tuple[str, ...], tmp_path: Path) -> None:
    """The decoder starts from the fusion layers that were loaded."""
    start, theirs = other_run(method, tmp_path / "start")
    settings = small_settings("vqa", steps=1, start_from=str(start), learning_rate=1e-12, save_every=0)
    settings = dataclasses.replace(settings, image=theirs.image, text=theirs.text, training=settings.training)
    run = likewise.train(settings, tmp_path / "vqa", show=False)
    before, after = likewise.load(start).network, likewise.load(run.path).network
    for part in shared:
        for name, weight in getattr(before, part).state_dict().items():
            torch.testing.assert_close(getattr(after, part).state_dict()[name], weight, rtol=0, atol=1e-6)
    assert isinstance(after.decoder, TransformerDecoder)
    expected = TransformerDecoder.from_spec(after.decoder.spec())
    expected.load_state_dict(after.decoder.state_dict())
    start_from_fusion(expected, after.fusion, after.text)  # type: ignore[arg-type]
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(after.decoder.state_dict()[name], weight, rtol=0, atol=1e-6)


def test_another_depth_than_the_models_is_refused(tmp_path: Path) -> None:
    start, theirs = other_run("tcl", tmp_path / "start")
    settings = small_settings("vqa", steps=1, start_from=str(start))
    options = dataclasses.replace(settings.method, fusion_depth=3)
    settings = dataclasses.replace(settings, image=theirs.image, text=theirs.text, method=options)
    with pytest.raises(ConfigError, match=r"--method\.fusion-depth is 3, and that of .* 2; leave it out"):
        likewise.train(settings, tmp_path / "vqa", show=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = small_settings("vqa", steps=40, save_every=0, learning_rate=3e-3)
    return likewise.train(settings, tmp_path_factory.mktemp("vqa") / "run", show=False).path


@pytest.fixture
def model(run: Path) -> Model:
    return likewise.load(run / "model")


def images(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 40, 30, 3), dtype=np.uint8))


def test_answers_are_ranked_with_probabilities(model: Model) -> None:
    asked = ["how many things are there?", "is there a red circle?", "what colour is the square?"]
    found = model.answer(images(3), asked, num_answers=1000)
    known = model.network.known_answers()  # type: ignore[operator]
    assert len(known) == len(set(known)) > 5
    for row in found:
        assert sorted(one.text for one in row) == sorted(known)
        assert sum(one.probability for one in row) == pytest.approx(1)
        assert [one.probability for one in row] == sorted((one.probability for one in row), reverse=True)
    assert [row[:2] for row in found] == [
        [
            (one.text, pytest.approx(one.probability, abs=1e-5), pytest.approx(one.log_prob, abs=1e-4))
            for one in row
        ]
        for row in model.answer(images(3), asked, num_answers=2, batch_size=1)
    ]


def test_an_own_list_is_scored_whole_by_sum_or_mean(model: Model) -> None:
    choices = ["yes", "no", "a very long answer of many words"]
    by_sum = model.answer(images(1), "is there a red circle?", choices)[0]
    by_mean = model.answer(images(1), "is there a red circle?", choices, score="mean")[0]
    assert {one.text for one in by_sum} == {one.text for one in by_mean} == set(choices)
    lengths = dict(zip(choices, (len(ids) - 1 for ids in model.tokenizer.encode(choices)), strict=True))  # type: ignore[union-attr]
    for ranked, score in (
        (by_sum, lambda one: one.log_prob),
        (by_mean, lambda one: one.log_prob / lengths[one.text]),
    ):
        shares = np.exp([score(one) for one in ranked])
        np.testing.assert_allclose([one.probability for one in ranked], shares / shares.sum(), rtol=1e-6)


def test_one_image_for_all_questions_and_one_question_for_all_images(model: Model) -> None:
    first, second = images(2)
    asked = ["is there a red circle?", "how many things are there?"]
    both = model.answer(first, asked)
    assert [row[0].text for row in both] == [model.answer(first, one)[0][0].text for one in asked]
    assert [row[0].text for row in model.answer([first, second], asked[0])] == [
        model.answer(one, asked[0])[0][0].text for one in (first, second)
    ]
    with pytest.raises(DataError, match="2 images and 3 questions do not go together"):
        model.answer([first, second], [*asked, "where?"])


def test_free_answers_are_written(model: Model) -> None:
    found = model.answer(images(2), "how many things are there?", free=True, num_answers=3)
    for row in found:
        assert len(row) == 3
        for one in row:
            assert one.probability == pytest.approx(np.exp(one.log_prob))
            assert one.text == one.text.strip()
        assert [one.log_prob for one in row] == sorted((one.log_prob for one in row), reverse=True)


def test_candidates_that_are_one_text_are_one_answer(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model.tokenizer is not None
    begin, end = model.tokenizer.end_ids
    red, blue = (model.tokenizer.encode([one])[0].tolist()[1:-1] for one in ("red", "blue"))
    written = [[end], [*red, end], [*blue, end], [begin, *red, end], [*blue, *blue, end]]
    log_probs = torch.tensor([0.3, 0.2, 0.25, 0.1, 0.05]).log()
    asked = []

    def write(memory: Any, *, decoding: Any, **_: Any) -> Candidates:
        asked.append(decoding.num_captions)
        lengths = torch.tensor([[len(ids) for ids in written]])
        tokens = torch.tensor([[ids + [end] * (max(lengths[0].tolist()) - len(ids)) for ids in written]])
        return Candidates(tokens, lengths, log_probs[None], log_probs[None])

    monkeypatch.setattr(model.network, "write_answers", write)
    (found,) = model.answer(images(1), "what?", free=True, num_answers=2)
    assert [one.text for one in found] == ["red", "blue"]
    assert [one.probability for one in found] == pytest.approx([0.2 + 0.1, 0.25])
    assert found[0].log_prob == pytest.approx(np.log(0.3))
    assert asked == [5]
    assert len(model.answer(images(1), "what?", free=True, num_answers=5)[0]) == 3  # all there are
    assert asked[1:] == [7, 28]


def test_a_long_answer_of_a_list_is_warned_of(model: Model) -> None:
    with pytest.warns(UserWarning, match="1 of 2 answers are longer"):
        model.answer(images(1), "what?", ["yes", "red " * 99])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"answers": ["yes", "no", "Yes"]}, "answers 0 and 2 read the same"),
        ({"answers": ["yes"]}, "1 answer to choose from"),
        ({"answers": []}, "0 answers to choose from"),
        ({"answers": ["yes", " "]}, "answer 1 is ' '"),
        ({"answers": "yes"}, "give a list"),
        ({"questions": ""}, "text 0 is ''"),
        ({"questions": None}, "texts are None"),
        (
            {"answers": ["red " * 99 + "a", "red " * 99 + "b"]},
            r"read the same .*red \.\.\.'.*reads 77 tokens",
        ),
    ],
)
def test_bad_input_is_named(model: Model, options: dict[str, Any], message: str) -> None:
    given = {"questions": "is there a red circle?"} | options
    with pytest.raises(DataError, match=message):
        model.answer(images(1), given["questions"], given.get("answers"))


def test_options_that_contradict_are_refused(model: Model) -> None:
    with pytest.raises(ConfigError, match="from a list or written freely"):
        model.answer(images(1), "what?", ["yes", "no"], free=True)
    for wrong in (0, 2.5, None):
        for free in (False, True):
            with pytest.raises(ConfigError, match=f"num_answers is {wrong}; expected a whole number"):
                model.answer(images(1), "what?", num_answers=wrong, free=free)
    with pytest.raises(ConfigError, match="the score of answers is 'product'"):
        model.answer(images(1), "what?", score="product")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"--method\.max-answers"):
        Config(max_answers=0)


def test_a_question_longer_than_is_read_is_warned_of(model: Model) -> None:
    with pytest.warns(
        UserWarning, match=r"1 of 2 questions .* 'is it red\? .*\.\.\.': of its \d+ tokens the last"
    ):
        model.answer(images(1), ["is it red?", "is it red? " * 40])


def test_another_model_says_what_gives_answers(tmp_path: Path) -> None:
    start, _ = other_run("clip", tmp_path / "clip")
    with pytest.raises(AbilityError, match=r"cannot answer.*comes with vqa"):
        likewise.load(start).answer(images(1), "what?")


def test_the_run_has_figures_and_a_report_with_examples(run: Path) -> None:
    folder = RunFolder(run)
    figures = folder.read_json(folder.results)["vqa"]
    task = find_task("vqa")
    keys = {figure.key for figure in task.figures}
    assert figures.keys() <= {*keys, *task.extras, "data_fingerprint", "measured_on"}
    assert keys - figures.keys() == {"consensus_accuracy"}  # of single answers there is none
    page = report(run).read_text()
    assert "Question answering" in page
    assert "where it looked" in page
    assert "Question answering by question type" in page


def test_without_a_training_part_there_is_no_baseline_of_text_alone(run: Path, model: Model) -> None:
    settings = small_settings("vqa")
    splits = prepare(settings.data, image_size=32, needs=settings.method_type.needs)
    task = find_task("vqa")
    whole = task.run(Context(model, splits), task.options())
    empty = dataclasses.replace(splits, train=splits.train.subset(np.zeros(0, np.int64)))
    found = task.run(Context(model, empty), task.options())
    assert "text_only_accuracy" in whole
    assert "note" not in whole
    assert "text_only_accuracy" not in found
    assert found["majority_accuracy"] == whole["majority_accuracy"]
    assert found["note"].startswith("there is no training part")
    assert [row.beside for rows in rows_by_type(found).values() for row in rows if row.beside] == []
    assert all(row.beside.endswith("%") for rows in rows_by_type(whole).values() for row in rows)


def test_accuracy_by_type_is_printed_beside_the_text_alone(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", str(run), "vqa"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "vqa by answer type (chance: from the text alone)" in lines
    folder = RunFolder(run)
    found = folder.read_json(folder.results)["vqa"]["by_answer_type"]
    assert {"yes/no", "number", "other"} == found.keys()
    assert sum(one["num_questions"] for one in found.values()) > 16
    for name, one in found.items():
        assert any(line.startswith(f"vqa {name} ({one['num_questions']:.0f}) ") for line in lines)
