"""A run from the first step to its folder: what it leaves, how it resumes, how it stops."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from small_runs import SOURCE, logged, small_settings, stopped_after

from likewise.cli.main import main
from likewise.data import DataConfig
from likewise.errors import (
    ConfigError,
    DataError,
    NonFiniteLoss,
    TooManyBadRecords,
    TrainingError,
)
from likewise.methods.catalog import methods
from likewise.methods.image_text.clip import CLIP
from likewise.model import load
from likewise.runs.folder import RunFolder
from likewise.runs.settings import (
    Settings,
    read_settings,
)
from likewise.runs.training_options import TrainingConfig
from likewise.training import checkpoints
from likewise.training.distributed import launch
from likewise.training.engine import prepare_run, train

METHODS = sorted(methods())


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoints.latest_checkpoint(run / "checkpoints")
    assert newest is not None
    return checkpoints.load_checkpoint(newest)["method"]


def assert_same_bits(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("method", METHODS)
def test_a_run_leaves_everything_it_promises(method: str, tmp_path: Path) -> None:
    run = train(small_settings(method), tmp_path / "run", show=False)
    lines = run.read_metrics()
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert {"loss", "learning_rate", "images_per_second", "waiting_share", "gradient_norm"} <= lines[0].keys()
    assert run.read_json(run.data)
    assert run.bad_records.is_file()
    assert read_settings(run.config).sections() == small_settings(method).sections()
    if method == "vqa":
        assert run.read_json(run.results)["vqa"]["num_questions"] > 16
        assert load(run.path).answer(np.zeros((40, 30, 3), np.uint8), "is it red?")[0][0].text
        return
    if method in ("entailment", "nlvr"):  # verdicts, and no embeddings
        image, model = np.zeros((40, 30, 3), np.uint8), load(run.path)
        images = (image,) if method == "entailment" else (image, image)
        judge = model.entail if method == "entailment" else model.compare
        verdict = judge(*images, "there is a red circle")[0]
        assert sum(verdict.probabilities.values()) == pytest.approx(1, abs=1e-5)
        assert run.read_json(run.results)[method]["num_items"] == {"entailment": 48, "nlvr": 16}[method]
        return
    if method == "text-assignment":
        assert run.read_json(run.results)[method]["num_images"] == 16
        assert set(load(run.path).compare(*[np.zeros((40, 30, 3), np.uint8)] * 2, "a")[0].probabilities) == {
            "first",
            "second",
            "neither",
        }
        return
    if method == "captioning":  # what it leaves writes sentences, and embeds nothing
        assert run.read_json(run.results)["captioning"]["num_images"] == 16
        assert len(load(run.path).caption(np.zeros((40, 30, 3), np.uint8))) == 1
        return
    if method == "simcse":
        assert run.read_json(run.results)["text-collapse"]["dimension"] > 0
        assert load(run.path).encode_texts("a red circle").shape == (1, load(run.path).dim)
        return
    assert run.read_json(run.results)["collapse"]["dimension"] > 0
    vectors = load(run.path).encode_images(np.zeros((40, 30, 3), np.uint8))
    assert vectors.shape == (1, load(run.path).dim)
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_resumed_equals_uninterrupted(method: str, tmp_path: Path) -> None:
    settings = small_settings(method)
    train(settings, tmp_path / "whole", show=False)

    with stopped_after(3, method) as stopped:
        train(settings, tmp_path / "cut", show=False)
    assert stopped.value.exit_code == 75
    train(settings, tmp_path / "cut", resume=True, show=False)
    assert_same_bits(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))
    steps = [
        json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    ]
    assert sorted(set(steps)) == [1, 2, 3, 4, 5, 6]


def test_a_run_whose_ema_encoder_was_called_twin_resumes(tmp_path: Path) -> None:
    with stopped_after(3, "byol"):
        train(small_settings("byol"), tmp_path / "run", show=False)
    newest = checkpoints.latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert newest is not None
    state = checkpoints.load_checkpoint(newest)
    state["method"] = {name.replace("ema_encoder.", "twin."): rows for name, rows in state["method"].items()}
    torch.save(state, newest)
    train(small_settings("byol"), tmp_path / "run", resume=True, show=False)
    train(small_settings("byol"), tmp_path / "whole", show=False)
    assert_same_bits(weights_of(tmp_path / "whole"), weights_of(tmp_path / "run"))


SMALL_CLIP = f"train clip --data {SOURCE} --quiet --image.image-size 32 --image.width 32 --image.depth 1"
SMALL_CLIP += " --text.width 32 --text.heads 2 --text.depth 1 --training.batch-size 16"
SMALL_CLIP += " --training.precision float32 --training.log-every 1 --training.evaluate-every 0"


def test_killed_at_random_moments_gives_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL, again and again, at moments nobody chose; then left to finish."""
    words = [sys.executable, "-m", "likewise.cli.main", *SMALL_CLIP.split()]
    words += ["--training.steps", "40", "--training.save-every", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*words, "--out", str(tmp_path / "whole")], check=True, env=environment)
    cut = [*words, "--out", str(tmp_path / "cut")]
    moments = random.Random(0)
    kills = 0
    while kills < 2:
        process = subprocess.Popen(cut, env=environment)
        # Wait until it trains, so that the kills fall on steps and checkpoints rather than on imports.
        before = _num_lines(tmp_path / "cut" / "metrics.jsonl")
        while process.poll() is None and _num_lines(tmp_path / "cut" / "metrics.jsonl") == before:
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.3))
        if process.poll() is not None:
            break
        process.kill()
        process.wait()
        kills += 1
        cut = [*cut, "--resume"] if kills == 1 else cut
    assert kills >= 1
    subprocess.run(cut, check=True, env=environment)
    assert_same_bits(weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut"))
    assert (tmp_path / "whole/model/model.safetensors").read_bytes() == (
        tmp_path / "cut/model/model.safetensors"
    ).read_bytes()


def test_two_replicas_train_what_one_does(tmp_path: Path) -> None:
    """Through the whole engine, with DDP over gloo: the same weights up to the rounding of float32 sums."""
    words = [*SMALL_CLIP.split(), "--training.steps", "3"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    main([*words, "--out", str(tmp_path / "one")])
    for name, pieces in (("two", []), ("pieces", ["--training.micro-batch-size", "3"])):
        by_two = [sys.executable, "-m", "likewise.cli.main", *words, "--training.devices", "2", *pieces]
        subprocess.run([*by_two, "--out", str(tmp_path / name)], check=True, env=environment)
    one = weights_of(tmp_path / "one")
    for name in ("two", "pieces"):
        for key, value in weights_of(tmp_path / name).items():
            torch.testing.assert_close(value, one[key], rtol=1e-2, atol=2e-4, msg=f"{name}: {key}")
        for figure in ("loss", "gradient_norm"):
            found = logged(tmp_path / name, figure)
            assert found == pytest.approx(logged(tmp_path / "one", figure), rel=1e-3), (name, figure)


def _num_lines(path: Path) -> int:
    return len(path.read_bytes().splitlines()) if path.is_file() else 0


def test_cached_gradients_equal_the_whole_batch(tmp_path: Path) -> None:
    """The same steps with pieces of 5 of 16 rows (the last one short), in float32 to rounding."""
    train(small_settings("clip", steps=3), tmp_path / "whole", show=False)
    train(small_settings("clip", steps=3, micro_batch_size=5), tmp_path / "pieces", show=False)
    whole, pieces = weights_of(tmp_path / "whole"), weights_of(tmp_path / "pieces")
    for name, value in whole.items():
        torch.testing.assert_close(pieces[name], value, rtol=2e-3, atol=2e-4, msg=name)
    # AdamW does not see a gradient that is scaled as a whole; its length does.
    assert logged(tmp_path / "pieces", "gradient_norm") == pytest.approx(
        logged(tmp_path / "whole", "gradient_norm"), rel=1e-3
    )


def test_a_training_in_a_thread_leaves_signals_alone(tmp_path: Path) -> None:
    """Python lets the main thread alone take signals."""
    before = signal.getsignal(signal.SIGTERM)
    with ThreadPoolExecutor() as threads:
        run = threads.submit(train, small_settings("simclr", steps=1), tmp_path / "run", show=False).result()
    assert logged(run.path, "loss")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_loss_that_is_not_finite_stops_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = CLIP.objective
    calls = []

    def broken(self: CLIP, embeddings, step):  # type: ignore[no-untyped-def]
        calls.append(1)
        terms = objective(self, embeddings, step)
        if len(calls) < 4:
            return terms
        return terms._replace(
            total=terms.total * float("nan"), parts={"softmax_loss": terms.total * float("nan")}
        )

    monkeypatch.setattr(CLIP, "objective", broken)
    with pytest.raises(NonFiniteLoss, match=r"softmax_loss.*step 4.*step-00000002") as caught:
        train(small_settings("clip"), tmp_path / "run", show=False)
    assert caught.value.exit_code == 5
    assert all(torch.isfinite(value).all() for value in weights_of(tmp_path / "run").values())


def test_resume_keeps_a_batch_size_that_was_named_once(tmp_path: Path) -> None:
    train(small_settings("clip", batch_size=8, steps=2), tmp_path / "run", show=False)
    run = train(small_settings("clip", batch_size=None, steps=2), tmp_path / "run", resume=True, show=False)
    assert read_settings(run.config).training.batch_size == 8


def test_a_refused_start_leaves_a_folder_that_can_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch-size"):
        train(small_settings("clip", batch_size=64), tmp_path / "run", show=False)
    train(small_settings("clip", steps=1), tmp_path / "run", show=False)


def test_data_that_changed_is_not_resumed_on(tmp_path: Path) -> None:
    train(small_settings("clip", steps=1), tmp_path / "run", show=False)
    data = json.loads((tmp_path / "run/data.json").read_text())
    (tmp_path / "run/data.json").write_text(json.dumps(data | {"fingerprint": "another"}))
    with pytest.raises(DataError, match="has changed"):
        train(small_settings("clip", steps=1), tmp_path / "run", resume=True, show=False)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model", None),
        ("report.html", "mine"),
        ("tokenizer.json", "{}"),
        ("data.json", "[1]"),
        ("data.json", "mine"),
        ("bad_records.jsonl", '{"mine": 1}'),
        ("bad_records.jsonl", "mine"),
        ("notes.txt", "mine"),
    ],
)
def test_a_folder_with_files_of_ones_own_is_left_alone(
    name: str, content: str | None, tmp_path: Path
) -> None:
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=f"no run .* holds {name}; name another"):
        train(small_settings("clip", steps=1), tmp_path, show=False)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert content is None or (tmp_path / name).read_text() == content


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    settings = small_settings("clip", steps=1)
    train(settings, tmp_path / "run", show=False)
    with pytest.raises(ConfigError, match="--resume"):
        train(settings, tmp_path / "run", show=False)
    other = dataclasses.replace(settings, training=dataclasses.replace(settings.training, seed=1))
    with pytest.raises(ConfigError, match=r"other settings than these: --training\.seed is 0, not 1\."):
        train(other, tmp_path / "run", resume=True, show=False)


