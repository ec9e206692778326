"""Programs of torch.export, which run without this library and without transformers."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from likewise.encoders.recurrent_text import RecurrentBackbone
from likewise.encoders.text import TextEncoder
from likewise.errors import ModelError
from likewise.export.plain_network import UnitImages, UnitTexts
from likewise.export.registry import Code, Written, export_format
from likewise.export.usage_code import OPEN_TOKENIZER, image_imports, square, write_tokenizer
from likewise.model.model import Model

__all__ = ["write_torch"]


@export_format("torch", "programs of torch.export: uint8 images or tokens of texts to unit vectors")
def write_torch(model: Model, folder: Path) -> Written:
    """Write image.pt2, text.pt2 and tokenizer.json, as far as the model encodes both; inputs and outputs are
    those of the format `onnx`.

    Args:
        model: can encode images or texts.
        folder: an empty one.

    Raises:
        AbilityError: the model can encode neither.
        ModelError: it has a recurrent text encoder and no images.
    """
    if "encode_texts" not in model.abilities:
        model.needs("encode_images")
    imports, body, notes = ["import torch"], [], []
    if "encode_images" in model.abilities:
        images = UnitImages(model)
        _write(images, images.dynamic_shapes(), folder / "image.pt2")
        imports += ["import numpy as np", *image_imports(model)]
        body.append(_IMAGE_USAGE.format(square=square(model)))
    if "encode_texts" in model.abilities:
        assert model.tokenizer is not None
        reason = _untraceable(model)
        if reason is not None:
            if not body:
                raise ModelError(f"{reason}; --format onnx can.")
            notes.append(f"The texts' half is missing: {reason}; --format onnx can.")
        else:
            texts = UnitTexts(model)
            _write(texts, texts.dynamic_shapes(), folder / "text.pt2")
            write_tokenizer(model.tokenizer, folder / "tokenizer.json")
            imports.append("from tokenizers import Tokenizer")
            body += [OPEN_TOKENIZER, _TEXT_USAGE]
    return Written(Code(imports, body), library="pytorch", tags=("torch.export",), notes=tuple(notes))


_IMAGE_USAGE = """\
image_program = torch.export.load(f"{{folder}}/image.pt2").module()


@torch.no_grad()
def encode_images(images):
    squares = [{square} for image in images]
    return image_program(torch.from_numpy(np.stack([np.array(one) for one in squares])))  # (B, S, S, 3) uint8

"""

_TEXT_USAGE = """\
text_program = torch.export.load(f"{folder}/text.pt2").module()


@torch.no_grad()
def encode_texts(texts):
    rows = tokenizer.encode_batch(texts)
    ids, mask = [row.ids for row in rows], [row.attention_mask for row in rows]
    return text_program(torch.tensor(ids), torch.tensor(mask))

"""


def _untraceable(model: Model) -> str | None:
    """Why torch.export cannot trace the text encoder for texts of any length; None where it can."""
    for part in model.network.modules():
        if isinstance(part, RecurrentBackbone):
            kind = part.config.model_type
            return f"torch.export cannot trace the text encoder, a {kind} over packed texts"
        if isinstance(part, TextEncoder) and part.padded_with is not None:
            return "torch.export cannot trace the text encoder, which pads texts to one length"
    return None


def _write(module: Any, shapes: tuple[Any, ...], file: Path) -> None:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of tracing
        program = torch.export.export(module, module.example(), dynamic_shapes=shapes)
        torch.export.save(program, file)
