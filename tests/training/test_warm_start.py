"""Trainings that start from a trained model."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_runs import small_settings, stopped_after

from likewise.encoders import ImageEncoderConfig
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import ConfigError, ModelError
from likewise.messages import flag
from likewise.model import load
from likewise.training import Settings, checkpoints, default_settings
from likewise.training.engine import train


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    newest = checkpoints.latest_checkpoint(run / "checkpoints")
    assert newest is not None
    return checkpoints.load_checkpoint(newest)["method"]


@pytest.mark.parametrize("method", ["tcl", "byol", "clip"])
def test_a_training_starts_from_a_trained_model(method: str, tmp_path: Path) -> None:
    first = train(small_settings(method, steps=2), tmp_path / "first", show=False)
    still = small_settings(method, steps=1, start_from=str(first.path), learning_rate=1e-12, weight_decay=0.0)
    again = train(still, tmp_path / "again", show=False)
    before, after = load(first.path).network.state_dict(), load(again.path).network.state_dict()
    for name, weight in load(first.path).network.named_parameters():
        torch.testing.assert_close(after[name], weight.detach(), rtol=0, atol=1e-6)
    assert before.keys() == after.keys()
    if method != "clip":  # the twin began there too, and moved by one step of nothing
        twins = {
            key: value for key, value in weights_of(again.path).items() if key.startswith("ema_encoder.")
        }
        newest = weights_of(again.path)
        online = next(key for key in newest if key.startswith("network.") and key.endswith("weight"))
        twin = next(key for key in twins if key.endswith(online.removeprefix("network.")))
        torch.testing.assert_close(twins[twin], newest[online], rtol=0, atol=1e-6)


def test_a_run_goes_on_without_the_model_it_started_from(tmp_path: Path) -> None:
    first = train(small_settings("clip", steps=1), tmp_path / "first", show=False)
    settings = small_settings("clip", steps=2, start_from=str(first.path))
    with stopped_after(1, "clip"):
        train(settings, tmp_path / "again", show=False)
    shutil.rmtree(first.path)
    again = train(settings, tmp_path / "again", resume=True, show=False)
    assert load(again.path).encode_texts("a red circle").shape[0] == 1


def test_a_start_from_a_trained_model_has_the_queue_of_trained_encoders(tmp_path: Path) -> None:
    settings = small_settings("tcl", steps=1)
    settings = dataclasses.replace(settings, method=dataclasses.replace(settings.method, queue_size=None))
    first = train(settings, tmp_path / "first", show=False)
    onward = dataclasses.replace(settings.training, start_from=str(first.path))
    again = train(dataclasses.replace(settings, training=onward), tmp_path / "again", show=False)
    keys = [len(weights_of(run.path)["image_queue.keys"]) for run in (first, again)]
    assert keys[0] == 0 < keys[1]


def test_a_linear_map_is_carried_over_only_where_both_networks_have_it(tmp_path: Path) -> None:
    """SimCLR, triplets from it, triplets of another width from those, SimCLR from these."""
    still = {"steps": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
    run = train(small_settings("simclr", steps=1), tmp_path / "0", show=False)
    weights = load(run.path).network.image.state_dict()  # type: ignore[union-attr, operator]
    for number, (method, dim) in enumerate(
        (("triplet", 128), ("triplet", 16), ("triplet", 16), ("simclr", None)), 1
    ):
        settings = small_settings(method, start_from=str(run.path), **still)
        if dim is not None:
            settings = dataclasses.replace(
                settings, method=dataclasses.replace(settings.method, embedding_dim=dim)
            )
        before = load(run.path).network
        run = train(settings, tmp_path / str(number), show=False)
        network = load(run.path).network
        for name, weight in network.image.named_parameters():  # type: ignore[union-attr]
            torch.testing.assert_close(weight.detach(), weights[name], rtol=0, atol=1e-6)
        assert (network.projection is None) == (dim is None)
        if number == 3:
            torch.testing.assert_close(network.projection.weight, before.projection.weight)  # type: ignore[union-attr]


def without_encoders(settings: Settings[Any]) -> Settings[Any]:
    """The same settings with the encoders' options as they are when nothing is said of them."""
    unsaid = default_settings(settings.method_type, settings.data.source)
    image = dataclasses.replace(unsaid.image, image_size=settings.image.image_size)
    return dataclasses.replace(settings, image=image, text=unsaid.text)


