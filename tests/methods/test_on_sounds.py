"""Methods on sounds: trained, resumed, with cached gradients; the model, its tasks and its report."""

import base64
import dataclasses
import io
import json
import re
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import METHOD_OPTIONS, logged, stopped_after
from sound_files import tone, wav_bytes, write_sounds

import likewise
from likewise.batches.batch import Batch
from likewise.cli import data_command, embed_command, evaluate_command, methods_command
from likewise.data import DataConfig
from likewise.encoders import ImageEncoder, ImageEncoderConfig
from likewise.errors import AbilityError, ConfigError, DataError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import default_tasks, evaluate, needs_of_tasks
from likewise.methods.base import BuildContext, Progress, Step
from likewise.methods.catalog import find_method, methods
from likewise.methods.on_sounds import SOUND_METHODS
from likewise.model import load
from likewise.networks.image import ImageNetwork
from likewise.reporting.collect import report
from likewise.reporting.examples.sounds import spectrogram_colours
from likewise.reporting.sound_words import template_in_sounds
from likewise.runs.folder import RunFolder
from likewise.runs.open import RunData, open_data
from likewise.runs.settings import Settings, default_settings, read_settings, write_settings
from likewise.search.build import update_index
from likewise.search.terms import Term, query_vector
from likewise.step_random import StepRandom
from likewise.training.engine import train

SOURCE = "sounds:train=48,validation=24,seed=3,rate=8000"


def small_sounds(method: str, **training: Any) -> Settings[Any]:
    settings = default_settings(find_method(f"{method}-audio"), SOURCE)
    options = {
        "steps": 4,
        "batch_size": 16,
        "log_every": 1,
        "evaluate_every": 0,
        "loggers": (),
        "save_every": 2,
    }
    audio = {"width": 8, "depth": 10, "sample_rate": 8000, "mels": 32, "seconds": 1.5, "hop_ms": 40.0}
    return dataclasses.replace(
        settings,
        audio=dataclasses.replace(settings.audio, **audio),
        text=dataclasses.replace(settings.text, vocabulary_size=300, width=32, depth=1, heads=2),
        method=dataclasses.replace(settings.method, **METHOD_OPTIONS.get(method, {})),
        training=dataclasses.replace(settings.training, **(options | training)),
    )


@pytest.fixture(scope="module")
def clip_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train(small_sounds("clip"), tmp_path_factory.mktemp("clip") / "run", show=False)


def test_names_and_words() -> None:
    assert set(SOUND_METHODS) <= set(methods())
    for name in SOUND_METHODS:
        plain, method = find_method(name), find_method(f"{name}-audio")
        assert method is find_method(f"{name}-audio")
        assert issubclass(method, plain)
        assert "image" not in method.needs
        assert "audio" in method.needs
        assert "image" not in method.summary + method.idea + method.choose_when
    assert str(find_method("clip-audio").needs) == "audio, text"
    for unknown in ("tcl-audio", "clip-video", "-audio"):
        with pytest.raises(ConfigError, match="no method is called"):
            find_method(unknown)


@pytest.mark.parametrize("method", sorted(set(SOUND_METHODS) - {"clip"}))
def test_every_method_trains_on_sounds(method: str, tmp_path: Path) -> None:
    run = train(small_sounds(method, steps=2), tmp_path / "run", show=False)
    assert np.isfinite(logged(run.path, "loss")).all()
    model = load(run.model)
    assert model.abilities == ["encode_audio"]
    assert "neighbours" in json.loads(run.results.read_text())
    again = read_settings(run.config)
    assert (again.method_name, again.audio.mels) == (f"{method}-audio", 32)


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    settings = small_sounds("simclr")
    whole = train(settings, tmp_path / "whole", show=False)
    with stopped_after(2, "simclr"):  # simclr-audio inherits what is patched
        train(settings, tmp_path / "stopped", show=False)
    resumed = train(settings, tmp_path / "stopped", resume=True, show=False)
    weights = load(resumed.model).network.state_dict()
    for name, weight in load(whole.model).network.state_dict().items():
        assert torch.equal(weight, weights[name])


def test_cached_gradients_equal_the_whole_batch(tmp_path: Path) -> None:
    # A ViT: BatchNorm would see the pieces apart.
    def trained(name: str, **training: Any) -> list[float]:
        settings = small_sounds("clip", **training)
        vit = {"architecture": "vit", "width": 32, "depth": 1, "heads": 2, "patch_size": 8}
        settings = dataclasses.replace(settings, audio=dataclasses.replace(settings.audio, **vit))
        return logged(train(settings, tmp_path / name, show=False).path, "loss")

    plain, cached = trained("plain"), trained("cached", micro_batch_size=4)
    np.testing.assert_allclose(plain, cached, rtol=1e-4)


