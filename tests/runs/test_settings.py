"""Settings from defaults, files, presets and flags."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from small_runs import small_settings

from likewise.errors import ConfigError
from likewise.methods.catalog import methods
from likewise.runs.settings import (
    build_settings,
    default_settings,
    parse_tables,
    read_settings,
    read_tables,
    write_settings,
)


def test_settings_files_name_the_nearest_key(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text("[training]\nlerning_rate = 0.1\n")
    with pytest.raises(ConfigError, match="did you mean 'learning_rate'"):
        read_tables(file, methods()["clip"])
    file.write_text("[trainig]\nsteps = 3\n")
    with pytest.raises(ConfigError, match="did you mean 'training'"):
        read_tables(file, methods()["clip"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("image.image_size = true", "expected a whole number, got True"),
        ("image.image_size = [3, 4]", r"expected a whole number, got \[3, 4\]"),
        ("training.batch_size = 'x'", "expected a whole number, got 'x'"),
        ("training.optimizer = 'adam'", "expected 'adamw' or 'sgd' or 'lars', got 'adam'"),
        ("training.learning_rate = nan", "expected a finite number, got nan"),
        ("training.betas = [0.9]", "expected a list of 2"),
        ("training.devices = 'all'", "expected a whole number or 'auto'"),
        ("data.cache = 3", "expected"),
    ],
)
def test_settings_files_name_the_value_that_does_not_fit(line: str, expected: str, tmp_path: Path) -> None:
    section, _, rest = line.partition(".")
    file = tmp_path / "own.toml"
    file.write_text(f"[{section}]\n{rest}\n")
    with pytest.raises(ConfigError, match=rf"own\.toml: {section}\..*{expected}"):
        read_tables(file, methods()["clip"])


@pytest.mark.parametrize("name", sorted(methods()))
def test_what_may_be_none_survives_the_file(name: str, tmp_path: Path) -> None:
    """Read back as settings; also where something else is the default.

    What has the same default for CLIP is tried with CLIP alone.
    """
    file, kept = tmp_path / "config.toml", 0
    defaults = default_settings(name, "scenes")
    of_clip = {} if name == "clip" else default_settings("clip", "scenes").sections()
    for section, values in defaults.sections().items():
        for option, hint in get_type_hints(type(values)).items():
            if type(None) not in get_args(hint):
                continue
            same_type = type(of_clip.get(section)) is type(values)
            if same_type and getattr(of_clip[section], option) == getattr(values, option):
                continue
            changed = {section: dataclasses.replace(values, **{option: None})}
            settings = dataclasses.replace(defaults, **changed)
            write_settings(settings, file)
            assert read_settings(file) == settings, option
            kept += f'{option} = "None"' in file.read_text()
    assert (kept > 0) == (name in {"siamese", "triplet", "moco"})


@pytest.mark.parametrize("line", ["method_name = 5", ""])
def test_a_configuration_without_a_methods_name_is_none(line: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(line + "\n[training]\nsteps = 3\n")
    with pytest.raises(ConfigError, match="is not the configuration of a run: it has"):
        read_settings(tmp_path / "config.toml")


def test_a_text_that_looks_like_a_flag_can_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text('[data]\nsource = "scenes"\ntext_separator = "--"\n')
    settings = build_settings(*read_tables(file, methods()["clip"]))
    assert settings.data.text_separator == "--"


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        ("training", {"optimizer": "adam"}),
        ("training", {"precision": "fp16"}),
        ("training", {"order": "random"}),
        ("training", {"loggers": "tensorboard"}),
        ("training", {"weight_decay": float("nan")}),
        ("training", {"epochs": float("inf")}),
        ("image", {"architecture": "vitt", "depth": None, "heads": None}),
        ("image", {"preset": "huge"}),
        ("text", {"architecture": "gpt"}),
        ("method", {"loss": "siglip"}),
    ],
)
def test_from_python_too_an_option_has_only_its_values(section: str, wrong: dict[str, object]) -> None:
    settings = small_settings("clip")
    changed = dataclasses.replace(getattr(settings, section), **wrong)
    with pytest.raises(ConfigError, match=rf"{section}\.{next(iter(wrong))} is .*; expected"):
        dataclasses.replace(settings, **{section: changed})


def test_what_other_libraries_and_paths_give_can_be_written_down(tmp_path: Path) -> None:
    settings = small_settings(
        "clip", batch_size=np.int64(8), learning_rate=np.float32(0.5), start_from=Path("a/b")
    )
    write_settings(settings, tmp_path / "config.toml")
    training = read_settings(tmp_path / "config.toml").training
    assert (training.batch_size, training.learning_rate, training.start_from) == (8, 0.5, str(Path("a/b")))


def test_a_path_that_is_no_text_is_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"data\.source is 'caf\\udce9', which is no UTF-8"):
        default_settings("simclr", os.fsdecode(b"caf\xe9"))


def test_flags_override_a_file_also_where_they_name_the_default(tmp_path: Path) -> None:
    file, simclr = tmp_path / "own.toml", methods()["simclr"]
    file.write_text('[data]\nsource = "scenes"\n[image]\nimage_size = 24\n[training]\nbetas = [0.8, 0.9]\n')
    _, own = read_tables(file, simclr)
    flags, _ = parse_tables(simclr, ["--image.image-size", "64", "--training.seed", "3"], prog="test")
    settings = build_settings(simclr, own, flags)
    assert (settings.image.image_size, settings.training.seed) == (64, 3)
    assert settings.training.betas == (0.8, 0.9)
    assert build_settings(simclr, own).image.image_size == 24


def test_default_views_follow_the_image_size_wherever_it_is_given() -> None:
    simclr, tables = methods()["simclr"], {"data": {"source": "scenes"}, "views": {"grey": 0.1}}
    for size, blur in ((24, 0.0), (64, 0.5)):
        flags, _ = parse_tables(simclr, ["--image.image-size", str(size)], prog="test")
        for settings in (build_settings(simclr, tables, flags), build_settings(simclr, flags, tables)):
            assert (settings.views.blur, settings.views.grey) == (blur, 0.1)


def test_settings_need_a_source() -> None:
    with pytest.raises(ConfigError, match="--data is missing"):
        build_settings(methods()["simclr"])


def test_the_configuration_of_an_earlier_run_is_read() -> None:
    """Runs begun before must resume, and `--config` must repeat them."""
    settings = read_settings(Path(__file__).with_name("earlier_config.toml"))
    defaults = default_settings("moco", "scenes:train=64,validation=32")
    training = dataclasses.replace(defaults.training, steps=2, batch_size=16)
    assert settings == dataclasses.replace(defaults, training=training)
