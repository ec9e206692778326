"""Programs: of ONNX and of torch.export. They take any batch and length, and give unit vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import (
    MAX_TOKENS,
    TEXTS,
    card_functions,
    image_encoder,
    model_of,
    text_encoder,
    tokenizer,
)

from likewise import Model
from likewise.errors import AbilityError, ConfigError, ModelError
from likewise.export import onnx
from likewise.export.folder import export
from likewise.networks.base import Network
from likewise.networks.classifier import ClassifierNetwork
from likewise.networks.dual import DualNetwork
from likewise.networks.fusion import FusionNetwork
from likewise.networks.image import ImageNetwork
from likewise.networks.text import TextNetwork

pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporters


class _Nothing(Network):
    """Has no ability."""

    kind = "nothing"

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.dim = 1


def needs_onnx() -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"{name} is not installed")


def tokens(model: Model, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    assert model.tokenizer is not None
    ids, mask = model.tokenizer.pad(model.tokenizer.encode(texts))
    return ids, mask.astype(np.int64)


def images(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)


def image_vectors(model: Model, squares: np.ndarray) -> np.ndarray:
    return model.encode_images(list(squares))


@pytest.mark.parametrize("kind", ["bert", "gru"])
def test_onnx_texts(kind: str, tmp_path: Path) -> None:
    """`gru` goes through the older exporter."""
    needs_onnx()
    import onnxruntime

    model = model_of(TextNetwork(text_encoder(kind), dim=8))
    written = export(model, tmp_path / "out", format="onnx")
    assert written.differences["texts"] < 1e-5
    assert {path.name for path in written.folder.iterdir()} == {"README.md", "text.onnx", "tokenizer.json"}
    session = onnxruntime.InferenceSession(written.folder / "text.onnx")
    assert [(one.name, one.type) for one in session.get_inputs()] == [
        ("input_ids", "tensor(int64)"),
        ("attention_mask", "tensor(int64)"),
    ]
    for texts in (TEXTS, TEXTS[:1], TEXTS[-1:], [*TEXTS, "many words " * 20]):
        ids, mask = tokens(model, texts)
        (vectors,) = session.run(["vector"], {"input_ids": ids, "attention_mask": mask})
        np.testing.assert_allclose(vectors, model.encode_texts(texts), atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        # What stands at padding does not matter.
        wider = [np.pad(part, ((0, 0), (0, MAX_TOKENS - part.shape[1]))) for part in (ids, mask)]
        wider[0][wider[1] == 0] = 7
        (again,) = session.run(["vector"], {"input_ids": wider[0], "attention_mask": wider[1]})
        np.testing.assert_allclose(again, vectors, atol=1e-5)
    assert len(card_functions(written.folder)["encode_texts"](["[SEP] and [CLS]", "a"])) == 2


def test_onnx_images(tmp_path: Path) -> None:
    needs_onnx()
    import onnxruntime

    model = model_of(ImageNetwork(image_encoder("resnet"), dim=8), "squash")
    written = export(model, tmp_path / "out", format="onnx")
    session = onnxruntime.InferenceSession(written.folder / "image.onnx")
    (given,) = session.get_inputs()
    assert (given.name, given.type, given.shape[1:]) == ("image", "tensor(uint8)", [32, 32, 3])
    for count in (1, 5):
        (vectors,) = session.run(["vector"], {"image": images(count)})
        np.testing.assert_allclose(vectors, image_vectors(model, images(count)), atol=1e-5)


def test_torch_programs(tmp_path: Path) -> None:
    network = DualNetwork(image_encoder("resnet"), text_encoder("clip"), dim=8)
    model = model_of(network)
    folder = export(model, tmp_path / "out", format="torch").folder
    image, text = (torch.export.load(folder / f"{name}.pt2") for name in ("image", "text"))
    for count in (1, 4):
        vectors = image.module()(torch.from_numpy(images(count))).detach()
        np.testing.assert_allclose(vectors, image_vectors(model, images(count)), atol=1e-5)
        vectors = text.module()(*map(torch.from_numpy, tokens(model, TEXTS[:count]))).detach()
        np.testing.assert_allclose(vectors, model.encode_texts(TEXTS[:count]), atol=1e-5)
    # Neither holds the other's weights.
    held = [sum(weight.numel() for weight in program.state_dict.values()) for program in (image, text)]
    own = [sum(weight.numel() for weight in part.parameters()) for part in (network.image, network.text)]
    assert held[0] < own[0] + 2 * own[1]
    assert not any("image" in name for name in text.state_dict)
    assert not any("network.text" in name for name in image.state_dict)


@pytest.mark.parametrize(
    "network",
    [
        lambda: ClassifierNetwork(image_encoder("resnet"), classes=("a", "b"), dim=8),
        lambda: FusionNetwork.build(
            image_encoder("resnet"),
            text_encoder(depth=2),
            fusion_depth=1,
            dim=8,
            vocabulary_size=tokenizer().size,
        ),
    ],
)
def test_torch_programs_hold_what_leads_to_the_vectors(network: Any, tmp_path: Path) -> None:
    model = model_of(network())
    written = export(model, tmp_path / "out", format="torch")
    assert max(written.differences.values()) < 1e-5
    assert written.notes == ()


def test_what_cannot_be_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gru = model_of(TextNetwork(text_encoder("gru")))
    with pytest.raises(ModelError, match=r"cannot trace the text encoder, a gru .* --format onnx can"):
        export(gru, tmp_path / "out", format="torch")
    half = model_of(DualNetwork(image_encoder("resnet"), text_encoder("gru"), dim=8))
    written = export(half, tmp_path / "half", format="torch")
    assert set(written.differences) == {"images"}
    assert "The texts' half is missing" in written.notes[0]
    blind = model_of(_Nothing())
    for name in ("torch", "onnx", "transformers"):
        with pytest.raises(AbilityError, match="cannot encode images, it can do nothing"):
            export(blind, tmp_path / "out", format=name)
    monkeypatch.setattr(onnx, "_NEEDED", ("onnx", "not_a_package"))
    with pytest.raises(ConfigError, match=r"needs not_a_package, not installed here; .*likewise\[onnx\]"):
        export(gru, tmp_path / "out", format="onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["half"]
