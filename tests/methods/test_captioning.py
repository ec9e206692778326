"""Captioning: the loss against a naive float64 transcription, freezing, and use after training."""

import csv
import dataclasses
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from small_methods import build, context_of
from small_runs import small_settings
from torch.nn import functional as F

import likewise
from likewise.batches.batch import Batch
from likewise.data import prepare
from likewise.errors import AbilityError, ConfigError, DataError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import find_task
from likewise.methods.base import Progress, Step, TokenizerInfo
from likewise.methods.image_text.captioning import Captioning, Config
from likewise.reporting.collect import report
from likewise.runs.folder import RunFolder
from likewise.runs.settings import parse_tables
from likewise.step_random import StepRandom


def step_of(phase: str = "") -> Step:
    return Step(StepRandom(0, 0), Progress(0, 10), phase)


def small_method(**options: object) -> tuple[Captioning, Batch]:
    _, loader = build("captioning")
    batch = loader.batch(0)
    torch.manual_seed(0)
    config = dataclasses.replace(small_settings("captioning").method, **options)
    return Captioning(config, context_of("captioning", TokenizerInfo(300, None, ()))), batch


def loss_by_hand(method: Captioning, batch: Batch, smoothing: float) -> float:
    """Mean over real tokens after the first of (1 - s) (-log p) + s times the mean over all tokens."""
    memory = method.network.image_memory(method.views(batch, step_of()))
    tokens, mask = batch.text.tokens, batch.text.mask
    logits = method.network.decoder.logits(method.network.decoder(tokens[:, :-1], memory).states)
    log_probs = logits.double().log_softmax(-1)
    losses = []
    for row in range(len(tokens)):
        for place in range(1, tokens.shape[1]):
            if mask[row, place]:
                one = log_probs[row, place - 1]
                losses.append(-(1 - smoothing) * one[tokens[row, place]] - smoothing * one.mean())
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize("decoder", ["transformer", "lstm", "gru"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@torch.no_grad()
def test_loss_is_the_papers(decoder: str, smoothing: float) -> None:
    method, batch = small_method(decoder=decoder, label_smoothing=smoothing, attention_penalty=0.0)
    method.eval()
    loss = method.objective(method.embed(batch, step_of()), step_of())
    assert float(loss.total) == pytest.approx(loss_by_hand(method, batch, smoothing), rel=1e-5)


@torch.no_grad()
def test_padding_does_not_count() -> None:
    method, batch = small_method(decoder="lstm")
    method.eval()
    text = batch.text
    wider = dataclasses.replace(
        text, tokens=F.pad(text.tokens, (0, 3), value=7), mask=F.pad(text.mask, (0, 3), value=False)
    )
    before = method.embed(batch, step_of())
    after = method.embed(batch.with_columns(text=wider), step_of())
    for name, value in before.items():
        torch.testing.assert_close(value, after[name])


@torch.no_grad()
def test_attention_penalty_is_equation_14() -> None:
    method, batch = small_method(decoder="lstm")
    method.eval()
    found = method.embed(batch, step_of())
    memory = method.network.image_memory(method.views(batch, step_of()))
    looked = method.network.decoder(batch.text.tokens[:, :-1], memory, with_attention=True).attention
    expected = 0.0
    for row in range(len(batch)):
        real = batch.text.mask[row, 1:]
        cells = [float((1 - looked[row, real, cell].sum()) ** 2) for cell in range(looked.shape[2])]
        expected += sum(cells) / len(cells)
    loss = method.objective(found, step_of())
    assert float(loss.parts["attention_unevenness"]) == pytest.approx(expected / len(batch), rel=1e-4)
    total = loss.parts["cross_entropy"] + loss.parts["attention_unevenness"]
    assert float(loss.total) == pytest.approx(float(total))


@pytest.mark.parametrize("decoder", ["transformer", "lstm"])
@torch.no_grad()
def test_several_captions_of_an_image_count_as_rows_of_their_own(decoder: str) -> None:
    """The second image has one caption of two: its repetition has no weight."""
    several, batch = small_method(decoder=decoder, captions_per_image=2)
    several.eval()
    one = small_method(decoder=decoder)[0]
    one.load_state_dict(several.state_dict())
    one.eval()
    rows = Batch(index=torch.tensor([0, 0, 1]), image=batch.image[[0, 0, 1]])
    text = batch.text.map(lambda value: value[:3])
    expected = one.objective(one.embed(rows.with_columns(text=text), step_of()), step_of())
    both = dataclasses.replace(
        text,
        tokens=text.tokens[[0, 1, 2, 2]].unflatten(0, (2, 2)),
        mask=(text.mask[[0, 1, 2, 2]] & torch.tensor([True, True, True, False])[:, None]).unflatten(
            0, (2, 2)
        ),
        keep_sides=text.keep_sides[[0, 2]],
        keep_colours=text.keep_colours[[0, 2]],
    )
    images = Batch(index=torch.tensor([0, 1]), image=batch.image[:2], text=both)
    loss = several.objective(several.embed(images, step_of()), step_of())
    assert loss.parts.keys() == expected.parts.keys()
    for name, part in expected.parts.items():
        torch.testing.assert_close(loss.parts[name], part, rtol=1e-6, atol=1e-6)  # of other batch sizes


def test_encoder_is_frozen_for_its_share(tmp_path: Path) -> None:
    settings = small_settings("captioning", steps=4, save_every=0)
    settings = dataclasses.replace(settings, method=dataclasses.replace(settings.method, frozen_share=1.0))
    frozen = likewise.load(likewise.train(settings, tmp_path / "frozen", show=False).model)
    method, _ = small_method()
    for one, other in zip(frozen.network.image.parameters(), method.network.image.parameters(), strict=True):
        assert one.shape == other.shape
    again = dataclasses.replace(settings, training=dataclasses.replace(settings.training, steps=2))
    shorter = likewise.load(likewise.train(again, tmp_path / "shorter", show=False).model)
    for name, weight in frozen.network.image.state_dict().items():
        assert torch.equal(weight, shorter.network.image.state_dict()[name]), name
    changed = [
        name
        for name, weight in frozen.network.decoder.state_dict().items()
        if not torch.equal(weight, shorter.network.decoder.state_dict()[name])
    ]
    assert changed


@pytest.mark.parametrize("attention", [True, False])
def test_a_trained_captioner_captions_from_its_folder(tmp_path: Path, attention: bool) -> None:
    settings = small_settings("captioning", steps=30, save_every=0)
    options = {"decoder": "lstm" if not attention else "transformer", "attention": attention}
    settings = dataclasses.replace(settings, method=dataclasses.replace(settings.method, **options))
    run = likewise.train(settings, tmp_path / "run", show=False)
    model = likewise.load(run.model)
    assert "caption" in model.abilities
    images = [torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8) for _ in range(3)]
    captions = model.caption(images, num_beams=3)
    assert len(captions) == 3
    assert all(isinstance(caption, str) for caption in captions)
    assert model.caption(images, num_beams=3, batch_size=1) == captions
    several = model.caption_candidates(images, num_beams=3, num_captions=2)
    assert [found[0].text for found in several] == captions
    assert all(found[0].log_prob <= 0 for found in several)
    figures = run.read_json(run.results)["captioning"]
    declared = find_task("captioning")
    keys = {figure.key for figure in declared.figures}
    assert keys <= figures.keys() <= {*keys, *declared.extras, "data_fingerprint", "measured_on"}
    assert report(run.path).is_file()
    loss = [line["loss"] for line in run.read_metrics() if "loss" in line]
    assert loss[-1] < loss[0] < math.log(300) + 2


def test_without_a_training_part_the_constant_is_of_the_references(tmp_path: Path) -> None:
    settings = small_settings("captioning", steps=1, save_every=0)
    model = likewise.load(likewise.train(settings, tmp_path / "run", show=False).model)
    splits = prepare(settings.data, image_size=32, needs=settings.method_type.needs)
    empty = dataclasses.replace(splits, train=splits.train.subset([]))
    task = find_task("captioning")
    whole, found = (task.run(Context(model, one), task.options()) for one in (splits, empty))
    assert "chosen on the references" in found["note"]
    assert "chosen on the references" not in whole.get("note", "")
    assert found["constant_caption"] in {text for texts in splits.validation.texts for text in texts}  # type: ignore[union-attr]
    assert whole.keys() - found.keys() >= {"unused_words"}


def test_a_model_without_a_decoder_says_what_gives_captions(tmp_path: Path) -> None:
    run = likewise.train(small_settings("simclr", steps=1), tmp_path / "run", show=False)
    with pytest.raises(AbilityError, match=r"cannot caption.*comes with captioning"):
        likewise.load(run.model).caption([torch.zeros(3, 8, 8, dtype=torch.uint8)])


def test_it_starts_from_the_encoder_of_another_method(tmp_path: Path) -> None:
    settings = small_settings("captioning", steps=2, save_every=0)
    clip = small_settings("clip", steps=2, save_every=0)
    start = likewise.train(clip, tmp_path / "clip", show=False)
    training = dataclasses.replace(settings.training, start_from=str(start.path))
    frozen = dataclasses.replace(settings.method, frozen_share=1.0)
    settings = dataclasses.replace(settings, training=training, method=frozen, image=clip.image)
    run = likewise.train(settings, tmp_path / "captioner", show=False)
    theirs, ours = likewise.load(start.model), likewise.load(run.model)
    for name, weight in theirs.network.image.state_dict().items():
        assert torch.equal(weight, ours.network.image.state_dict()[name]), name


def test_options_of_a_text_encoder_are_rejected(tmp_path: Path) -> None:
    """The decoder reads the tokens."""
    settings = small_settings("captioning", steps=1)
    wide = dataclasses.replace(settings, text=dataclasses.replace(settings.text, width=32))
    with pytest.raises(ConfigError, match=r"--text\.width is 32, which captioning does not read"):
        likewise.train(wide, tmp_path / "run", show=False)
    words = ["captioning", "--data", "scenes", "--text.width", "32", "--out", str(tmp_path / "run")]
    with pytest.raises(ConfigError, match=r"Unrecognized options: --text\.width"):
        parse_tables(Captioning, words[1:3] + words[3:5], prog="likewise train captioning")
    tables, _ = parse_tables(Captioning, ["--data", "scenes", "--text.max-tokens", "9"], prog="train")
    assert tables["text"] == {"max_tokens": 9}


def table_of(folder: Path, captions: list[str]) -> str:
    """A CSV of coloured squares, 24 rows that repeat the captions."""
    with open(folder / "captions.csv", "w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["image", "caption", "split"])
        for number in range(24):
            Image.new("RGB", (32, 32), (10 * number, 0, 0)).save(folder / f"{number}.png")
            part = "validation" if number % 4 == 0 else "train"
            rows.writerow([f"{number}.png", captions[number % len(captions)], part])
    return str(folder / "captions.csv")


def trained_on(folder: Path, captions: list[str], *, max_tokens: int = 77) -> RunFolder:
    settings = small_settings("captioning", steps=2, batch_size=4, save_every=0)
    data = dataclasses.replace(settings.data, source=table_of(folder, captions), max_bad_share=0.6)
    text = dataclasses.replace(settings.text, max_tokens=max_tokens)
    return likewise.train(dataclasses.replace(settings, data=data, text=text), folder / "run", show=True)


def test_captions_of_one_word_are_learnt_and_measured(tmp_path: Path) -> None:
    run = trained_on(tmp_path, ["dog", "cat", "."])
    figures = run.read_results().own["captioning"]
    assert figures["constant_caption"] in ("dog", "cat", ".")
    assert math.isfinite(figures["cider"])
    assert "true_share" not in figures  # these are no scenes


def test_rows_without_captions_are_set_aside(tmp_path: Path) -> None:
    run = trained_on(tmp_path, ["a red square on black", "", "a dark square"])
    bad = list(run.read_lines(run.bad_records))
    assert len({record["place"] for record in bad}) == 8
    assert {record["reason"] for record in bad} >= {"empty caption"}
    assert run.read_results().own["captioning"]["num_images"] == 4


def test_data_without_captions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="caption"):
        trained_on(tmp_path, [""])


def test_captions_that_are_too_long_are_counted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained_on(tmp_path, ["a red square", "a red square on a black ground that goes on and on"], max_tokens=8)
    said = " ".join(capsys.readouterr().err.split())
    assert "texts are longer than --text.max-tokens 8" in said
    assert "'a red square on a black ground" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "lstm", "decoder_depth": 2}, "a lstm has one layer"),
        ({"label_smoothing": 1.5}, "--method.label-smoothing"),
        ({"attention_penalty": -1.0}, "--method.attention-penalty"),
        ({"attention": False}, "recurrent decoders"),
    ],
)
def test_options_that_cannot_work(options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Config(**options)
