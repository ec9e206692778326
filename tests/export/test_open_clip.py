"""What is written for open_clip: read by a transcription of its towers in float64, and by the library."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exported_models import TEXTS, card_functions, image_encoder, model_of, text_encoder
from PIL import Image
from pretrained_folders import write_two_towers
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoTokenizer

from likewise import Model, load
from likewise.errors import AbilityError, ConfigError, LikewiseError, ModelError
from likewise.export import open_clip
from likewise.export.folder import export
from likewise.export.open_clip import CONFIG_FILE, WEIGHTS_FILE, name_on_hub, write_folder
from likewise.networks.base import Network
from likewise.networks.dual import DualNetwork
from likewise.networks.text import TextNetwork

pytestmark = pytest.mark.filterwarnings("ignore")  # of the other libraries

FORMAT = "open_clip"


class QuickGELU(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    """open_clip's ResidualAttentionBlock."""

    def __init__(
        self, width: int, heads: int, mlp_ratio: float, act: Callable[[], nn.Module], eps: float
    ) -> None:
        super().__init__()
        inner = int(width * mlp_ratio)
        self.ln_1, self.ln_2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        layers = (("c_fc", nn.Linear(width, inner)), ("gelu", act()), ("c_proj", nn.Linear(inner, width)))
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Tower(nn.Module):
    """Its Transformer, alone under the name `transformer`."""

    def __init__(self, config: dict[str, Any], heads: int, quick_gelu: bool) -> None:
        super().__init__()
        self.width, self.eps = config["width"], config.get("norm_kwargs", {}).get("eps", 1e-5)
        act = QuickGELU if quick_gelu else nn.GELU
        blocks = [
            Block(self.width, heads, config["mlp_ratio"], act, self.eps) for _ in range(config["layers"])
        ]
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(blocks)})

    def layers(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self.transformer["resblocks"]:
            x = block(x, mask)
        return x


class Vision(Tower):
    """Its VisionTransformer."""

    def __init__(self, config: dict[str, Any], dim: int, quick_gelu: bool) -> None:
        super().__init__(config, config["width"] // config["head_width"], quick_gelu)
        patch, self.pool = config["patch_size"], config["pool_type"]
        self.conv1 = nn.Conv2d(3, self.width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(self.width))
        patches = (config["image_size"] // patch) ** 2
        self.positional_embedding = nn.Parameter(torch.empty(1 + patches, self.width))
        self.ln_pre = nn.Identity() if config["no_ln_pre"] else nn.LayerNorm(self.width, eps=self.eps)
        self.ln_post = nn.LayerNorm(self.width, eps=self.eps)
        self.proj = nn.Parameter(torch.empty(self.width, dim))

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)  # (B, N, D)
        first = self.class_embedding.expand(len(pixels), 1, -1)
        x = self.ln_pre(torch.cat([first, patches], dim=1) + self.positional_embedding)
        x = self.ln_post(self.layers(x))
        return (x[:, 0] if self.pool == "tok" else x[:, 1:].mean(dim=1)) @ self.proj


class Transcription(Tower):
    """Its CLIP, of the configuration alone; texts' weights have no prefix."""

    def __init__(self, folder: Path) -> None:
        values = json.loads((folder / CONFIG_FILE).read_text())
        config, self.preprocessing = values["model_cfg"], values["preprocess_cfg"]
        text, dim, quick_gelu = config["text_cfg"], config["embed_dim"], config["quick_gelu"]
        super().__init__(text, text["heads"], quick_gelu)
        self.length, self.eos = text["context_length"], text["eos_id"]
        assert text["pool_type"] == "eos"
        self.visual = Vision(config["vision_cfg"], dim, quick_gelu)
        self.token_embedding = nn.Embedding(text["vocab_size"], self.width)
        self.positional_embedding = nn.Parameter(torch.empty(self.length, self.width))
        self.ln_final = nn.LayerNorm(self.width, eps=self.eps)
        self.text_projection = nn.Parameter(torch.empty(self.width, dim))
        self.logit_scale = nn.Parameter(torch.empty(()))
        if "init_logit_bias" in config:
            self.logit_bias = nn.Parameter(torch.empty(()))
        self.load_state_dict(load_file(folder / WEIGHTS_FILE), strict=True)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.double()

    def encode_images(self, squares: list[Image.Image]) -> np.ndarray:
        pixels = torch.tensor(np.stack(squares)).double() / 255  # (B, S, S, 3)
        mean, std = (torch.tensor(self.preprocessing[name]).double() for name in ("mean", "std"))
        return self.unit(self.visual(((pixels - mean) / std).permute(0, 3, 1, 2)))

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        options: Any = {"max_length": self.length, "padding": "max_length", "truncation": True}
        ids = self.tokenizer(texts, return_tensors="pt", **options)["input_ids"]  # (B, L)
        mask = torch.full((self.length, self.length), -torch.inf, dtype=torch.float64).triu(1)
        x = self.ln_final(self.layers(self.token_embedding(ids) + self.positional_embedding, mask))
        ends = (ids == self.eos).int().argmax(dim=1)
        return self.unit(x[torch.arange(len(x)), ends] @ self.text_projection)

    @staticmethod
    def unit(vectors: Tensor) -> np.ndarray:
        return nn.functional.normalize(vectors, dim=1).detach().numpy()


def squares(side: int) -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)) for _ in range(3)]


def pretrained(folder: Path, activation: str = "quick_gelu", **options: Any) -> Model:
    """A CLIP as transformers writes it."""
    write_two_towers(folder, "clip", **options)
    file = folder / "config.json"
    file.write_text(file.read_text().replace("quick_gelu", activation))
    return load(folder)