def test_a_start_has_encoders_made_like_the_models_own(tmp_path: Path) -> None:
    """Number of heads and pooling show in no weight's shape."""
    settings = small_settings("tcl", steps=1, learning_rate=1e-12, weight_decay=0.0)
    image = dataclasses.replace(settings.image, pooling="cls", heads=4)
    first = train(dataclasses.replace(settings, image=image), tmp_path / "first", show=False)
    onward = dataclasses.replace(settings.training, start_from=str(first.path))
    unsaid = without_encoders(dataclasses.replace(settings, training=onward))
    again = train(unsaid, tmp_path / "again", show=False)
    pictures = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), np.uint8)
    texts = ["a red circle left of a blue square", "green"]
    for one, other in (
        (load(first.path).encode_images(list(pictures)), load(again.path).encode_images(list(pictures))),
        (load(first.path).encode_texts(texts), load(again.path).encode_texts(texts)),
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    others = dataclasses.replace(unsaid, image=dataclasses.replace(unsaid.image, heads=2))
    with pytest.raises(ConfigError, match=r"\(--image\.heads 2\)\. It brings its encoders"):
        train(others, tmp_path / "third", show=False)


@pytest.mark.parametrize("said", [True, False])
def test_a_training_starts_from_one_that_started_from_pretrained_encoders(said: bool, tmp_path: Path) -> None:
    """As the paper's fine-tuning does, by the same options and, with their folders gone, by none."""
    settings = small_settings("tcl", steps=1, learning_rate=1e-12, weight_decay=0.0)
    vit = ImageEncoder.build(dataclasses.replace(settings.image, image_size=64))
    vit.backbone.save_pretrained(tmp_path / "vit")
    bert = TextEncoder.build(dataclasses.replace(settings.text, max_tokens=77), vocabulary_size=300)
    bert.backbone.save_pretrained(tmp_path / "bert")
    captions = [f"a {word} of {number}" for word in ("circle", "square") for number in range(200)]
    train_tokenizer(captions, vocabulary_size=300, max_tokens=77).save(tmp_path / "bert/tokenizer.json")
    pretrained = dataclasses.replace(
        settings,
        image=ImageEncoderConfig(image_size=32, pretrained=str(tmp_path / "vit")),
        text=dataclasses.replace(settings.text, pretrained=str(tmp_path / "bert"), max_tokens=25),
    )
    first = train(pretrained, tmp_path / "first", show=False)
    onward = dataclasses.replace(settings.training, start_from=str(first.path))
    again = dataclasses.replace(pretrained, training=onward)
    if not said:
        again = without_encoders(again)
        shutil.rmtree(tmp_path / "vit")
        shutil.rmtree(tmp_path / "bert")
    run = train(again, tmp_path / "again", show=False)
    texts = ["a circle of 4", "a square " * 40]
    before, after = load(first.path), load(run.path)
    assert after.tokenizer is not None
    assert after.tokenizer.max_tokens == 25
    np.testing.assert_allclose(before.encode_texts(texts), after.encode_texts(texts), atol=1e-5)


def test_a_start_with_other_options_of_the_method_is_refused(tmp_path: Path) -> None:
    first = train(small_settings("tcl", steps=1), tmp_path / "first", show=False)
    settings = small_settings("tcl", steps=1, start_from=str(first.path))
    dim = settings.method.embedding_dim
    for option, value, there in (("embedding_dim", 2 * dim, dim), ("fusion_depth", 1, 2)):
        other = dataclasses.replace(settings.method, **{option: value})
        name = flag("method", option)
        with pytest.raises(ConfigError, match=rf"^{name} is {value}, .* {there}; give {name} {there}"):
            train(dataclasses.replace(settings, method=other), tmp_path / "second", show=False)


def test_a_start_from_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    clip = train(small_settings("clip", steps=1), tmp_path / "clip", show=False)
    for method, reason in (("multiview", "it is of kind dual"), ("tcl", "has no fusion encoder")):
        settings = without_encoders(small_settings(method, steps=1, start_from=str(clip.path)))
        with pytest.raises(ConfigError, match=reason):
            train(settings, tmp_path / method, show=False)


def test_a_run_that_lost_what_it_started_from_says_so(tmp_path: Path) -> None:
    first = train(small_settings("clip", steps=1), tmp_path / "first", show=False)
    settings = small_settings("clip", steps=2, start_from=str(first.path))
    with stopped_after(1, "clip"):
        train(settings, tmp_path / "again", show=False)
    for name in ("network.json", "tokenizer.json"):  # the tokenizer is asked for first
        (tmp_path / "again" / name).unlink()
        with pytest.raises(ConfigError, match=rf"{name} is missing"):
            train(settings, tmp_path / "again", resume=True, show=False)


def test_a_start_from_another_network_is_refused(tmp_path: Path) -> None:
    first = train(small_settings("simclr", steps=1), tmp_path / "first", show=False)
    settings = small_settings("simclr", steps=1, start_from=str(first.path))
    wider = dataclasses.replace(settings, image=dataclasses.replace(settings.image, width=16))
    with pytest.raises(ConfigError, match="is another than these settings make"):
        train(wider, tmp_path / "second", show=False)
    with pytest.raises(ModelError, match="nowhere"):
        train(small_settings("simclr", steps=1, start_from="nowhere"), tmp_path / "third", show=False)


@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "resnet", "width": 16, "depth": 10},
        {"architecture": "vit", "width": 64, "depth": 1, "stem": "convolutions"},
    ],
    ids=["resnet", "vit"],
)
def test_a_model_folder_alone_is_started_from_by_true_options(
    options: dict[str, Any], tmp_path: Path
) -> None:
    """Without its run's config.toml the network itself says how it was made."""
    settings = small_settings("simclr", steps=1)
    asked = dataclasses.replace(settings.image, **options)
    settings = dataclasses.replace(settings, image=asked)
    first = train(settings, tmp_path / "first", show=False)
    shutil.move(first.path / "model", tmp_path / "model")
    shutil.rmtree(first.path)
    onward = dataclasses.replace(settings.training, start_from=str(tmp_path / "model"))
    train(dataclasses.replace(settings, training=onward), tmp_path / "again", show=False)
    for option, false in (("width", 2 * options["width"]), ("depth", 18)):
        other = dataclasses.replace(
            settings, image=dataclasses.replace(asked, **{option: false}), training=onward
        )
        with pytest.raises(ConfigError, match=rf"image\.{option} {false}\)"):
            train(other, tmp_path / option, show=False)


