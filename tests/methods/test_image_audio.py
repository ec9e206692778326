"""CLIP on images and sounds: its data, the training, the model, its task, search and report."""

import dataclasses
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small_methods import build, context_of
from small_runs import SOUNDS, small_settings
from sound_files import tone, wav_bytes

import likewise
from likewise.cli import embed_command, evaluate_command
from likewise.data import DataConfig, prepare
from likewise.data.audio.sound_format import SoundFormat
from likewise.data.columns import Needs
from likewise.data.sounds import make_sounds
from likewise.errors import AbilityError, ConfigError, SourceError, TooManyBadRecords
from likewise.evaluation.context import Context
from likewise.evaluation.registry import default_tasks, evaluate, find_task, needs_of_tasks
from likewise.export.folder import export
from likewise.methods import base as method_module
from likewise.methods.base import Step
from likewise.methods.catalog import find_method
from likewise.metrics import retrieval
from likewise.model import load
from likewise.reporting.collect import report
from likewise.runs.folder import RunFolder
from likewise.runs.open import RunData, open_other
from likewise.search.build import IndexOptions, update_index
from likewise.search.terms import Term, query_vector
from likewise.step_random import StepRandom
from likewise.training.engine import train

METHOD = "clip-image-audio"
FORM = SoundFormat(rate=8000, seconds=1.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    settings = small_settings(METHOD, steps=40, learning_rate=3e-3, save_every=40)
    return train(settings, tmp_path_factory.mktemp("both") / "run", show=False)


def write_pairs(folder: Path, count: int, *, silent: int = 0, blind: int = 0) -> Path:
    """Images with sounds of the same names; the last images without, and further sounds without images."""
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
        if number < count - silent:
            (folder / f"{number:02}.wav").write_bytes(wav_bytes(tone(200 + 40 * number)))
    for number in range(blind):
        (folder / f"blind{number}.wav").write_bytes(wav_bytes(tone(900 + 40 * number)))
    return folder


def opened(source: Path, tmp_path: Path, **options: Any) -> Any:
    config = DataConfig(source=str(source), cache_dir=str(tmp_path / "cache"), **options)
    return prepare(config, image_size=16, needs=find_method(METHOD).needs, sounds=FORM)


def test_images_of_sounds_say_what_is_heard() -> None:
    made = make_sounds(300, seed=5, rate=8000, image_size=48)
    assert made.images is not None
    assert made.images.shape == (300, 3, 48, 48)
    fewer = make_sounds(40, seed=5, rate=8000, image_size=48)
    np.testing.assert_array_equal(fewer.images, made.images[:40])
    np.testing.assert_array_equal(make_sounds(40, seed=5, rate=8000).waves, fewer.waves)
    assert make_sounds(1, seed=5).images is None
    corners = made.images[:, :, :1, :1].astype(int)
    shape = (np.abs(made.images.astype(int) - corners).max(axis=1) > 60).astype(float)  # (N, S, S)
    area = shape.sum(axis=(1, 2))
    down, across = (shape.sum(axis=axis) @ np.arange(48) / area for axis in (2, 1))
    one, two = made.content.counts == 1, made.content.counts == 2
    heights = [np.median(down[one & (made.content.pitches[:, 0] == pitch)]) for pitch in range(3)]
    assert heights[0] > heights[1] + 8 > heights[2] + 16  # low ones lie at the bottom
    assert np.median(across[two & (made.content.main == 0)]) < 20  # the loud one is larger
    assert np.median(across[two & (made.content.main == 1)]) > 28
    with pytest.raises(ConfigError, match="the size must lie between 24 and 512 pixels, got 8"):
        make_sounds(1, seed=0, image_size=8)


def test_the_source_draws_images_for_those_who_need_them() -> None:
    both = prepare(
        DataConfig(source=SOUNDS), image_size=32, needs=find_method(METHOD).needs, sounds=FORM
    ).train
    heard = prepare(DataConfig(source=SOUNDS), image_size=None, needs=Needs("audio"), sounds=FORM).train
    assert both.has("image")
    assert not heard.has("image")
    np.testing.assert_array_equal(both.images(range(48), "audio"), heard.images(range(48), "audio"))
    seen = prepare(DataConfig(source=SOUNDS), image_size=32, needs=Needs("image")).train
    np.testing.assert_array_equal(both.images(range(48)), seen.images(range(48)))


def test_a_folder_pairs_files_of_one_name(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", 6, silent=1, blind=2)
    splits = opened(folder, tmp_path, validation_share=0.0, max_bad_share=0.5)
    assert splits.train.ids == [f"{number:02}.png" for number in range(5)]
    assert [(bad.id, bad.reason) for bad in splits.bad_records] == [("05.png", "no audio")]
    assert any("skipped 2 other files: 2 .wav" in note for note in splits.summary["notes"])
    loudest = np.abs(np.fft.rfft(splits.train.images([3], "audio").numpy()[0, :4000])).argmax() * 2
    assert abs(loudest - 320) <= 2
    pixels = np.asarray(Image.open(folder / "03.png"))
    np.testing.assert_allclose(
        splits.train.images([3]).float().mean(), pixels.mean(), atol=2
    )  # one row's image and sound


def test_a_sound_that_cannot_be_used_costs_no_image_where_sounds_are_not_read(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", 6, silent=1)
    (tmp_path / "outside.wav").write_bytes(wav_bytes(tone(300)))
    (folder / "05.wav").symlink_to(tmp_path / "outside.wav")
    splits = opened(folder, tmp_path, validation_share=0.0, max_bad_share=0.5)
    assert len(splits.train) == 5
    assert "leads outside the data's root" in splits.bad_records[0].reason
    config = DataConfig(source=str(folder), cache_dir=str(tmp_path / "cache"), validation_share=0.0)
    seen = prepare(config, image_size=16, needs=Needs("image"))
    assert len(seen.train) == 6
    assert not seen.bad_records


def test_a_table_names_both(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", 6, silent=1, blind=1)
    rows = [f"{number:02}.png,{number:02}.wav" for number in range(5)] + ["05.png,", ",blind0.wav"]
    (folder / "pairs.csv").write_text("image,audio\n" + "\n".join(rows) + "\n")
    splits = opened(folder / "pairs.csv", tmp_path, validation_share=0.0, max_bad_share=0.5)
    assert len(splits.train) == 5
    assert sorted(bad.reason.split(":")[0] for bad in splits.bad_records) == ["no audio", "no image"]
    with pytest.raises(TooManyBadRecords, match=r"2 of 7 records \(28.6%\) cannot be used") as refused:
        opened(folder / "pairs.csv", tmp_path)
    assert "pairs.csv:7: no audio" in str(refused.value)
    assert "pairs.csv:8: no image" in str(refused.value)


def test_a_shard_holds_both(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "pairs", 4, silent=1)
    with tarfile.open(tmp_path / "pairs.tar", "w") as shard:
        for path in sorted(folder.iterdir()):
            shard.add(path, path.name)
    splits = opened(tmp_path / "pairs.tar", tmp_path, validation_share=0.0, max_bad_share=0.5)
    assert len(splits.train) == 3
    assert splits.train.has("image")
    assert splits.train.has("audio")
    assert [bad.reason for bad in splits.bad_records] == ["no audio"]


def test_a_source_of_one_kind_is_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = write_pairs(tmp_path / "images", 4, silent=4)
    with pytest.raises(SourceError, match=r"sounds are needed, and .*Put a NAME.wav beside each NAME.jpg"):
        opened(folder, tmp_path)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "a.wav").write_bytes(wav_bytes(tone(300)))
    with pytest.raises(SourceError, match="images are needed, and this folder of sounds"):
        opened(tmp_path / "sounds", tmp_path)


def test_views_of_both_are_drawn_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were they keyed alike, the place of a crop would tell the gain."""
    method, loader = build(METHOD)
    audio: Any = type(method.network.audio)  # type: ignore[union-attr]
    numbers: dict[str, int] = {}
    made, heard = method_module.random_view, audio.random_view
    monkeypatch.setattr(
        method_module,
        "random_view",
        lambda *args, **options: (numbers.update(image=options["view"]), made(*args, **options))[1],
    )
    monkeypatch.setattr(
        audio,
        "random_view",
        lambda self, *args: (numbers.update(audio=args[-1]), heard(self, *args))[1],
    )
    method.embed(loader.batch(0), Step(StepRandom(0, 0)))
    assert numbers.keys() == {"image", "audio"}
    assert numbers["image"] != numbers["audio"]


def test_captions_are_not_read() -> None:
    method, loader = build(METHOD)
    batch = loader.batch(0)
    assert "text" not in batch
    assert set(method.embed(batch, Step(StepRandom(0, 0)))) == {"images", "sounds", "group"}


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_the_loss_is_clip_s(loss: str) -> None:
    made, loader = build(METHOD)
    method: Any = type(made)(dataclasses.replace(made.config, loss=loss), context_of(METHOD))
    step = Step(StepRandom(0, 0))
    found = method.embed(loader.batch(0), step)
    images, sounds = (
        torch.nn.functional.normalize(found[name].double(), dim=1) for name in ("images", "sounds")
    )
    same = found["group"][:, None] == found["group"]
    scale = 1 / method.network.temperature
    logits = scale * images @ sounds.T
    if loss == "sigmoid":
        logits = logits - 10
        signs = torch.eye(16).double() - (~same).double()  # copies of a pair are neither
        expected = -torch.nn.functional.logsigmoid(logits * signs)[signs != 0].sum() / 16
    else:
        masked = logits.masked_fill(same & ~torch.eye(16, dtype=torch.bool), -torch.inf)
        rows = torch.arange(16)
        ways = (torch.nn.functional.cross_entropy(way, rows) for way in (masked, masked.T))
        expected = sum(ways) / 2  # type: ignore[assignment]
    torch.testing.assert_close(method.objective(found, step).total.double(), expected, rtol=1e-4, atol=1e-5)


def test_figures_of_hand_made_embeddings() -> None:
    images = np.eye(4)
    sounds = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0.5, 0], [0, 0, 0, 1.0]])
    groups = np.arange(4)
    found = retrieval(images, sounds, groups, groups, names=("image", "sound"))
    # Images 0 and 3 find theirs first, image 2 second, image 1 ties with two others: last of them.
    assert found["image_to_sound_r1"] == 0.5
    assert found["sound_to_image_r1"] == 0.5
    assert found["image_to_sound_r5"] == 1
    assert found["chance_image_to_sound_r1"] == 0.25
    assert (found["num_images"], found["num_sounds"]) == (4, 4)
    assert not any("text" in key for key in found)


def test_a_tiny_set_is_learned(run: RunFolder) -> None:
    model = load(run.model)
    assert model.abilities == ["encode_images", "encode_audio"]
    assert (model.column, model.tokenizer, model.config["texts"]) == ("image", None, None)
    own = RunData(model, run.path).open()
    found = evaluate(Context(model, dataclasses.replace(own, validation=own.train)), "image-audio-retrieval")
    assert found["chance_image_to_sound_r1"] < 0.05
    assert min(found["image_to_sound_r1"], found["sound_to_image_r1"]) > 0.3
    results = run.read_results().own
    assert results["image-audio-retrieval"]["num_sounds"] == 16
    assert "retrieval" not in results
    monitored = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert any("image-audio-retrieval" in str(line) for line in monitored)


def test_a_new_process_embeds_alike(run: RunFolder, tmp_path: Path) -> None:
    model = load(run.model)
    folder = write_pairs(tmp_path / "pairs", 2)
    expected = np.concatenate([model.encode_images(folder / "01.png"), model.encode_audio(folder / "01.wav")])
    code = (
        "import sys, numpy, likewise; model = likewise.load(sys.argv[1])\n"
        "both = model.encode_images(sys.argv[2] + '.png'), model.encode_audio(sys.argv[2] + '.wav')\n"
        "numpy.save(sys.argv[3], numpy.concatenate(both))"
    )
    arguments = [sys.executable, "-c", code, run.model, folder / "01", tmp_path / "both.npy"]
    subprocess.run(list(map(str, arguments)), check=True)
    np.testing.assert_allclose(np.load(tmp_path / "both.npy"), expected, atol=1e-6)
    with pytest.raises(AbilityError, match="cannot encode texts, it can encode images and encode audio"):
        model.encode_texts(["a tone"])


def test_the_task_is_for_models_of_both(run: RunFolder) -> None:
    task = find_task("image-audio-retrieval")

    class Other:
        def __init__(self, *abilities: str) -> None:
            self.abilities = list(abilities)

    model: Any
    for model in (Other("encode_images"), Other("encode_audio"), Other("encode_audio", "encode_texts")):
        assert not task.fits(model)
    assert find_task("neighbours").fits(Other("encode_audio"))  # type: ignore[arg-type]
    own = RunData(load(run.model), run.path).open()
    assert {"image-audio-retrieval", "neighbours", "collapse"} <= set(default_tasks(load(run.model), own))


def test_other_data_is_measured(run: RunFolder, tmp_path: Path) -> None:
    model = load(run.model)
    needs = needs_of_tasks(model, "image-audio-retrieval")
    config = DataConfig(
        source=str(write_pairs(tmp_path / "pairs", 6, silent=1)),
        cache_dir=str(tmp_path / "cache"),
        max_bad_share=0.5,
    )
    splits = open_other(model, run.model, config, needs=needs)
    assert [bad.reason for bad in splits.bad_records] == ["no audio"]
    assert splits.validation is not None
    whole = dataclasses.replace(splits, validation=splits.validation.joined(splits.train))
    assert evaluate(Context(model, whole), "image-audio-retrieval")["num_images"] == 5


def test_a_training_starts_from_another(run: RunFolder, tmp_path: Path) -> None:
    small = {"training__steps": 1, "training__batch_size": 16, "training__loggers": (), "show": False}
    start = {"training__start_from": str(run.path)}
    again = likewise.train(method=METHOD, data=SOUNDS, out=tmp_path / "a", **small, **start)
    rate = load(again.model).encoder_of("audio").form.rate  # type: ignore[attr-defined]
    assert rate == 8000
    with pytest.raises(ConfigError, match="takes sounds of another rate or length"):
        likewise.train(method=METHOD, data=SOUNDS, out=tmp_path / "b", audio__seconds=2.0, **small, **start)
    with pytest.raises(ConfigError, match=r"trained by the softmax loss.*use --method.loss softmax"):
        likewise.train(
            method=METHOD, data=SOUNDS, out=tmp_path / "c", method__loss="sigmoid", **small, **start
        )
    seen = likewise.train(method="simclr", data="scenes:train=32", out=tmp_path / "d", **small, **start)
    assert load(seen.model).abilities == ["encode_images"]
    with pytest.raises(ConfigError, match="reads images, and that of simclr-audio sounds"):
        likewise.train(method="simclr-audio", data=SOUNDS, out=tmp_path / "e", **small, **start)


def test_images_are_searched_by_a_sound_and_sounds_by_an_image(run: RunFolder, tmp_path: Path) -> None:
    model = load(run.model)
    folder = write_pairs(tmp_path / "pairs", 5)
    heard, seen = folder / "02.wav", folder / "02.png"
    by_sound = query_vector(model, [Term(image=str(heard))])
    np.testing.assert_allclose(by_sound, np.asarray(model.encode_audio(heard))[0], atol=1e-6)
    by_image = query_vector(model, [Term(image=seen)])
    np.testing.assert_allclose(by_image, model.encode_images(seen)[0], atol=1e-6)
    for what, query, file in (("images", by_sound, heard), ("audio", by_image, seen)):
        index = update_index(model, str(folder), tmp_path / what, IndexOptions(what=what)).index
        assert (index.size, index.manifest.what) == (5, what)
        vectors = (model.encode_images if what == "images" else model.encode_audio)(
            sorted(folder.glob("*.png" if what == "images" else "*.wav"))
        )
        # Scores of two images say nothing of those of an image and a sound.
        assert np.isnan(index.percentile(np.zeros(1, np.float32), [Term(image=file)])).all()
        assert index.best_of_random([Term(image=file)]) == -1
        order = np.argsort(-np.asarray(vectors) @ query)
        assert index.search(query[None], 5).rows[0].tolist() == order.tolist()


def test_an_index_says_what_its_source_lacks(run: RunFolder, tmp_path: Path) -> None:
    model = load(run.model)
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "a.wav").write_bytes(wav_bytes(tone(300)))
    with pytest.raises(SourceError, match=r"folder of sounds has no images; .*\(--what audio\)"):
        update_index(model, str(tmp_path / "sounds"), tmp_path / "index")
    images = write_pairs(tmp_path / "images", 2, silent=2)
    with pytest.raises(SourceError, match=r"has no sounds; put a NAME.wav beside each NAME.jpg"):
        update_index(model, str(images), tmp_path / "index", IndexOptions(what="audio"))
    made = update_index(model, str(tmp_path / "sounds"), tmp_path / "index", IndexOptions(what="audio"))
    assert repr(made.index).startswith("<Index of 1 sounds,")


def test_the_report_plays_the_sounds_of_images(run: RunFolder, tmp_path: Path) -> None:
    page = report(run.path, tmp_path / "report.html").read_text()
    words = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert "From sound to image" in words
    assert "From image to sound" in words
    assert "Sound to image, R@1" in words
    assert "16 images and 16 sounds of the validation part" in words
    retrievals = page[page.index('id="retrievals"') : page.index("</section>", page.index('id="retrievals"'))]
    players = retrievals.count("<audio ")
    assert players > retrievals.count('class="image') > 0  # sounds alone, and images with theirs


def test_commands(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    evaluate_command.run([str(run.path), "image-audio-retrieval"])
    assert "Image to sound, R@1" in capsys.readouterr().out
    model = load(run.model)
    data = RunData(model, run.path).open().validation
    for what, column in (("images", "image"), ("audio", "audio")):
        embed_command.run([str(run.path), "--what", what, "--out", f"{what}.npy", "--part", "validation"])
        expected = model.encode_dataset_images(data, column=column)  # type: ignore[arg-type]
        np.testing.assert_allclose(np.load(f"{what}.npy"), expected, atol=1e-6)


def test_an_export_says_what_it_lacks(run: RunFolder, tmp_path: Path) -> None:
    exported = export(load(run.model), tmp_path / "out", format="torch")
    assert exported.notes == ("The audio encoder is not in it.",)
    assert "The audio encoder is not in it." in (tmp_path / "out" / "README.md").read_text()