def test_replicas_that_see_different_checkpoints_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = small_settings("clip", steps=2)
    run = train(settings, tmp_path / "run", show=False)
    fabric = launch(settings.training)
    monkeypatch.setattr(fabric, "all_gather", lambda step: torch.stack([step, step - 2]))
    with pytest.raises(TrainingError, match=r"different steps \(2, 0\): every machine must see the same"):
        prepare_run(settings, run, fabric, resume=True, show=False)


def test_two_trainings_never_share_a_folder(tmp_path: Path) -> None:
    run = train(small_settings("clip", steps=1), tmp_path / "run", show=False)
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    with FileLock(run.path / ".lock"):  # as another process would hold it
        for resume in (False, True):
            with pytest.raises(ConfigError, match="another process is training into"):
                train(small_settings("clip", steps=1), run.path, resume=resume, show=False)
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_a_refused_start_makes_no_folder(tmp_path: Path) -> None:
    settings = small_settings("clip")
    settings = dataclasses.replace(settings, data=DataConfig(source=str(tmp_path / "absent.csv")))
    with pytest.raises(DataError, match="absent"):
        train(settings, tmp_path / "run", show=False)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_vanishes_in_training_loses_no_steps(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    generator = np.random.default_rng(0)
    for number in range(12):
        pixels = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / f"{number}.png")
    settings = small_settings("simclr", batch_size=4, steps=30)
    data = DataConfig(source=str(pictures), cache_dir=str(tmp_path / "cache"), cache=False)
    settings = dataclasses.replace(settings, data=data)
    run, fabric = RunFolder(tmp_path / "run"), launch(settings.training)
    session = prepare_run(settings, run, fabric, show=False)

    def take_away(failure: str | None) -> None:
        """Asked after every step whether to stop."""
        if pictures.is_dir():
            pictures.rename(tmp_path / "away")

    with pytest.raises(DataError, match=r"The state after step \d+ is saved; --resume"), session.display:
        session.loop(take_away)
    (tmp_path / "away").rename(pictures)
    train(settings, run.path, resume=True, show=False)
    assert [int(step) for step in logged(run.path, "step")] == list(range(1, 31))
    whole = train(settings, tmp_path / "whole", show=False)
    assert_same_bits(weights_of(run.path), weights_of(whole.path))