def test_the_model_embeds_files_and_datasets_alike(clip_run: RunFolder, tmp_path: Path) -> None:
    model = load(clip_run.model)
    assert model.abilities == ["encode_audio", "encode_texts"]
    assert "encode_audio" in (clip_run.model / "README.md").read_text()
    splits = RunData(model, clip_run.path).open()
    assert splits.validation is not None
    stored = splits.validation.images(range(4), "audio").numpy()
    form = model.image_encoder.form  # type: ignore[attr-defined]
    paths = [tmp_path / f"{number}.wav" for number in range(4)]
    for path, samples in zip(paths, stored, strict=True):
        path.write_bytes(wav_bytes(samples / 32767, form.rate))
    expected = model.encode_dataset_images(splits.validation.subset(range(4)))
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(model.encode_audio(paths), expected, atol=2e-3)
    pairs = [(samples, form.rate) for samples in stored]
    np.testing.assert_allclose(model.encode_audio(pairs, batch_size=3), expected, atol=2e-3)
    assert model.encode_audio(paths[0], return_tensors="pt").shape == (1, model.dim)
    with pytest.raises(AbilityError, match="cannot encode images, it can encode audio and encode texts"):
        model.encode_images([np.zeros((8, 8, 3), np.uint8)])
    with pytest.raises(DataError, match=r"none.wav: cannot be read"):
        model.encode_audio(tmp_path / "none.wav")
    with pytest.raises(AbilityError, match="does not compare images with texts"):
        model.explain([np.zeros((8, 8, 3), np.uint8)], ["a tone"])


def test_a_model_of_images_has_no_ears() -> None:
    network = ImageNetwork(ImageEncoder.build(ImageEncoderConfig(image_size=32, width=32, depth=1)))
    assert network.abilities() == ["encode_images"]


def test_tasks_of_sounds(clip_run: RunFolder) -> None:
    results = json.loads(clip_run.results.read_text())
    assert {"retrieval", "neighbours", "zero-shot"} <= set(results)
    assert results["retrieval"]["num_images"] == 24
    assert results["zero-shot"]["num_items"] == 24
    model = load(clip_run.model)
    own = RunData(model, clip_run.path).open()
    assert {"retrieval", "zero-shot", "probe", "collapse"} <= set(default_tasks(model, own))


def test_another_source_of_files_is_measured(clip_run: RunFolder, tmp_path: Path) -> None:
    write_sounds(tmp_path / "data" / "low", 4)
    write_sounds(tmp_path / "data" / "high", 3)
    model = load(clip_run.model)
    needs = needs_of_tasks(model, "zero-shot")
    assert "image" not in needs
    config = DataConfig(source=str(tmp_path / "data"), cache_dir=str(tmp_path / "cache"))
    splits, _ = open_data(model, clip_run.model, config, needs=needs)
    whole = dataclasses.replace(splits, validation=splits.validation or splits.train)
    assert 0 <= evaluate(Context(model, whole), "zero-shot")["accuracy"] <= 1


def test_views_are_keyed_and_repeated_rows_differ() -> None:
    method = find_method("simclr-audio")
    settings = small_sounds("simclr")
    made = method(settings.method, BuildContext(audio=settings.audio, views={"views": settings.views}))
    wave = torch.from_numpy((tone(440, rate=8000, seconds=1.5) * 32767).astype(np.int16))
    batch = Batch(
        index=torch.tensor([3, 3, 5]),
        occurrence=torch.tensor([0, 1, 0]),
        audio=wave.expand(3, -1).contiguous(),
    )
    views = made.views(batch, Step(StepRandom(0, 0), Progress(0, 1)), 2)
    assert views.shape == (6, 1, 32, 38)
    assert len({row.sum().item() for row in views}) == 6
    part = made.views(batch.rows(2, 3), Step(StepRandom(0, 0), Progress(0, 1)), 2)
    torch.testing.assert_close(part, views[[2, 5]], atol=1e-4, rtol=0)


def test_settings_are_written_and_read(tmp_path: Path) -> None:
    settings = small_sounds("clip")
    write_settings(settings, tmp_path / "config.toml")
    text = (tmp_path / "config.toml").read_text()
    assert "[audio]" in text
    assert "[image]" not in text
    assert read_settings(tmp_path / "config.toml") == settings


def test_options_of_the_other_kind_of_file_are_refused(tmp_path: Path) -> None:
    small = {"training__steps": 1, "show": False}
    with pytest.raises(ConfigError, match=r"--data.fit: simclr-audio reads no images"):
        likewise.train(method="simclr-audio", data=SOURCE, out=tmp_path / "a", data__fit="pad", **small)
    with pytest.raises(ConfigError, match=r"--data.audio-seconds: simclr reads no sounds"):
        likewise.train(method="simclr", data="scenes", out=tmp_path / "b", data__audio_seconds=3.0, **small)


