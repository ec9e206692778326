"""The command line: help, one-line errors with their exit codes, and each command on a small run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from small_runs import SOURCE, small_settings

from likewise.cli.main import COMMANDS, main
from likewise.data import DataConfig
from likewise.errors import ConfigError
from likewise.methods.base import Progress
from likewise.methods.catalog import methods
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, build_settings, parse_tables, preset_tables, read_settings
from likewise.training.engine import train


@pytest.fixture(scope="module")
def clip_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small_settings("clip", steps=2), tmp_path_factory.mktemp("clip") / "run", show=False).path


def exit_code(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(words))
    code = left.value.code
    return 0 if code is None else int(code)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from likewise.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'numpy', 'tyro', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


def test_import_is_light() -> None:
    code = "import sys, likewise; assert not {'transformers', 'torch'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):
        main([command, "--help"])
    assert "usage" in capsys.readouterr().out


def test_errors_are_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert exit_code("trian") == 2
    assert "did you mean 'train'" in capsys.readouterr().err
    assert exit_code("train", "clp", "--data", "scenes") == 2
    assert "did you mean 'clip'" in capsys.readouterr().err
    assert exit_code("report", str(tmp_path)) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert exit_code("evaluate", str(tmp_path / "none")) == 4
    assert (
        exit_code("train", "clip", "--data", str(tmp_path / "none.csv"), "--out", str(tmp_path / "run")) == 3
    )
    message = capsys.readouterr().err
    assert "none.csv" in message
    assert "Traceback" not in message


def test_the_source_of_a_training_may_stand_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    for words in (["none.csv"], ["--data", "none.csv"]):
        assert exit_code("train", "clip", *words, "--out", out) == 3
        assert capsys.readouterr().err.startswith("likewise train: none.csv: there is no such file")


def test_reasons_and_remedies_stand_on_lines_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text('image,caption\n"/old/1.png\nlikewise: forged",one\n/old/2.png,two\n')
    assert exit_code("train", "clip", "t.csv", "--out", "run") == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("likewise train: 2 of 2 records (100.0%) cannot be used")
    assert [line.split(" ")[0] for line in lines[2:]] == ["Try:", "All"]
    assert lines[1].endswith("1.png\\nlikewise: forged (and 1 more)")


def test_python_can_run_the_package(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "likewise", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("likewise ")


def test_an_unknown_option_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("train", "clip", "--data", "scenes", "--training.lerning-rate", "1") == 2
    assert "--training.learning-rate" in capsys.readouterr().err


def test_evaluate_prints_and_keeps_figures(clip_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["evaluate", str(clip_run), "retrieval", "--json"])
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((clip_run / "results.json").read_text())["retrieval"]
    assert printed["retrieval"]["image_to_text_r10"] == pytest.approx(kept["image_to_text_r10"])
    main(["evaluate", str(clip_run)])
    assert "Image to text, R@1" in capsys.readouterr().out
    assert exit_code("evaluate", str(clip_run), "retreival") == 2


@pytest.mark.parametrize("what", ["images", "texts"])
def test_embed_writes_unit_vectors(clip_run: Path, tmp_path: Path, what: str) -> None:
    main(["embed", str(clip_run), "--out", str(tmp_path / "all.parquet"), "--what", what])
    main(["embed", str(clip_run), "--out", str(tmp_path / "all.npy"), "--what", what])
    table = pq.read_table(tmp_path / "all.parquet")
    vectors = np.load(tmp_path / "all.npy")
    assert table.num_rows == len(vectors) == 64
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.array(table["embedding"].to_pylist()), vectors, atol=1e-6)
    assert len((tmp_path / "all.ids.txt").read_text().splitlines()) == 64
    assert exit_code("embed", str(clip_run), "--out", str(tmp_path / "all.txt")) == 2


@pytest.fixture
def own_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run on the table beside it, read by options of its own: of 20 rows 4 are held out, and
    6 are of a part that is neither."""
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "home"
    home.mkdir()
    write_table(home / "table.csv", {"train": 10, "held": 4, "extra": 6}, seed=1)
    monkeypatch.chdir(home)
    settings = small_settings("clip", steps=1, batch_size=8)
    data = DataConfig(source="table.csv", split_column="set", validation_split="held")
    train(dataclasses.replace(settings, data=data), "run", show=False)
    return home


