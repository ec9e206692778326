"""The folder of one model of transformers for both towers.

Its writer is shared: with two files more, sentence-transformers opens the same folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from likewise.export.registry import Code
from likewise.export.towers import write_image_processor, write_tokenizer_files
from likewise.export.two_towers import two_towers
from likewise.export.usage_code import image_imports, square
from likewise.model.model import Model
from likewise.networks.base import Network

__all__ = ["TwoTowerFolder", "given_images", "write_two_towers"]


class TwoTowerFolder(NamedTuple):
    """What was written.

    Attributes:
        code: that reads it by transformers.
        notes: on what is not in it.
        length: tokens that all texts are padded to; None where that does not matter.
    """

    code: Code
    notes: tuple[str, ...]
    length: int | None


def write_two_towers(model: Model, network: Network, folder: Path) -> TwoTowerFolder | str:
    """Write a CLIPModel or VisionTextDualEncoderModel with its processor's files.

    Args:
        model: can encode images and texts.
        network: its network of plain layers.
        folder: an empty one.

    Returns:
        How it is read; or why no class holds both towers.
    """
    assert model.tokenizer is not None
    whole = two_towers(network, model.tokenizer)
    if isinstance(whole, str):
        return whole
    whole.model.save_pretrained(folder)
    write_image_processor(model, folder)
    padded = whole.length is not None
    write_tokenizer_files(model.tokenizer, folder, reads_padding=padded, processor_class=whole.processor)
    options = f'padding="max_length", max_length={whole.length}' if padded else "padding=True"
    code = Code(
        [*_IMPORTS, *image_imports(model)],
        [_BODY.replace("{images}", given_images(model)).replace("{padding}", options)],
    )
    return TwoTowerFolder(code, tuple(whole.notes), whole.length)


def given_images(model: Model) -> str:
    """How the processor gets PIL `images`. It would crop and squeeze by itself, up to half a pixel apart."""
    return f"[{square(model)} for image in images]"


_IMPORTS = ("import torch", "from transformers import AutoImageProcessor, AutoModel, AutoTokenizer")
_BODY = """\
model = AutoModel.from_pretrained(folder).eval()
processor = AutoImageProcessor.from_pretrained(folder)
tokenizer = AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def encode_images(images):
    batch = processor({images}, return_tensors="pt")
    return torch.nn.functional.normalize(model.get_image_features(**batch).pooler_output, dim=1)


@torch.no_grad()
def encode_texts(texts):
    batch = tokenizer(texts, {padding}, truncation=True, return_tensors="pt")
    return torch.nn.functional.normalize(model.get_text_features(**batch).pooler_output, dim=1)
"""
