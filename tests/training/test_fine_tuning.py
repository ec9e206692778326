"""Fine-tuning of whole pre-trained models: which weights move, what is kept, what is refused."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pretrained_folders import SENTENCES, write_two_towers
from small_runs import SOURCE, small_settings, stopped_after

import likewise
from likewise.cli.main import main
from likewise.data import DataConfig
from likewise.encoders import ImageEncoderConfig
from likewise.errors import ConfigError
from likewise.runs.folder import RunFolder
from likewise.runs.open import open_other
from likewise.training.engine import train

QUICK: dict[str, Any] = {
    "training__batch_size": 16,
    "training__log_every": 1,
    "training__loggers": (),
    "training__precision": "float32",
    "training__learning_rate": 1e-3,
    "training__warmup_share": 0.0,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained") / "clip"
    write_two_towers(folder, "clip", side=32)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained") / "siglip"
    write_two_towers(folder, "siglip", side=32)
    return folder


def tuned(start: Path, out: Path, steps: int = 2, **options: Any) -> RunFolder:
    return train(
        method="clip",
        data=SOURCE,
        out=out,
        pretrained=start,
        show=False,
        training__steps=steps,
        **QUICK | options,
    )


def moved(start: Path, run: RunFolder) -> set[str]:
    """Names of the weights that differ from the start."""
    before = likewise.load(start).network.state_dict()
    after = likewise.load(run.path).network.state_dict()
    assert before.keys() == after.keys()
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_a_whole_clip_goes_on_with_its_own_parts(clip: Path, tmp_path: Path) -> None:
    run = tuned(clip, tmp_path / "run", steps=1, training__learning_rate=1e-12)
    start, end = likewise.load(clip), likewise.load(run.path)
    np.testing.assert_allclose(end.encode_texts(SENTENCES), start.encode_texts(SENTENCES), atol=1e-5)
    network: Any = end.network
    assert abs(network.temperature - np.exp(-3)) < 1e-6
    first = json.loads((run.path / "metrics.jsonl").read_text().splitlines()[0])
    assert abs(first["temperature"] - np.exp(-3)) < 1e-6
    assert end.config["images"]["fit"] == "crop"
    assert end.image_encoder.mean == (0.4, 0.5, 0.6)


def test_a_siglip_is_trained_by_its_own_loss(siglip: Path, tmp_path: Path) -> None:
    run = tuned(siglip, tmp_path / "run", steps=2)
    assert 'loss = "sigmoid"' in run.config.read_text()
    assert 'fit = "squash"' in run.config.read_text()
    network: Any = likewise.load(run.path).network
    start: Any = likewise.load(siglip).network
    assert network.bias is not None
    assert network.bias != start.bias  # it learns, from its own
    assert abs(network.bias - start.bias) < 0.1
    assert network.spec()["projected"] is False
    with pytest.raises(ConfigError, match=r"--method.loss softmax.*trained by the sigmoid loss"):
        tuned(siglip, tmp_path / "other", method__loss="softmax")


def test_the_usual_rate_of_a_fine_tuning_is_low(clip: Path) -> None:
    from likewise.methods.catalog import find_method
    from likewise.training.warm_start import settings_of

    settings = settings_of(find_method("clip"), {"data": {"source": SOURCE}}, pretrained=str(clip))
    assert settings.training.learning_rate == 1e-5
    assert settings.training.warmup_share == 0.2
    assert settings.method.embedding_dim == 20
    assert settings.image.image_size == 32
    assert settings.text.rate_factor == 1.0
    tables = {"data": {"source": SOURCE}, "text": {"tune": "lora"}}
    low_rank = settings_of(find_method("clip"), tables, pretrained=str(clip))
    assert (low_rank.text.rate_factor, low_rank.image.rate_factor) == (10.0, 1.0)


def test_frozen_and_last_layers_alone_move(clip: Path, tmp_path: Path) -> None:
    run = tuned(clip, tmp_path / "run", image__tune="frozen", text__tune="last-1")
    names = moved(clip, run)
    assert not {name for name in names if name.startswith("image.")}
    texts = {name for name in names if name.startswith("text.")}
    assert texts
    assert all("layers.1." in name or "final_layer_norm" in name for name in texts)
    assert {"image_projection.weight", "text_projection.weight", "logit_scale"} <= names


def test_low_rank_updates_are_merged(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    run = tuned(clip, tmp_path / "run", steps=3, image__tune="lora", text__tune="lora", text__lora_rank=2)
    names = {name for name in moved(clip, run) if name.startswith(("image.", "text."))}
    assert names
    assert all(name.endswith("weight") and "layers." in name and "norm" not in name for name in names)
    before = likewise.load(clip).network.state_dict()
    after = likewise.load(run.path).network.state_dict()
    name = "text.backbone.encoder.layers.0.mlp.fc1.weight"
    assert torch.linalg.matrix_rank(after[name] - before[name], tol=1e-6) <= 2


def test_a_stopped_fine_tuning_ends_as_one_never_stopped(clip: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    options: dict[str, Any] = {"image__tune": "last-1", "text__tune": "lora", "training__interpolate": 0.25}
    options |= {"data__retain": SOURCE, "training__evaluate_every": 0}
    whole = tuned(clip, tmp_path / "whole", steps=3, **options)
    with stopped_after(1, "clip"):
        tuned(clip, tmp_path / "part", steps=3, **options)
    part = tuned(clip, tmp_path / "part", steps=3, resume=True, **options)
    ends = [likewise.load(run.path).network.state_dict() for run in (whole, part)]
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())
    assert whole.read_results().others == part.read_results().others


def test_lora_without_peft_says_what_to_install(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ConfigError, match=r"--text.tune lora needs the package peft.*likewise\[lora\]"):
        tuned(clip, tmp_path / "run", text__tune="lora")


def test_rates_fall_from_layer_to_layer(clip: Path, tmp_path: Path) -> None:
    """With AdamW a first step is the rate itself, whatever the gradient."""
    run = tuned(
        clip,
        tmp_path / "run",
        steps=1,
        text__layer_decay=0.5,
        text__rate_factor=0.1,
        image__rate_factor=0.01,
        training__weight_decay=0.0,
        training__betas=(0.0, 0.0),
    )
    before, after = (likewise.load(path).network.state_dict() for path in (clip, run.path))

    def step(name: str) -> float:
        return float((after[name] - before[name]).abs().max())

    rates = {
        "text_projection.weight": 1e-3,
        "text.backbone.final_layer_norm.weight": 1e-4,
        "text.backbone.encoder.layers.1.mlp.fc1.weight": 5e-5,
        "text.backbone.encoder.layers.0.mlp.fc1.weight": 2.5e-5,
        "text.backbone.embeddings.position_embedding.weight": 1.25e-5,
        "image.backbone.encoder.layers.0.mlp.fc1.weight": 1e-5,
    }
    for name, rate in rates.items():
        assert step(name) == pytest.approx(rate, rel=0.05), name


def test_the_model_lies_between_start_and_end(clip: Path, tmp_path: Path) -> None:
    """The middle is the mean, and a share of 0 the start."""
    ends = [
        tuned(clip, tmp_path / str(share), training__interpolate=share, training__evaluate_every=0)
        for share in (1.0, 0.5, 0.0)
    ]
    last, middle, none = (likewise.load(run.path).network.state_dict() for run in ends)
    start = likewise.load(clip).network.state_dict()
    for name, value in start.items():
        torch.testing.assert_close(none[name], value)
        torch.testing.assert_close(middle[name], (value + last[name]) / 2, rtol=1e-4, atol=1e-6)
    assert moved(clip, ends[0])
    with pytest.raises(ConfigError, match=r"--training.interpolate 0.5 needs a start"):
        train(
            method="clip", data=SOURCE, out=tmp_path / "new", show=False, training__interpolate=0.5, **QUICK
        )


def test_what_is_kept_is_measured_beside_the_start(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = "scenes:train=20,validation=24,seed=9,size=32,style=sketch"
    run = tuned(
        clip,
        tmp_path / "run",
        steps=3,
        data__retain=second,
        training__evaluate_every=1,
        training__learning_rate=1e-12,
        training__weight_decay=0.0,
    )
    lines = [line for line in run.read_metrics() if line["kind"] == "evaluation"]
    assert len(lines) == 3
    for line in lines:  # nothing moved, so nothing was forgotten
        kept = {key.removeprefix("retained/"): line[key] for key in line if key.startswith("retained/")}
        now = {key: value for key, value in kept.items() if not key.startswith("start_")}
        assert now
        assert all(kept[f"start_{key}"] == pytest.approx(value) for key, value in now.items())
    others = run.read_results().others
    assert [entry["part"].rpartition(", ")[2] for entry in others] == ["starting model", "trained model"]
    first, second_figures = (entry["figures"] for entry in others)
    assert first.keys() == second_figures.keys()
    with pytest.raises(ConfigError, match=r"--data.retain is for training"):
        open_other(likewise.load(clip), clip, DataConfig(source=SOURCE, retain=second))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text__tune": "some"}, "--text.tune is 'some'; expected full, frozen, lora or last-N"),
        ({"text__tune": "last-9"}, "--text.tune last-9: the encoder has 2 layers"),
        ({"image__lora_rank": 4}, "--image.lora-rank is 4, which --image.tune full ignores"),
        ({"image__layer_decay": 1.5}, "--image.layer-decay is 1.5"),
        ({"image__rate_factor": 0.0}, "--image.rate-factor is 0.0"),
        ({"method__embedding_dim": 7}, "the network of .* is another than these settings make"),
        ({"training__start_from": "other"}, "--pretrained and --training.start-from name two models"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    clip: Path, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        tuned(clip, tmp_path / "run", **options)


def test_only_whole_models_of_its_kind_are_fine_tuned(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"simclr cannot fine-tune this whole model.* by --image.pretrained or --training.start-from",
    ):
        train(method="simclr", data=SOURCE, out=tmp_path / "run", pretrained=clip, show=False)


def test_the_command_line_uses_and_tunes_it(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["evaluate", str(clip), "retrieval", "--data", SOURCE])
    assert "Text to image, R@1" in capsys.readouterr().out
    out = tmp_path / "run"
    flags = [
        "--out",
        str(out),
        "--training.batch-size",
        "16",
        "--training.steps",
        "1",
        "--image.tune",
        "frozen",
    ]
    main(["train", "clip", SOURCE, "--pretrained", str(clip), *flags, "--training.loggers"])
    said = capsys.readouterr().err
    assert "image encoder: frozen" in said
    assert "learning_rate = 1e-05" in (out / "config.toml").read_text()
    again = ["--out", str(tmp_path / "again"), *flags[2:]]
    main(
        ["train", "clip", SOURCE, "--pretrained", str(out), *again, "--training.loggers"]
    )  # a run does as well
    assert "embedding_dim = 20" in (tmp_path / "again/config.toml").read_text()
    main(["embed", str(out), "--what", "texts", "--out", str(tmp_path / "texts.npy")])
    assert np.load(tmp_path / "texts.npy").shape[1] == 20


def test_tcl_takes_the_image_half_of_a_clip(clip: Path, tmp_path: Path) -> None:
    settings = small_settings("tcl", steps=1, learning_rate=1e-12, weight_decay=0.0)
    image = ImageEncoderConfig(pretrained=str(clip), image_size=32)
    run = train(dataclasses.replace(settings, image=image), tmp_path / "run", show=False)
    before, after = (likewise.load(path).network.state_dict() for path in (clip, run.path))
    names = {name for name in after if name.startswith("image.backbone.")}
    assert names == {name for name in before if name.startswith("image.backbone.")}
    assert all(torch.allclose(after[name], before[name], atol=1e-5) for name in names)
