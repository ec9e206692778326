"""Grad-CAM over cross-attention, and the pictures made of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import small_settings
from torch import Tensor

from likewise import train
from likewise.cli.main import main
from likewise.encoders.fast import unpadded_fusion
from likewise.encoders.fast.attention import attention
from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import AbilityError, DataError
from likewise.model import Model, load
from likewise.model.explanations.explanation import overlay
from likewise.model.explanations.grad_cam import word_maps


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small_settings("tcl", steps=2), tmp_path_factory.mktemp("tcl") / "run", show=False).path


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return load(run)


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)


def test_maps_are_attention_times_the_positive_gradient(model: Model) -> None:
    """By a perturbation of one attention weight: the logit's slope is the gradient that the map takes."""
    network: Any = model.network
    assert model.tokenizer is not None
    encoded = model.tokenizer.pad(model.tokenizer.encode(["a red circle", "blue"]))
    tokens, mask = (torch.from_numpy(part) for part in encoded)
    pixels = model.pixels(model.stored_squares([picture(0), picture(1)]))
    network.double()
    try:
        maps, logits = word_maps(network, pixels.double(), tokens, mask)
        with torch.no_grad():
            states = network.text_states(tokens, mask), mask, network.image_states(pixels.double())
            fused, weights = network.fusion.with_attention(*states, layer=0)  # (P, H, L, 1 + N) weights
            eager = network.match_head(fused[:, 0])
            usual = network.match_logits(*states)
        torch.testing.assert_close(eager, usual)
        torch.testing.assert_close(logits, usual)
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
        pair, head, word, patch = 0, 0, 2, 5
        slope = slope_of_weight(network, states, (pair, head, word, 1 + patch))
        heads = weights.shape[1]
        found = [slope_of_weight(network, states, (pair, h, word, 1 + patch)) for h in range(heads)]
        assert found[0] == slope
        assert max(map(abs, found)) > 1e-9  # or the comparison would be of zeros
        expected = (
            sum(float(weights[pair, h, word, 1 + patch]) * max(found[h], 0) for h in range(heads)) / heads
        )
        side = maps.shape[-1]
        assert float(maps[pair, word, patch // side, patch % side]) == pytest.approx(
            expected, rel=1e-3, abs=1e-9
        )
    finally:
        network.float()


def slope_of_weight(network: Any, states: Any, place: tuple[int, ...], step: float = 1e-4) -> float:
    """How the match logit changes with one attention weight of the first fusion layer."""
    attending = network.fusion.layers[0].crossattention.self
    pair, head, word, key = place

    def moved(by: float) -> float:
        def nudged(
            cross: Any, query: Tensor, keys: Tensor, values: Tensor, *mask: Any, **options: Any
        ) -> Any:
            output = attention(cross, query, keys, values, *mask, **options)[0].clone()  # (P, L, H, E)
            if cross is attending:
                output[pair, word, head] += by * values[pair, head, key]
            return output, None

        with mock.patch.object(unpadded_fusion, "attention", nudged), torch.no_grad():
            return float(network.match_logits(*states)[:, 1].sum())

    return (moved(step) - moved(-step)) / (2 * step)


def test_explanations_have_a_map_a_word(model: Model) -> None:
    first, second = model.explain([picture(0), picture(1)], ["a Red circle", "two blue squares"])
    assert first.words == ["a", "Red", "circle"]
    assert first.maps.shape == (3, *first.whole.shape)
    assert (first.maps >= 0).all()
    assert first.probability == pytest.approx(float(model.match(picture(0), "a Red circle")[0]), rel=1e-4)
    np.testing.assert_allclose(first.phrase(0, 1), first.maps[:2].mean(0))
    alone = model.explain(picture(1), "two blue squares")[0]
    one_by_one = model.explain([picture(0), picture(1)], ["a Red circle", "two blue squares"], batch_size=1)
    np.testing.assert_allclose(one_by_one[1].maps, alone.maps, rtol=1e-6, atol=1e-9)
    assert [found.words for found in one_by_one] == [first.words, second.words]
    np.testing.assert_allclose(alone.maps, second.maps, rtol=1e-3, atol=1e-7)


def test_one_fusion_layer_explains_no_word(tmp_path: Path) -> None:
    settings = small_settings("tcl", steps=1)
    settings = dataclasses.replace(settings, method=dataclasses.replace(settings.method, fusion_depth=1))
    trained = load(train(settings, tmp_path / "run", show=False).path)
    with pytest.raises(AbilityError, match="fusion-depth 2"):
        trained.explain(picture(0), "a red circle")


def test_explaining_leaves_the_model_as_it_was(model: Model) -> None:
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    model.explain(picture(0), "a red circle")
    assert not model.network.training
    assert all(torch.equal(value, before[key]) for key, value in model.network.state_dict().items())
    assert all(weight.grad is None for weight in model.network.parameters())


def test_a_match_meanwhile_changes_no_explanation(model: Model) -> None:
    """Two threads may share a model: here one matches while the other is about to look at the picture."""
    network: Any = model.network
    wanted = model.explain(picture(0), "a red circle")[0]
    odds = model.match(picture(1), "blue")
    meanwhile: list[Any] = []

    def match(*_: Any) -> None:
        if not meanwhile:
            meanwhile.append(None)  # or the match would start another
            meanwhile[0] = model.match(picture(1), "blue")

    hook = network.fusion.layers[0].crossattention.self.query.register_forward_pre_hook(match)
    try:
        found = model.explain(picture(0), "a red circle")[0]
    finally:
        hook.remove()
    np.testing.assert_array_equal(found.maps, wanted.maps)
    np.testing.assert_array_equal(meanwhile, [odds])


def test_words_of_scripts_with_and_without_spaces() -> None:
    tokenizer = train_tokenizer(["a red circle"] * 9, vocabulary_size=300, max_tokens=60)
    spans = tokenizer.word_spans("a tiny Red circle, 红色")
    assert [word for word, _ in spans] == ["a", "tiny", "Red", "circle", ",", "红", "色"]
    encoded = tokenizer.encode(["a tiny Red circle, 红色"])[0]
    places = [place for _, several in spans for place in several]
    assert places == sorted(set(places))
    assert 0 not in places
    assert len(encoded) - 1 not in places


def test_overlay_colours_what_is_hot() -> None:
    grey = np.full((3, 32, 32), 128, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    assert (np.asarray(overlay(grey, heat)) == 128).all()
    heat[0, 0] = 0.3
    mixed = np.asarray(overlay(grey, heat)).astype(int)
    assert mixed.shape == (32, 32, 3)
    assert abs(mixed[2, 2] - 128).sum() > 50
    assert abs(mixed[-1, -1] - 128).sum() == 0


def test_the_command_writes_a_picture(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(picture(0)).save(tmp_path / "scene.png")
    words = [
        "explain",
        str(run),
        str(tmp_path / "scene.png"),
        "a red circle above a blue square",
        "--device",
        "cpu",
    ]
    main([*words, "--out", str(tmp_path / "maps.png")])
    assert "probability" in capsys.readouterr().out
    with Image.open(tmp_path / "maps.png") as sheet:
        assert sheet.width > 500
    for wrong in (["--layer", "7"], ["--out", "maps.txt"]):
        with pytest.raises(SystemExit) as stopped:
            main([*words, *wrong])
        assert stopped.value.code == 2


def test_texts_and_images_must_make_pairs(model: Model) -> None:
    with pytest.raises(DataError, match="do not make pairs"):
        model.explain([picture(0), picture(1)], "a")