def own(fit: str = "crop", **options: Any) -> Model:
    """A network trained from scratch: a plain ViT, and texts in the default architecture."""
    network = DualNetwork(image_encoder(**options), text_encoder("clip"), dim=8, temperature=0.1, bias=-9.5)
    return model_of(network, fit)


MODELS: dict[str, Callable[[Path], Model]] = {
    "clip": pretrained,
    "gelu": lambda folder: pretrained(folder, "gelu", width=24, side=48),
    "older tokens": lambda folder: pretrained(folder, side=30, older=True),
    "vit by mean": lambda _: own(),
    "vit by cls": lambda _: own("pad", pooling="cls", image_size=64),
}


@pytest.mark.parametrize("name", MODELS)
def test_its_towers_have_these_weights(name: str, tmp_path: Path) -> None:
    model = MODELS[name](tmp_path / "given")
    folder = tmp_path / "out"
    folder.mkdir()
    (note,) = write_folder(model, folder)
    assert "changes quotes" in note
    theirs = Transcription(folder)
    assert isinstance(model.network, DualNetwork)
    assert theirs.logit_scale.item() == pytest.approx(-np.log(model.network.temperature))
    assert getattr(theirs, "logit_bias", None) == model.network.logit_bias
    images = squares(model.image_encoder.image_size)
    for ours, other in (
        (model.encode_images(images), theirs.encode_images(images)),
        (model.encode_texts(TEXTS), theirs.encode_texts(TEXTS)),
    ):
        np.testing.assert_allclose(other, ours, atol=1e-5)
        assert np.abs(ours[0] - ours[1:]).max(axis=1).min() > 1e-2


def test_positions_that_no_text_reaches(tmp_path: Path) -> None:
    """open_clip pads to all of its positions, so it gets those of the longest text."""
    model = pretrained(tmp_path / "given")
    assert model.tokenizer is not None
    model.tokenizer = type(model.tokenizer)(model.tokenizer._tokenizer, pad_id=0, max_tokens=10)
    _, note = write_folder(model, tmp_path)
    assert note == "Positions beyond 10 tokens, at which texts are cut, are not in it."
    long = ["a photo of two dogs that run over the grass", "dogs"]
    np.testing.assert_allclose(
        Transcription(tmp_path).encode_texts(long), model.encode_texts(long), atol=1e-5
    )


@pytest.mark.parametrize("name", MODELS)
def test_the_library_opens_it(name: str, tmp_path: Path) -> None:
    pytest.importorskip("open_clip", reason="open_clip is not installed")
    model = MODELS[name](tmp_path / "given")
    written = export(model, tmp_path / "out", format=FORMAT)
    assert max(written.differences.values()) < 1e-5
    read, size = card_functions(written.folder), model.image_encoder.image_size
    texts = [*TEXTS, "“curly” &amp; two  spaces", "long " * 60]
    images = [*squares(size), squares(size)[0].resize((2 * size, 3 * size))]
    np.testing.assert_allclose(read["encode_texts"](texts), model.encode_texts(texts), atol=1e-5)
    np.testing.assert_allclose(read["encode_images"](images), model.encode_images(images), atol=1e-5)


def test_without_the_library_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(open_clip, "import_module", missing)
    with pytest.raises(ConfigError, match=r"No module named 'open_clip'\); try pip install .*\[open_clip\]"):
        export(own(), tmp_path / "out", format=FORMAT)
    assert list(tmp_path.iterdir()) == []


def dual(image: Any = "vit", text: Any = "clip", pooling: Any = None, **options: Any) -> Network:
    return DualNetwork(image_encoder(image, **options), text_encoder(text, pooling=pooling), dim=8)


@pytest.mark.parametrize(
    ("network", "error", "said"),
    [
        (lambda: dual("resnet"), ModelError, "own image towers are ViT and CLIP's, and this one is a resnet"),
        (lambda: dual(stem="convolutions"), ModelError, "its ViT begins with patches"),
        (lambda: dual(text="bert"), ModelError, "own text tower is CLIP's, and this one is a bert"),
        (lambda: dual(text="gru"), ModelError, "own text tower is CLIP's, and this one is a gru"),
        (lambda: dual(pooling="mean"), ModelError, "it takes a text's end token"),
        (lambda: TextNetwork(text_encoder("clip")), AbilityError, "images"),
    ],
)
def test_other_towers_are_refused(
    network: Any, error: type[LikewiseError], said: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said):
        export(model_of(network()), tmp_path / "out", format=FORMAT)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("family", "said"),
    [("siglip", "this one is a siglip_vision_model"), ("chinese_clip", "a chinese_clip_vision_model")],
)
def test_other_families_are_refused(family: str, said: str, tmp_path: Path) -> None:
    write_two_towers(tmp_path / "given", family)
    with pytest.raises(ModelError, match=f"{said}. Try --format transformers"):
        export(load(tmp_path / "given"), tmp_path / "out", format=FORMAT)


def test_two_activations_are_refused(tmp_path: Path) -> None:
    model = pretrained(tmp_path / "given")
    model.network.text.backbone.config.hidden_act = "gelu"  # type: ignore[union-attr]
    with pytest.raises(ModelError, match="these have quick_gelu and gelu"):
        export(model, tmp_path / "out", format=FORMAT)


def test_the_hubs_name_is_that_of_the_tokenizer(tmp_path: Path) -> None:
    write_folder(own(), tmp_path)
    name_on_hub(tmp_path, "me/mine")
    config = json.loads((tmp_path / CONFIG_FILE).read_text())["model_cfg"]
    assert config["text_cfg"]["hf_tokenizer_name"] == "me/mine"
    name_on_hub(tmp_path / "elsewhere", "me/mine")  # not of this format: nothing happens
