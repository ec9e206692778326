"""Small models of many kinds to export, and the code of an exported folder's model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from likewise import Model
from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
from likewise.encoders.text import TextEncoder, TextEncoderConfig
from likewise.encoders.tokenizer import TextTokenizer, train_tokenizer
from likewise.networks.base import Network

TEXTS = [
    "a red circle",
    "two blue squares in a row, and a very small star beside them",
    "四个 grey crosses",
    "x",
]
MAX_TOKENS = 12
SIZES = {
    "vit": {"width": 32, "depth": 2, "heads": 2},
    "resnet": {"width": 8, "depth": 10},
    "convnext": {"width": 8},
}


def tokenizer() -> TextTokenizer:
    return train_tokenizer(TEXTS, vocabulary_size=300, max_tokens=MAX_TOKENS)


def image_encoder(architecture: Any = "vit", *, image_size: int = 32, **options: Any) -> ImageEncoder:
    sizes: dict[str, Any] = SIZES[architecture] | options
    return ImageEncoder.build(ImageEncoderConfig(architecture=architecture, image_size=image_size, **sizes))


def text_encoder(architecture: Any = "bert", **options: Any) -> TextEncoder:
    sizes = {"width": 16, "depth": 2, "heads": None if architecture in ("gru", "lstm") else 2}
    config = TextEncoderConfig(architecture=architecture, max_tokens=MAX_TOKENS, **(sizes | options))
    return TextEncoder.build(config, vocabulary_size=tokenizer().size)


def model_of(network: Network, fit: str = "crop", *, words: TextTokenizer | None = None) -> Model:
    """A model whose weights are larger than new ones, so that different inputs have different vectors, and
    the same in each run."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim < 2:
                weight += 0.2 * torch.randn(weight.shape, generator=generator)
            else:
                weight.normal_(std=weight[0].numel() ** -0.5, generator=generator)
    reads_texts = hasattr(network, "encode_texts")
    return Model.trained(
        network.eval(),
        tokenizer=(words or tokenizer()) if reads_texts else None,
        method="clip",
        fit=fit,
        store_size=None,
        trained_on={},
    )


def card_functions(folder: Path) -> dict[str, Any]:
    """What the Python of the model card defines, run as it stands there but for the folder's name."""
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    assert "path/to/this/folder" in code
    names: dict[str, Any] = {}
    exec(code.split("\nprint(")[0].replace("path/to/this/folder", str(folder)), names)
    return names