def test_a_batch_larger_than_the_data_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--training\.batch-size 12"):
        train(small_settings("clip", batch_size=64), tmp_path / "run", show=False)


@pytest.mark.parametrize("method", ["simclr", "clip"])
@pytest.mark.parametrize(("share", "left"), [(0.001, 1), (0.999, 0)])
def test_one_row_is_too_few(method: str, share: float, left: int, tmp_path: Path) -> None:
    """Also where it is held out, so that there is not even a text to train a tokenizer on."""
    settings = small_settings(method, batch_size=None)
    table = write_pictures(tmp_path / "data", 1) / "table.csv"
    data = DataConfig(source=str(table), validation_share=share, cache_dir=str(tmp_path / "cache"))
    settings = dataclasses.replace(settings, data=data)
    with pytest.raises(DataError, match=f"training needs two rows or more, and the training part has {left}"):
        train(settings, tmp_path / "run", show=False)


def test_a_batch_size_that_nobody_named_fits_the_data(tmp_path: Path) -> None:
    settings = small_settings("clip", batch_size=None, steps=1)
    run = train(settings, tmp_path / "run", show=False)
    assert read_settings(run.config).training.batch_size == 48
    train(settings, tmp_path / "run", resume=True, show=False)


def test_refused_data_leaves_the_reasons_and_a_free_folder(tmp_path: Path) -> None:
    rows = [f"picture-{number}.png,a caption" for number in range(20)]
    (tmp_path / "captions.csv").write_text("image,caption\n" + "\n".join(rows) + "\n")
    settings = small_settings("clip")
    settings = dataclasses.replace(settings, data=DataConfig(source=str(tmp_path / "captions.csv")))
    with pytest.raises(TooManyBadRecords, match=r"picture-0\.png"):
        train(settings, tmp_path / "run", show=False)
    assert len((tmp_path / "run/bad_records.jsonl").read_text().splitlines()) == 20
    train(small_settings("clip", steps=1), tmp_path / "run", show=False)