def test_a_start_at_another_size_has_the_models_patches(tmp_path: Path) -> None:
    settings = small_settings("simclr", steps=1)
    small = dataclasses.replace(settings.image, architecture="vit", image_size=32, width=32, depth=1)
    first = train(dataclasses.replace(settings, image=small), tmp_path / "first", show=False)
    onward = dataclasses.replace(settings.training, start_from=str(first.path))
    larger = dataclasses.replace(small, image_size=64)
    again = train(
        dataclasses.replace(settings, image=larger, training=onward), tmp_path / "again", show=False
    )
    network = load(again.path).network.image
    assert network.image_size == 64  # type: ignore[union-attr]
    assert network.backbone.config.patch_size == 4  # type: ignore[union-attr]
    untiled = dataclasses.replace(small, image_size=50)
    with pytest.raises(ConfigError, match=r"patches of 4 px do not tile it; try --image\.image-size 48"):
        train(dataclasses.replace(settings, image=untiled, training=onward), tmp_path / "third", show=False)


def test_every_view_of_a_start_is_resized(tmp_path: Path) -> None:
    settings = small_settings("multiview", steps=1)
    small = dataclasses.replace(settings.image, architecture="vit", width=32, depth=1)
    first = train(dataclasses.replace(settings, image=small), tmp_path / "first", show=False)
    onward = dataclasses.replace(settings.training, start_from=str(first.path))
    larger = dataclasses.replace(small, image_size=64)
    again = train(
        dataclasses.replace(settings, image=larger, training=onward), tmp_path / "again", show=False
    )
    assert [one.image_size for one in load(again.path).network.encoders] == [64, 64]  # type: ignore[union-attr]


def test_positions_are_interpolated_to_another_size(tmp_path: Path) -> None:
    first = train(small_settings("tcl", steps=1), tmp_path / "first", show=False)
    settings = small_settings("tcl", steps=1, start_from=str(first.path))
    patch = load(first.path).network.image.backbone.config.patch_size  # type: ignore[union-attr]
    larger = dataclasses.replace(
        settings, image=dataclasses.replace(settings.image, image_size=48, patch_size=patch)
    )
    again = train(larger, tmp_path / "again", show=False)
    assert load(again.path).network.image.image_size == 48  # type: ignore[union-attr]
