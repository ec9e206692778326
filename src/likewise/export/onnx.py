"""ONNX programs for onnxruntime: preprocessing, pooling, projection and unit length inside.

Exported by `torch.onnx.export`, whose newer exporter traces by torch.export; it cannot trace recurrent
layers over packed texts, so these go through the older one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from likewise.encoders.recurrent_text import RecurrentBackbone
from likewise.errors import ConfigError
from likewise.export.plain_network import UnitImages, UnitTexts
from likewise.export.registry import Code, Written, export_format
from likewise.export.usage_code import OPEN_TOKENIZER, image_imports, square, write_tokenizer
from likewise.model.model import Model

__all__ = ["write_onnx"]

_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_OLDER_OPSET = 17
# A file of protobuf holds 2 GiB; weights of larger models lie beside it.
_MOST_BYTES = 1_900_000_000


@export_format("onnx", "programs for onnxruntime: uint8 images or tokens of texts to unit vectors")
def write_onnx(model: Model, folder: Path) -> Written:
    """Write image.onnx, text.onnx and tokenizer.json, as far as the model encodes both.

    `image.onnx` takes `image`, (B, S, S, 3) uint8; `text.onnx` takes `input_ids` and `attention_mask`, both
    (B, L) int64, padded on the right, L from 2 to the model's longest. Both give `vector`, (B, D) float32 of
    unit length.

    Args:
        model: can encode images or texts.
        folder: an empty one.

    Raises:
        AbilityError: the model can encode neither.
        ConfigError: onnx, onnxruntime or onnxscript is not installed.
    """
    if missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            f'--format onnx needs {", ".join(missing)}, not installed here; try pip install "likewise[onnx]".'
        )
    if "encode_texts" not in model.abilities:
        model.needs("encode_images")
    imports, body = ["import numpy as np", "import onnxruntime"], []
    if "encode_images" in model.abilities:
        _write(UnitImages(model), ["image"], folder / "image.onnx")
        imports += image_imports(model)
        body.append(_IMAGE_USAGE.format(square=square(model)))
    if "encode_texts" in model.abilities:
        assert model.tokenizer is not None
        names = ["input_ids", "attention_mask"]
        _write(UnitTexts(model), names, folder / "text.onnx", recurrent=_is_recurrent(model))
        write_tokenizer(model.tokenizer, folder / "tokenizer.json")
        imports.append("from tokenizers import Tokenizer")
        body += [OPEN_TOKENIZER, _TEXT_USAGE]
    return Written(Code(imports, body), library="onnx", tags=("onnxruntime",))


_IMAGE_USAGE = """\
image_session = onnxruntime.InferenceSession(f"{{folder}}/image.onnx")


def encode_images(images):
    squares = [{square} for image in images]
    pixels = np.stack([np.asarray(one) for one in squares])  # (B, S, S, 3) uint8
    return image_session.run(None, {{"image": pixels}})[0]

"""

_TEXT_USAGE = """\
text_session = onnxruntime.InferenceSession(f"{folder}/text.onnx")


def encode_texts(texts):
    rows = tokenizer.encode_batch(texts)
    ids, mask = np.array([row.ids for row in rows]), np.array([row.attention_mask for row in rows])
    return text_session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

"""


def _is_recurrent(model: Model) -> bool:
    return any(isinstance(module, RecurrentBackbone) for module in model.network.modules())


def _write(module: UnitImages | UnitTexts, names: list[str], file: Path, *, recurrent: bool = False) -> None:
    how: dict[str, Any] = {
        "dynamo": True,
        "dynamic_shapes": module.dynamic_shapes(),
        "external_data": _is_large(module),
        "verbose": False,
    }
    if recurrent:
        shapes = {name: {0: "batch", 1: "length"} for name in names}
        how = {"dynamo": False, "dynamic_axes": shapes, "opset_version": _OLDER_OPSET}
    with _quiet():
        torch.onnx.export(module, module.example(), file, input_names=names, output_names=["vector"], **how)


def _is_large(module: torch.nn.Module) -> bool:
    return sum(weight.numel() * weight.element_size() for weight in module.parameters()) > _MOST_BYTES


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on operators that nothing here uses, and on their own age."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_LOGGERS = ("onnxscript", "onnx_ir", "torch.onnx", "torch.onnx._internal.exporter._registration")
