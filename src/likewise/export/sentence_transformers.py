"""The folder of sentence-transformers, which also MTEB and many vector databases open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from likewise.encoders.text import TextEncoder
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ModelError
from likewise.export.registry import export_format
from likewise.model.model import Model
from likewise.networks.dual import DualNetwork
from likewise.networks.fusion import FusionNetwork
from likewise.networks.text import TextNetwork

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
# transformers' AutoModel, through which sentence-transformers opens a backbone, does not list them.
_NOT_OPENED = ("clip_text_model", "rnn", "lstm", "gru")


@export_format("sentence-transformers", "a folder that sentence-transformers opens: texts to unit vectors")
def write_sentence_transformers(model: Model, folder: Path) -> None:
    """Write the text encoder of a model with its pooling, projection and normalisation.

    Args:
        model: can encode texts.
        folder: an empty one.

    Raises:
        AbilityError: the model cannot encode texts.
        ModelError: its text encoder is of a kind that sentence-transformers does not open.
    """
    model.needs("encode_texts")
    encoder, pooling, projection = _text_parts(model)
    kind = encoder.backbone.config.model_type
    if kind in _NOT_OPENED:
        raise ModelError(
            f"the text encoder is a {kind}, which sentence-transformers does not open; train with "
            "--text.architecture bert."
        )
    assert model.tokenizer is not None
    _write_backbone(encoder, model.tokenizer, folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    _write_json(folder / "1_Pooling" / "config.json", _pooling_config(encoder.dim, pooling))
    if projection is not None:
        modules.append(("2_Dense", "Dense"))
        _write_dense(folder / "2_Dense", projection)
    # Vectors here have unit length unless asked otherwise.
    modules.append((f"{len(modules)}_Normalize", "Normalize"))
    (folder / modules[-1][0]).mkdir()
    _write_json(
        folder / "modules.json",
        [
            {"idx": number, "name": str(number), "path": path, "type": f"{_PACKAGE}.{name}"}
            for number, (path, name) in enumerate(modules)
        ],
    )
    _write_json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
    (folder / "README.md").write_text(_card(model), encoding="utf-8")


def _text_parts(model: Model) -> tuple[TextEncoder, str, nn.Linear | None]:
    """The text encoder, its pooling, and the linear layer after it."""
    network = model.network
    if isinstance(network, TextNetwork):
        return network.text, network.text.pooling, network.projection
    if isinstance(network, DualNetwork):
        projection = network.text_projection
        if network.text.pooling == "own" or not isinstance(projection, nn.Linear):
            raise ModelError("the text encoder has a pooler of its own, which sentence-transformers lacks.")
        return network.text, network.text.pooling, projection
    if isinstance(network, FusionNetwork):  # which reads [CLS], whatever the encoder pools
        return network.text, "first", network.text_projection
    raise ModelError(f"a network of kind {network.kind!r} has no text encoder of its own.")


def _write_backbone(encoder: TextEncoder, tokenizer: TextTokenizer, folder: Path) -> None:
    config = encoder.backbone.config
    values = {key: value for key, value in config.to_dict().items() if not key.startswith("_")}
    values["architectures"] = [type(encoder.backbone).__name__]
    _write_json(folder / "config.json", values)
    _save(encoder.backbone.state_dict(), folder / "model.safetensors")
    tokenizer.save(folder / "tokenizer.json")
    tokens = tokenizer.special_tokens()
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": tokenizer.max_tokens,
            **tokens,
        },
    )
    _write_json(folder / "special_tokens_map.json", tokens)
    _write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": tokenizer.max_tokens, "do_lower_case": False},
    )


def _pooling_config(width: int, pooling: str) -> dict[str, Any]:
    chosen = {f"pooling_mode_{mode}": mode == _POOLING[pooling] for mode in _MODES}
    return {"word_embedding_dimension": width, **chosen, "include_prompt": True}


def _write_dense(folder: Path, layer: nn.Linear) -> None:
    has_bias = layer.bias is not None
    _write_json(
        folder / "config.json",
        {
            "in_features": layer.in_features,
            "out_features": layer.out_features,
            "bias": has_bias,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    _save(
        {f"linear.{name}": value for name, value in layer.state_dict().items()}, folder / "model.safetensors"
    )


def _save(weights: dict[str, Tensor], file: Path) -> None:
    from safetensors.torch import save_file

    plain = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    save_file(plain, file, metadata={"format": "pt"})
    file.chmod(0o644)  # safetensors lets only the owner read it


def _write_json(file: Path, values: Any) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _card(model: Model) -> str:
    return "\n".join(
        [
            "---",
            "library_name: sentence-transformers",
            "tags: [sentence-transformers, sentence-similarity, feature-extraction]",
            "---",
            "",
            f"# Sentence embeddings of {model.dim} dimensions",
            "",
            f"Trained with Likewise (method {model.config['method']}).",
            "",
            "```python",
            "from sentence_transformers import SentenceTransformer",
            "",
            'model = SentenceTransformer("path/to/this/folder")',
            'model.encode(["a sentence", "another"])',
            "```",
            "",
        ]
    )