def test_the_report_shows_and_plays_sounds(clip_run: RunFolder, tmp_path: Path) -> None:
    page = report(clip_run.path, tmp_path / "report.html").read_text()
    players = re.findall(r'<audio [^>]*src="data:audio/wav;base64,([^"]+)"', page)
    assert len(players) > 20
    with wave.open(io.BytesIO(base64.b64decode(players[0]))) as opened:
        assert opened.getframerate() == 8000
        assert 0.5 < opened.getnframes() / 8000 <= 1.5
        samples = np.frombuffer(opened.readframes(100_000), np.uint8).astype(float) - 128
        assert np.abs(samples).max() > 8
    assert "media-src data:" in page
    assert page.count('class="image') == len(players)  # each spectrogram has its player
    words = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    assert "From text to sound" in words
    assert "Text to sound, R@1" in words
    assert "Right sound first" in words
    assert not re.search(r"\b(https?:)?//[a-z]", " ".join(re.findall(r'src="([^"]{0,60})', page)))
    assert RunFolder(clip_run.path).report.name == "report.html"


def test_words_of_sounds_leave_markup_and_users_alone() -> None:
    template = '<img class="image">An image {{ image(x, "No image has it") }} images {% if image %}photo'
    expected = '<img class="image">A sound {{ image(x, "No sound has it") }} sounds {% if image %}recording'
    assert template_in_sounds(template) == expected


def test_spectrograms_in_colour() -> None:
    made = spectrogram_colours(np.linspace(0, 1, 12, dtype=np.float32).reshape(1, 3, 4))
    assert made.shape == (1, 3, 3, 4)
    assert made[0, :, 2, 0].sum() < 10  # the lowest band lies at the bottom, and is dark here
    assert made[0, :, 0, 3].sum() > 600


def test_commands(
    clip_run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "all.npy"
    embed_command.run([str(clip_run.path), "--out", str(out), "--part", "validation"])
    vectors = np.load(out)
    assert vectors.shape == (24, 256)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    evaluate_command.run([str(clip_run.path), "retrieval"])
    printed = capsys.readouterr().out
    assert "Text to sound, R@1" in printed
    write_sounds(tmp_path / "data", 5)
    (tmp_path / "data" / "silent.wav").write_bytes(wav_bytes(np.zeros(50)))
    data_command.run([str(tmp_path / "data")])
    printed = capsys.readouterr().out
    assert re.search(r"sounds +5: 0\.30 to 0\.70 s, median 0\.50 s", printed)
    assert "silence: every sample is 0" in printed
    with pytest.raises(ConfigError, match="views of sounds are not drawn"):
        data_command.run([str(tmp_path / "data"), "--views", "simclr-audio"])
    methods_command.run([])
    assert "simclr-audio" in capsys.readouterr().out
    methods_command.run(["clip-audio"])
    assert "clip-audio: a sound and its caption are positives" in capsys.readouterr().out


def test_a_training_starts_from_another_of_sounds(clip_run: RunFolder, tmp_path: Path) -> None:
    small = {"training__steps": 1, "training__batch_size": 16, "training__loggers": (), "show": False}
    start = {"training__start_from": str(clip_run.path)}
    run = likewise.train(method="simclr-audio", data=SOURCE, out=tmp_path / "a", **small, **start)
    settings = read_settings(run.config)
    assert (settings.audio.sample_rate, settings.audio.seconds) == (8000, 1.5)
    assert load(run.model).image_encoder.settings == load(clip_run.model).image_encoder.settings  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="takes sounds of another rate or length"):
        likewise.train(
            method="simclr-audio", data=SOURCE, out=tmp_path / "b", audio__seconds=2.0, **small, **start
        )
    with pytest.raises(ConfigError, match="reads sounds, and that of simclr images"):
        likewise.train(method="simclr", data="scenes", out=tmp_path / "c", **small, **start)


def test_an_index_of_sounds_is_searched_by_words_and_sounds(clip_run: RunFolder, tmp_path: Path) -> None:
    model = load(clip_run.model)
    folder = tmp_path / "data"
    paths = write_sounds(folder, 6)
    (folder / "silent.wav").write_bytes(wav_bytes(np.zeros(50)))
    update = update_index(model, str(folder), tmp_path / "sounds.index")
    assert (update.index.size, update.added, [bad.id for bad in update.bad]) == (6, 6, ["silent.wav"])
    words = query_vector(model, [Term(text="a low tone, then two clicks")])
    assert update.index.search(words[None], 3).rows.shape == (1, 3)
    heard = query_vector(model, [Term(image=str(paths[4]))])
    np.testing.assert_allclose(heard, np.asarray(model.encode_audio(paths[4]))[0], atol=1e-6)
    [found] = update.index.search(heard[None], 1).rows[0]
    assert update.index.table.column("id")[int(found)].as_py() == "04.wav"
    assert update_index(model, str(folder), tmp_path / "sounds.index").added == 0
    generated = update_index(model, "sounds:train=5,validation=3,rate=16000", tmp_path / "made.index")
    assert generated.index.size == 8
    assert generated.index.manifest.what == "audio"
