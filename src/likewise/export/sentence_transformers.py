"""The folder of sentence-transformers, which also MTEB and many vector databases open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from likewise.encoders.pretrained import without_pooler
from likewise.encoders.text import TextEncoder
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ModelError
from likewise.export.plain_network import plain_network
from likewise.export.registry import Code, Written, export_format
from likewise.export.towers import save_weights, text_tower, write_json, write_tokenizer_files
from likewise.export.two_tower_folder import TwoTowerFolder, given_images, write_two_towers
from likewise.export.usage_code import image_imports
from likewise.model.model import Model

__all__ = ["write_sentence_transformers"]

_PACKAGE = "sentence_transformers.models"
_POOLING = {
    "first": "cls_token",
    "last": "lasttoken",
    "mean": "mean_tokens",
    "max": "max_tokens",
}
_MODES = (
    "cls_token",
    "mean_tokens",
    "max_tokens",
    "mean_sqrt_len_tokens",
    "weightedmean_tokens",
    "lasttoken",
)


@export_format("sentence-transformers", "a folder that sentence-transformers opens")
def write_sentence_transformers(model: Model, folder: Path) -> Written:
    """Write both towers, where one class of transformers holds them; or the text encoder of a model with its
    pooling, projection and normalisation.

    Args:
        model: can encode texts.
        folder: an empty one.

    Raises:
        AbilityError: the model cannot encode texts.
        ModelError: its text encoder is of a kind that sentence-transformers does not open.
    """
    model.needs("encode_texts")
    notes = []
    if "encode_images" in model.abilities:
        whole = write_two_towers(model, plain_network(model), folder)
        if not isinstance(whole, str):
            return _two_towers(model, folder, whole)
        notes.append(f"The image encoder is not in it: {whole}.")
    return _texts(model, folder, notes)


def _two_towers(model: Model, folder: Path, whole: TwoTowerFolder) -> Written:
    """Add what sentence-transformers reads to a folder of transformers."""
    methods = {
        name: {"method": f"get_{name}_features", "method_output_name": "pooler_output"}
        for name in ("text", "image")
    }
    settings: dict[str, Any] = {"modality_config": methods, "module_output_name": "sentence_embedding"}
    if whole.length is not None:
        settings["processing_kwargs"] = {"text": {"padding": "max_length", "max_length": whole.length}}
    write_json(folder / "sentence_bert_config.json", settings)
    _write_modules(folder, [("", "Transformer"), ("1_Normalize", "Normalize")])
    imports = [*_IMPORTS, *image_imports(model)]
    body = _USAGE + _IMAGE_USAGE.replace("{images}", given_images(model))
    return Written(Code(imports, [body]), **_ON_HUB, notes=whole.notes, reading=whole.code)


def _texts(model: Model, folder: Path, notes: list[str]) -> Written:
    """Write the text encoder."""
    tower = text_tower(model.network)
    if tower is None:
        raise ModelError(f"a network of kind {model.network.kind!r} has no text encoder of its own.")
    encoder, pooling, projection = tower
    if pooling not in _POOLING:
        raise ModelError("the text encoder has a pooler of its own, which sentence-transformers lacks.")
    if tower.misfit is not None:
        raise ModelError(
            f"{tower.misfit}, so sentence-transformers cannot open it; train with --text.architecture bert, "
            "or give --format onnx."
        )
    assert model.tokenizer is not None
    _write_backbone(encoder, model.tokenizer, folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    write_json(folder / "1_Pooling" / "config.json", _pooling_config(encoder.dim, pooling))
    if projection is not None:
        if encoder.normalize:
            modules.append(("2_Normalize", "Normalize"))
        modules.append((f"{len(modules)}_Dense", "Dense"))
        _write_dense(folder / modules[-1][0], projection)
    # Vectors here have unit length unless asked otherwise.
    modules.append((f"{len(modules)}_Normalize", "Normalize"))
    _write_modules(folder, modules)
    reading = _READING.format(
        pooled=tower.pooled,
        options=without_pooler(encoder.backbone.config),
        dense="" if projection is None else _DENSE.format(path=modules[-2][0]),
    )
    return Written(
        Code(_IMPORTS, [_USAGE]), **_ON_HUB, notes=tuple(notes), reading=Code(_READING_IMPORTS, [reading])
    )


def _write_modules(folder: Path, modules: list[tuple[str, str]]) -> None:
    for path, name in modules:
        if name == "Normalize":
            (folder / path).mkdir()
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"{_PACKAGE}.{name}"}
        for number, (path, name) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)
    write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})


_ON_HUB: Any = {"library": "sentence-transformers", "tags": ("sentence-similarity",)}
_IMPORTS = ("from sentence_transformers import SentenceTransformer",)
_USAGE = """\
model = SentenceTransformer(folder)


def encode_texts(texts):
    return model.encode(texts)
"""

_IMAGE_USAGE = """\


def encode_images(images):
    return model.encode({images})
"""

# What that library does with the folder, for a check where it is not installed.
_READING_IMPORTS = (
    "import torch",
    "from safetensors.torch import load_file",
    "from transformers import AutoModel, AutoTokenizer",
)
_READING = """\
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder, **{options}).eval()


@torch.inference_mode()
def encode_texts(texts):
    batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt", return_token_type_ids=False)
    states, mask = model(**batch).last_hidden_state, batch["attention_mask"]
    vectors = {pooled}
{dense}    return torch.nn.functional.normalize(vectors, dim=1)
"""

_DENSE = """\
    dense = load_file(f"{{folder}}/{path}/model.safetensors")
    vectors = torch.nn.functional.linear(vectors, dense["linear.weight"], dense.get("linear.bias"))
"""


def _write_backbone(encoder: TextEncoder, tokenizer: TextTokenizer, folder: Path) -> None:
    config = encoder.backbone.config
    values = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
    values["architectures"] = [type(encoder.backbone).__name__]
    write_json(folder / "config.json", values)
    save_weights(encoder.backbone.state_dict(), folder / "model.safetensors")
    write_tokenizer_files(tokenizer, folder)
    write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": tokenizer.max_tokens, "do_lower_case": False},
    )


def _pooling_config(width: int, pooling: str) -> dict[str, Any]:
    chosen = {f"pooling_mode_{mode}": mode == _POOLING[pooling] for mode in _MODES}
    return {"word_embedding_dimension": width, **chosen, "include_prompt": True}


def _write_dense(folder: Path, layer: nn.Linear) -> None:
    has_bias = layer.bias is not None
    write_json(
        folder / "config.json",
        {
            "in_features": layer.in_features,
            "out_features": layer.out_features,
            "bias": has_bias,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    save_weights(
        {f"linear.{name}": value for name, value in layer.state_dict().items()}, folder / "model.safetensors"
    )
