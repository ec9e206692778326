"""Folders of transformers: CLIPModel or VisionTextDualEncoderModel, or an encoder alone.

transformers' classes of two towers pool in one way each. A run whose towers pool in that way becomes one
model; another becomes one folder an encoder, each a model of transformers, with its projection beside it.
"""

from __future__ import annotations

from pathlib import Path

from likewise.encoders.pretrained import without_pooler
from likewise.errors import ModelError
from likewise.export.plain_network import plain_network
from likewise.export.registry import Code, Written, export_format
from likewise.export.towers import (
    ImageTower,
    TextTower,
    image_tower,
    save_weights,
    text_tower,
    write_image_processor,
    write_tokenizer_files,
)
from likewise.export.two_tower_folder import given_images, write_two_towers
from likewise.export.usage_code import image_imports
from likewise.model.model import Model
from likewise.networks.fusion import FusionNetwork

__all__ = ["write_transformers"]


@export_format("transformers", "models of transformers: CLIPModel, VisionTextDualEncoderModel, or an encoder")
def write_transformers(model: Model, folder: Path) -> Written:
    """Write the encoders of a model with image processor and tokenizer files; no remote code is needed.

    Args:
        model: can encode images or texts.
        folder: an empty one.

    Raises:
        AbilityError: the model can encode neither.
        ModelError: transformers has no class for any of its encoders.
    """
    if "encode_texts" not in model.abilities:
        model.needs("encode_images")
    network = plain_network(model)
    image, text = image_tower(network), text_tower(network)
    if image is None and text is None:
        raise ModelError(
            f"a network of kind {network.kind!r} has parts between its encoder and its vectors that no class "
            "of transformers holds; --format onnx and --format torch hold it whole."
        )
    notes: list[str] = []
    if image is not None and text is not None:
        whole = write_two_towers(model, network, folder)
        if not isinstance(whole, str):
            return Written(whole.code, library="transformers", notes=whole.notes)
        if image.misfit is None and text.misfit is None:
            notes.append(f"{whole}, so it is two models of transformers and their projections.")
    if isinstance(network, FusionNetwork):
        notes.append("The fusion encoder is not in it: no class of transformers is of its kind.")
    misfits = [tower.misfit for tower in (image, text) if tower is not None and tower.misfit is not None]
    image = image if image is not None and image.misfit is None else None
    text = text if text is not None and text.misfit is None else None
    if image is None and text is None:
        raise ModelError(f"{'; '.join(misfits)}. --format onnx holds such a model.")
    notes += [f"This half is missing: {misfit}; --format onnx holds it." for misfit in misfits]
    return Written(_write_apart(model, folder, image, text), library="transformers", notes=tuple(notes))


def _write_apart(model: Model, folder: Path, image: ImageTower | None, text: TextTower | None) -> Code:
    """Write each encoder by itself: in folders of their own where there are two."""
    imports, body = ["import torch"], []
    several = image is not None and text is not None
    if image is not None:
        place = folder / "image" if several else folder
        image.encoder.backbone.save_pretrained(place)
        write_image_processor(model, place)
        imports += image_imports(model)
        body.append(_code(_IMAGE, image, place, folder).replace("{images}", given_images(model)))
    if text is not None:
        assert model.tokenizer is not None
        place = folder / "text" if several else folder
        text.encoder.backbone.save_pretrained(place)
        write_tokenizer_files(model.tokenizer, place)
        body.append(_code(_TEXT, text, place, folder))
    if any("load_file" in part for part in body):
        imports.append("from safetensors.torch import load_file")
    used = {"AutoImageProcessor": image, "AutoModel": True, "AutoTokenizer": text}
    imports.append(f"from transformers import {', '.join(name for name, is_used in used.items() if is_used)}")
    return Code(imports, body)


def _code(template: str, tower: ImageTower | TextTower, place: Path, folder: Path) -> str:
    """The Python that reads an encoder at a place; its projection is written there."""
    path = "{folder}" if place == folder else f"{{folder}}/{place.name}"
    with_pooler = tower.encoder.pooling == "own"
    options = (
        ""
        if with_pooler
        else "".join(
            f", {name}={value}" for name, value in without_pooler(tower.encoder.backbone.config).items()
        )
    )
    opened = projected = ""
    if tower.projection is not None:
        name = "image" if isinstance(tower, ImageTower) else "text"
        save_weights(dict(tower.projection.state_dict()), place / "projection.safetensors")
        opened = f'{name}_projection = load_file(f"{path}/projection.safetensors")\n'
        projected = f"    vectors = torch.nn.functional.linear(vectors, **{name}_projection)\n"
    filled = template.replace("{path}", path).replace("{options}", options).replace("{pooled}", tower.pooled)
    return filled.replace("{opened}", opened).replace("{projected}", projected)


_IMAGE = """\
image_model = AutoModel.from_pretrained(f"{path}"{options}).eval()
processor = AutoImageProcessor.from_pretrained(f"{path}")
{opened}

@torch.no_grad()
def encode_images(images):
    output = image_model(**processor({images}, return_tensors="pt"))
    vectors = {pooled}
{projected}    return torch.nn.functional.normalize(vectors, dim=1)

"""

_TEXT = """\
text_model = AutoModel.from_pretrained(f"{path}"{options}).eval()
tokenizer = AutoTokenizer.from_pretrained(f"{path}")
{opened}

@torch.no_grad()
def encode_texts(texts):
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    output, mask = text_model(**batch), batch["attention_mask"]
    states = output.last_hidden_state
    vectors = {pooled}
{projected}    return torch.nn.functional.normalize(vectors, dim=1)

"""