def write_table(path: Path, parts: dict[str, int], seed: int) -> None:
    rows, generator = ["image,caption,set"], np.random.default_rng(seed)
    for part, count in parts.items():
        for number in range(count):
            name = f"{part}{number}.png"
            pixels = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path.parent / name)
            rows.append(f"{name},{part} caption {number},{part}")
    path.write_text("\n".join(rows) + "\n")


def embedded_ids(*words: str) -> list[str]:
    main(["embed", *words, "--out", "e.npy"])
    return Path("e.ids.txt").read_text().splitlines()


def test_a_runs_data_that_was_moved_keeps_its_parts(
    own_table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    held_out = embedded_ids("run", "--part", "validation")
    assert held_out == [f"held{number}.png" for number in range(4)]
    moved = own_table.parent / "moved"
    moved.mkdir()
    for path in own_table.glob("*.*"):
        path.rename(moved / path.name.replace("table", "renamed"))
    monkeypatch.chdir(moved)
    run = str(own_table / "run")
    assert exit_code("embed", run, "--out", "e.npy") == 3
    assert "say where it is with --data" in capsys.readouterr().err
    assert embedded_ids(run, "--data", "renamed.csv", "--part", "validation") == held_out
    assert len(embedded_ids(run, "--data", "renamed.csv")) == 14
    (flags,) = re.findall(r"6 rows of the part extra; add (.*) to embed them", capsys.readouterr().out)
    assert embedded_ids(run, *shlex.split(flags)) == [f"extra{number}.png" for number in range(6)]
    capsys.readouterr()
    extra = ["--data", "renamed.csv", "--data.validation-split", "extra"]
    main(["evaluate", run, "retrieval", *extra, "--json"])
    measured = json.loads(capsys.readouterr().out)["retrieval"]
    assert (measured["num_images"], measured["num_left_out"]) == (6, 0)


def test_another_table_in_the_place_of_a_runs_own_is_warned_of(
    own_table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = own_table.parent / "other"
    other.mkdir()
    write_table(other / "table.csv", {"train": 7, "held": 2}, seed=2)
    embedded_ids("run")
    assert "warning" not in capsys.readouterr().err
    monkeypatch.chdir(other)
    assert len(embedded_ids(str(own_table / "run"))) == 9
    assert "warning: table.csv is not as it was when training read it." in capsys.readouterr().err


def test_the_flags_that_embed_a_part_left_out_do_embed_it(
    clip_run: Path, own_table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(clip_run), "--data", "table.csv", "--data.split-column", "set", "--data.no-cache"]
    embedded_ids(*words)
    said = capsys.readouterr().out
    for part, count in {"extra": 6, "held": 4}.items():
        (flags,) = re.findall(rf"{count} rows of the part {part}; add (.*) to embed them", said)
        assert embedded_ids(*words, *shlex.split(flags)) == [f"{part}{i}.png" for i in range(count)]
    Path("sentences.txt").write_text("one sentence\nanother one\n")
    plain = ["--data", "sentences.txt", "--what", "texts", "--data.validation-split", "extra"]
    assert exit_code("embed", str(clip_run), *plain, "--out", "e.npy") == 3
    assert "asks for 'extra', but no record names a split" in capsys.readouterr().err


def test_embeddings_are_replaced_whole_or_not_at_all(
    clip_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text('text,id\na red circle,"one\nmore"\na blue square,two\n')
    words = ["embed", str(clip_run), "--data", "table.csv", "--what", "texts", "--out"]
    assert exit_code(*words, "e.npy") == 3  # an id a line would be one line too many
    main([*words, "e.parquet"])
    assert pq.read_table("e.parquet")["id"].to_pylist() == ["one\nmore", "two"]
    Path("table.csv").write_text("text,id\na red circle,one\na blue square,two\n")
    main([*words, "e.npy"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", full)
    monkeypatch.setattr(pq, "write_table", full)
    for name in ("e.npy", "e.parquet"):
        assert exit_code(*words, name) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_source_without_parts_is_measured_whole(clip_run: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    from likewise.data.scenes import draw_scenes

    scenes = draw_scenes(30, seed=9, size=32)
    lines = ["image,caption"]
    for number, (pixels, caption) in enumerate(zip(scenes.images, scenes.captions, strict=True)):
        Image.fromarray(pixels.transpose(1, 2, 0)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{caption} {number}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    main(["evaluate", str(clip_run), "retrieval", "--data", str(tmp_path / "table.csv"), "--json"])
    assert json.loads(capsys.readouterr().out)["retrieval"]["num_images"] == 30
    (tmp_path / "sentences.txt").write_text("a red circle\na blue square\n")
    sentences = ["--data", str(tmp_path / "sentences.txt"), "--what", "texts"]
    main(["embed", str(clip_run), *sentences, "--out", str(tmp_path / "sentences.npy")])
    assert np.load(tmp_path / "sentences.npy").shape[0] == 2


def test_report_is_written(clip_run: Path) -> None:
    main(["report", str(clip_run)])
    page = (clip_run / "report.html").read_text()
    assert "<html" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_data_shows_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    main(["data", "scenes:train=40,validation=10", "--views", "clip"])
    assert "50" in capsys.readouterr().out
    assert (tmp_path / "contact-sheet.png").stat().st_size > 1000
    assert (tmp_path / "views.png").stat().st_size > 1000


def test_sheets_do_not_become_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:  # type: ignore[no-untyped-def]
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 40), (80 * number, 9, 9)).save(photos / f"{number}.png")
    monkeypatch.chdir(photos)
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    main(["data", ".", "--views", "simclr"])
    shown = capsys.readouterr().out
    assert f"contact sheet: {tmp_path / 'contact-sheet.png'}" in shown
    assert f"views: {tmp_path / 'views.png'}" in shown
    assert sorted(path.name for path in photos.iterdir()) == ["0.png", "1.png", "2.png"]
    assert (tmp_path / "views.png").stat().st_size > 1000


def test_sheets_of_a_pattern_do_not_match_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (40, 40), (80 * number, 9, 9)).save(photos / f"{number}.png")
    monkeypatch.chdir(photos)
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))
    for source in ("*.png", f"file://{photos}", f"{photos}/[0-9].png", "../photos/*.png"):
        main(["data", source])
        assert (tmp_path / "contact-sheet.png").is_file()
        (tmp_path / "contact-sheet.png").unlink()
        assert sorted(path.name for path in photos.iterdir()) == ["0.png", "1.png", "2.png"]


def test_what_is_known_of_data_stands_on_a_line_each_for_programs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (40, 40), (9, 9, 9)).save(tmp_path / "1.png")
    (tmp_path / "t.csv").write_text("image,caption\n1.png,a caption\n")
    main(["data", str(tmp_path / "t.csv"), "--sheet", "", "--data.no-cache"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["source", str(tmp_path / "t.csv")]
    assert len(lines[0]) > 80
    assert all(line == line.rstrip() for line in lines)


def test_a_run_resumes_by_its_own_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(small_settings("clip", steps=2), tmp_path / "run", show=False)
    (run.model / "config.json").unlink()
    main(["train", "clip", "--resume", "--out", str(run.path), "--quiet"])
    assert (run.model / "config.json").is_file()


def test_resume_asks_for_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for data in ([], ["--data", "scenes"]):
        assert exit_code("train", "clip", "--resume", "--out", str(tmp_path / "nun"), *data) == 2
        assert f"there is no run in {tmp_path / 'nun'}" in capsys.readouterr().err
    assert not (tmp_path / "nun").exists()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("unable to allocate 3 GiB"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_too_little_memory_says_what_to_try(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("likewise.cli.train_command.train", fail)
    assert exit_code("train", "clip", "--data", "scenes", "--out", "runs/never") == 5
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "out of memory" in said
    assert "--training.micro-batch-size" in said


def test_what_takes_less_memory_is_an_option_of_the_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: list[str]) -> None:
        raise MemoryError("unable to allocate 3 GiB")

    for command in sorted(COMMANDS):
        words = [command, "clip", "--help"] if command == "train" else [command, "--help"]
        with contextlib.suppress(SystemExit):
            main(words)
        offered = capsys.readouterr().out
        with monkeypatch.context() as patch:
            patch.setattr(f"likewise.cli.{command}_command.run", fail)
            assert exit_code(command) == 5
        said = capsys.readouterr().err
        assert said.startswith(f"likewise {command}: out of memory (unable to allocate 3 GiB)")
        named = re.findall(r"--[\w.-]*\w", said)
        assert named or command in ("demo", "export", "methods")
        for option in named:
            assert re.search(rf"{option}\b", offered), (command, option)


def test_an_option_given_twice_counts_the_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, bool]] = []

    def trained(settings: Settings[Any], out: Path, *, resume: bool, show: bool) -> RunFolder:
        seen.append((out, resume))
        return RunFolder(out)

    monkeypatch.setattr("likewise.cli.train_command.train", trained)
    monkeypatch.chdir(tmp_path)
    small = ["train", "clip", "--data", "scenes", "--quiet"]
    main([*small, "--out", "first", "--out=second"])
    main([*small, "--out=first", "--out", "second", "--resume", "--no-resume"])
    main([*small, "--data.cache-dir=--resume", "--data.id-column=--out"])
    assert seen == [(Path("second"), False), (Path("second"), False), (Path("runs/clip"), False)]
    assert exit_code(*small, "--out") == 2


def test_a_preset_does_not_hide_a_runs_own_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(train(small_settings("tcl", steps=1), tmp_path / "run", show=False).path)
    assert exit_code("train", "tcl", "--preset", "tiny", "--resume", "--out", run, "--quiet") == 2
    assert "leave --preset out" in capsys.readouterr().err
    # Where the data lies now is all that is said: nothing else differs.
    main(["train", "tcl", "--resume", "--out", run, "--data", SOURCE, "--quiet"])
    seed = ["--training.seed", "7", "--training.log-every", "3"]
    assert exit_code("train", "tcl", "--resume", "--out", run, *seed, "--quiet") == 2
    said = capsys.readouterr().err
    assert "--training.seed is 0, not 7" in said
    assert "--training.log-every is 1, not 3" in said


def test_demo_from_start_to_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import dataclasses

    from likewise.cli import demo_command

    own, small = demo_command.demo_settings(steps=1), small_settings("tcl", steps=1)
    training = dataclasses.replace(small.training, steps=1, batch_size=16)
    # The demo's own network: what it explains depends on it.
    few = dataclasses.replace(own, data=small.data, training=training)
    monkeypatch.setattr(demo_command, "demo_settings", lambda steps: few)
    main(["demo", "--out", str(tmp_path / "demo")])
    shown = capsys.readouterr().out
    assert re.search(r"text to image, first hit right: [\d.]+% by cosine, [\d.]+% after re-ranking", shown)
    assert "zero-shot" in shown
    for name in (
        "report.html",
        "query.png",
        "words.png",
        "answers.png",
        "scenes.index/index.json",
        "model/model.safetensors",
        "results.json",
        "config.toml",
    ):
        assert (tmp_path / "demo" / name).is_file(), name


@pytest.mark.parametrize(("native", "rows"), [(True, 128), (False, 64)])
def test_a_demo_is_as_long_as_the_processor_can_bear(
    native: bool, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from likewise.cli import demo_command

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(demo_command, "native_bfloat16", lambda kind: native)
    assert demo_command.demo_settings().training.batch_size == rows


def test_again_removes_nothing_but_a_demo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from likewise.cli import demo_command

    monkeypatch.setattr(demo_command, "demo_settings", lambda steps: small_settings("tcl", steps=steps or 1))
    run = train(small_settings("clip", steps=1), tmp_path / "clip", show=False).path
    demo = train(small_settings("tcl", steps=2), tmp_path / "demo", show=False).path
    other = train(small_settings("tcl", learning_rate=0.1, steps=1), tmp_path / "other", show=False).path
    for folder in (run, other):
        assert exit_code("demo", "--out", str(folder)) == 2
        assert "--again" not in capsys.readouterr().err
        assert exit_code("demo", "--out", str(folder), "--again") == 2
        assert "which is no demo" in capsys.readouterr().err
        assert (folder / "model").is_dir()
    assert exit_code("demo", "--out", str(demo)) == 2
    assert "add --again" in capsys.readouterr().err
    (demo / "notes.txt").write_text("mine")
    assert exit_code("demo", "--out", str(demo), "--again") == 2
    assert "would remove notes.txt" in capsys.readouterr().err
    (demo / "notes.txt").unlink()
    main(["demo", "--out", str(demo), "--again"])
    main(["demo", "--out", str(demo), "--again"])  # with all that a demo leaves
    assert read_settings(demo / "config.toml").training.steps == 1


def test_an_interrupted_demo_goes_on_by_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from likewise.cli import demo_command
    from likewise.methods.image_text.tcl.tcl import TCL

    monkeypatch.setattr(demo_command, "demo_settings", lambda steps: small_settings("tcl", steps=2))
    after_step = TCL.after_step

    def stop(self: TCL, progress: Progress) -> None:
        after_step(self, progress)
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(TCL, "after_step", stop)
        assert exit_code("demo", "--out", str(tmp_path / "demo")) == 75
    said = capsys.readouterr().err
    assert "Go on with the same command." in said
    assert "--resume" not in said
    main(["demo", "--out", str(tmp_path / "demo")])
    assert "going on after step 1" in capsys.readouterr().err
    makefile = (Path(__file__).parents[2] / "Makefile").read_text()
    assert "--again" not in makefile


def test_presets_are_settings(capsys: pytest.CaptureFixture[str]) -> None:
    """Each preset of each method parses, and flags override it."""
    for name, method in methods().items():
        for preset in method.presets:
            flags, _ = parse_tables(method, ["--data", "scenes", "--training.seed", "7"], prog="test")
            settings = build_settings(method, preset_tables(method, preset), flags)
            assert settings.training.seed == 7
            for section, values in method.presets[preset].items():
                for key, value in values.items():
                    key = "largest_batch_size" if key == "batch_size" else key
                    assert getattr(getattr(settings, section), key) == value, (name, preset, section, key)
    with pytest.raises(ConfigError, match="did you mean 'tiny'"):
        preset_tables(methods()["tcl"], "tini")
    with pytest.raises(ConfigError, match="clip has no presets"):
        preset_tables(methods()["clip"], "tiny")


def test_another_architecture_has_sizes_of_its_own() -> None:
    tcl = methods()["tcl"]
    words = ["--data", "scenes", "--image.architecture", "vit", "--image.heads", "2"]
    image = build_settings(tcl, preset_tables(tcl, "tiny"), parse_tables(tcl, words, prog="test")[0]).image
    assert (image.architecture, image.width, image.depth, image.heads) == ("vit", None, None, 2)
    assert image.image_size == 64
    words = ["--data", "scenes", "--image.architecture", "resnet"]
    image = build_settings(tcl, preset_tables(tcl, "tiny"), parse_tables(tcl, words, prog="test")[0]).image
    assert (image.width, image.depth) == (40, 8)


def test_a_presets_batch_size_fits_small_data(tmp_path: Path) -> None:
    words = ["--preset", "tiny", "--data", "scenes:train=34,validation=6,size=32", "--training.steps", "1"]
    words += ["--image.width", "8", "--text.width", "32", "--text.heads", "2"]
    main(["train", "tcl", *words, "--out", str(tmp_path / "run"), "--quiet"])
    assert read_settings(tmp_path / "run" / "config.toml").training.batch_size == 34
    named = ["--training.batch-size", "99", "--out", str(tmp_path / "named")]
    assert exit_code("train", "tcl", *words, *named, "--quiet") == 2  # what the user names is no bound


def test_a_start_from_a_model_takes_pictures_of_its_size(tmp_path: Path) -> None:
    words = ["train", "simclr", "--data", "scenes:train=16,validation=8,size=32", "--quiet"]
    words += ["--training.steps", "1", "--training.batch-size", "8"]
    encoder = ["--image.width", "32", "--image.depth", "1", "--image.image-size", "48"]
    main([*words, *encoder, "--out", str(tmp_path / "first")])
    start = ["--training.start-from", str(tmp_path / "first")]
    main([*words, *start, "--out", str(tmp_path / "second")])
    main([*words, *start, "--image.image_size=24", "--out", str(tmp_path / "third")])
    sizes = [read_settings(tmp_path / run / "config.toml").image.image_size for run in ("second", "third")]
    assert sizes == [48, 24]


def test_a_terminal_that_is_not_utf_8_shows_what_it_can(tmp_path: Path) -> None:
    (tmp_path / "sentences.txt").write_text("一只红色的鸟\nun éléphant\n", encoding="utf-8")
    words = [sys.executable, "-m", "likewise.cli.main", "data", str(tmp_path / "sentences.txt")]
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "LIKEWISE_CACHE": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "un ?l?phant" in done.stdout


def test_an_error_goes_out_as_one_piece_where_python_does_not_buffer() -> None:
    """So that two replicas that fail together do not write into each other's line."""
    words = [sys.executable, "-m", "likewise.cli.main", "data", "nowhere"]
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)  # a piece written is a piece read
    with ours, theirs:
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        done = subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=theirs)
        piece = ours.recv(4096, socket.MSG_DONTWAIT).decode()
    assert done.returncode == 3
    assert piece.startswith("likewise data: nowhere: ")
    assert piece.endswith("\n")


def test_a_configuration_that_is_not_utf_8_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_bytes('method_name = "clip"  # 红色的鸟'.encode("gb18030"))
    assert exit_code("train", "clip", "--resume", "--out", str(tmp_path)) == 2
    assert "is not a TOML file" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="is not a TOML file"):
        read_settings(tmp_path / "config.toml")


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("evaluate", "RUN [TASK]"),
        ("explain", "MODEL IMAGE [TEXT]"),
        ("embed", "MODEL"),
        ("report", "RUN"),
    ],
)
def test_what_stands_without_a_flag_has_a_name(
    command: str, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(command, "--help") == 0
    usage, rest = capsys.readouterr().out.split("\n\n", 1)
    assert f"] {names} [" in " ".join(usage.split()) + " ["
    assert "STR" not in rest.split("--help")[0]  # the arguments' own lines


def test_a_model_without_texts_is_not_asked_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small_settings("simclr", steps=1), tmp_path / "run", show=False).path
    words = ["embed", str(run), "--what", "texts", "--out", str(tmp_path / "texts.npy")]
    for data in ([], ["--data", str(tmp_path / "none")]):  # not opened
        assert exit_code(*words, *data) == 4
        assert "this model (simclr) cannot encode texts" in capsys.readouterr().err


def test_views_claim_no_methods_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("train", "clip", "--help") == 0
    assert "SimCLR's" not in capsys.readouterr().out
