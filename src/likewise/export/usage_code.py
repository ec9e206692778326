"""Lines of Python that several model cards share."""

from __future__ import annotations

import json
from pathlib import Path

from likewise.data.images.decode import PAD_COLOUR
from likewise.encoders.tokenizer import TextTokenizer
from likewise.model.model import Model

__all__ = ["OPEN_TOKENIZER", "image_imports", "square", "write_tokenizer"]


def square(model: Model) -> str:
    """An expression for a PIL `image` as an RGB square of the model's size, made as in training."""
    size = model.image_encoder.image_size
    arguments = f'image.convert("RGB"), ({size}, {size}), Image.Resampling.BICUBIC'
    match model.config["images"]["fit"]:
        case "crop":
            return f"ImageOps.fit({arguments})"
        case "pad":
            return f"ImageOps.pad({arguments}, color={PAD_COLOUR})"
    return f'image.convert("RGB").resize(({size}, {size}), Image.Resampling.BICUBIC)'


def image_imports(model: Model) -> list[str]:
    """Imports that `square` needs."""
    squashed = model.config["images"]["fit"] == "squash"
    return ["from PIL import Image" if squashed else "from PIL import Image, ImageOps"]


def write_tokenizer(tokenizer: TextTokenizer, file: Path) -> None:
    """A tokenizer.json that also pads, for the tokenizers library."""
    tokenizer.save(file)
    values = json.loads(file.read_text(encoding="utf-8"))
    values["padding"] = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": tokenizer.pad_id,
        "pad_type_id": 0,
        "pad_token": tokenizer.special_tokens()["pad_token"],
    }
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")


OPEN_TOKENIZER = """
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
tokenizer.encode_special_tokens = True  # "[SEP]" in a text is a text
"""