def test_pieces_of_one_row_are_refused_where_batch_norm_would_see_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="parts of one"):
        train(small_settings("simclr", micro_batch_size=1), tmp_path / "run", show=False)
    train(small_settings("simclr", steps=1, batch_size=7, micro_batch_size=3), tmp_path / "run", show=False)


def test_a_logger_that_is_not_installed_leaves_a_free_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match="wandb"):
        train(small_settings("clip", steps=1, loggers=("wandb",)), tmp_path / "run", show=False)
    train(small_settings("clip", steps=1), tmp_path / "run", show=False)


@pytest.mark.parametrize("seed", [-1, 2**63, 99999999999999999999])
def test_a_seed_is_one_that_can_be_used(seed: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^--training\.seed is {seed}; it "):
        small_settings("simclr", seed=seed)
    run = train(small_settings("simclr", seed=2**63 - 1, steps=1), tmp_path / "run", show=False)
    assert read_settings(run.config).training.seed == 2**63 - 1


def test_averages_that_never_end_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--training\.betas are \(0\.9, 1\.0\)"):
        TrainingConfig(betas=(0.9, 1.0))


def test_data_that_was_moved_is_resumed_on(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for number in range(12):
        Image.new("RGB", (20, 20), (20 * number, 90, 30)).save(tmp_path / f"here/{number}.png")
    settings = small_settings("simclr", steps=1, batch_size=8)
    settings = dataclasses.replace(settings, data=DataConfig(source=str(tmp_path / "here")))
    run = train(settings, tmp_path / "run", show=False)
    (tmp_path / "here").rename(tmp_path / "there")
    moved = dataclasses.replace(settings, data=DataConfig(source=str(tmp_path / "there")))
    train(moved, run.path, resume=True, show=False)
    (tmp_path / "there/0.png").unlink()
    with pytest.raises(DataError, match="has changed"):
        train(moved, run.path, resume=True, show=False)


def write_pictures(folder: Path, count: int) -> Path:
    """A table that does not say in which folder its pictures are."""
    (folder / "pictures").mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (20, 20), (9 * number, 90, 30)).save(folder / f"pictures/{number}.png")
    lines = ["image,caption", *(f"{number}.png,caption {number}" for number in range(count))]
    (folder / "table.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_run_goes_on_where_all_of_its_data_was_moved(tmp_path: Path) -> None:
    """The table, the one it is validated on, the pictures and the cache; and it may log elsewhere."""

    def settings_at(place: Path, **training: object) -> Settings[Any]:
        data = DataConfig(
            source=str(place / "table.csv"),
            validation=str(place / "held/table.csv"),
            image_root=str(place / "pictures"),
            cache_dir=str(place / "cache"),
        )
        return dataclasses.replace(small_settings("clip", steps=3, batch_size=8, **training), data=data)

    here, there = write_pictures(tmp_path / "here", 12), tmp_path / "there"
    write_pictures(here / "held", 4)
    with stopped_after(1, "clip"):
        train(settings_at(here), tmp_path / "run", show=False)
    here.rename(there)
    shutil.rmtree(there / "cache")
    moved = settings_at(there, loggers=("tensorboard",), accelerator="cpu", devices=1)
    run = train(moved, tmp_path / "run", resume=True, show=False)
    assert logged(run.path, "step") == [1, 2, 3]
    assert list((there / "cache").iterdir())
    assert list((run.path / "tensorboard").iterdir())
    assert not here.exists()
    Image.new("RGB", (20, 20), "white").save(there / "pictures/0.png")
    with pytest.raises(DataError, match="has changed"):
        train(moved, run.path, resume=True, show=False)


def test_collapse_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A network whose embeddings are all the same is called collapsed, in plain words."""
    from likewise.networks.dual import DualNetwork

    monkeypatch.setattr(DualNetwork, "encode_images", lambda self, pixels: torch.ones(len(pixels), self.dim))
    train(small_settings("clip", steps=1), tmp_path / "run", show=True)
    assert "nearly all the same" in capsys.readouterr().err


def test_a_gradient_of_zero_is_warned_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    objective = CLIP.objective

    def flat(self: CLIP, embeddings, step):  # type: ignore[no-untyped-def]
        terms = objective(self, embeddings, step)
        return terms._replace(total=terms.total * 0)

    monkeypatch.setattr(CLIP, "objective", flat)
    train(small_settings("clip", steps=3), tmp_path / "run")
    assert capsys.readouterr().err.count("the gradient is exactly 0") == 1
