"""The encoders of a network as other libraries see them: backbone, pooling, linear projection.

Written as folders that transformers opens, with Python that pools and projects.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from transformers import MODEL_MAPPING

from likewise.encoders.image import ImageEncoder
from likewise.encoders.own import OwnBackbone
from likewise.encoders.text import TextEncoder
from likewise.encoders.tokenizer import TextTokenizer
from likewise.model.model import Model
from likewise.networks.base import Network
from likewise.networks.dual import DualNetwork
from likewise.networks.fusion import FusionNetwork
from likewise.networks.image import ImageNetwork
from likewise.networks.text import TextNetwork
from likewise.networks.two_towers import TwoTowers

__all__ = [
    "ImageTower",
    "TextTower",
    "image_tower",
    "save_weights",
    "text_tower",
    "write_image_processor",
    "write_json",
    "write_tokenizer_files",
]


class ImageTower(NamedTuple):
    """An image encoder.

    Attributes:
        encoder: with its backbone and pooling.
        projection: after it; None where there is none.
    """

    encoder: ImageEncoder
    projection: nn.Linear | None

    @property
    def misfit(self) -> str | None:
        """Why transformers has no class for it; None where it has one."""
        if (reason := _not_opened(self.encoder.backbone)) is not None:
            return f"the image encoder is {reason}"
        if self.encoder.stem_stride is None:
            return None
        if not self.encoder.convolutional:
            return "the image encoder is a ViT that begins with convolutions, transformers' with patches"
        return "the image encoder is a ResNet with a 3x3 stem for small images, transformers' has a 7x7 stem"

    @property
    def pooled(self) -> str:
        """An expression for the pooled `output` of transformers' model, (B, D)."""
        if self.encoder.convolutional:
            return "output.pooler_output.flatten(1)"
        if self.encoder.pooling == "mean":
            first = self.encoder.num_prefix_tokens
            return f"output.last_hidden_state[:, {first}:].mean(dim=1)"
        return "output.pooler_output" if self.encoder.pooled_by_backbone else "output.last_hidden_state[:, 0]"


class TextTower(NamedTuple):
    """A text encoder.

    Attributes:
        encoder: with its backbone.
        pooling: of the tokens; a fusion network reads [CLS] whatever its encoder's own is.
        projection: after it; None where there is none.
    """

    encoder: TextEncoder
    pooling: str
    projection: nn.Linear | None

    @property
    def misfit(self) -> str | None:
        """Why transformers has no class for it; None where it has one."""
        reason = _not_opened(self.encoder.backbone)
        return None if reason is None else f"the text encoder is {reason}"

    @property
    def pooled(self) -> str:
        """An expression for the pooled `output` of transformers' model, with its `states`, (B, L, D), and
        their `mask`, (B, L), to (B, D)."""
        expression = {
            "own": "output.pooler_output",
            "first": "states[:, 0]",
            "last": "states[torch.arange(len(states)), mask.sum(dim=1) - 1]",
            "mean": "(states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)",
            "max": "states.masked_fill(mask[..., None] == 0, -torch.inf).amax(dim=1)",
        }[self.pooling]
        return f"torch.nn.functional.normalize({expression}, dim=1)" if self.encoder.normalize else expression


def _not_opened(backbone: Any) -> str | None:
    """What kind of backbone it is, where transformers' AutoModel opens none of its kind."""
    if isinstance(backbone, OwnBackbone):
        return f"a network of the user's own ({backbone.config.name})"
    kind = backbone.config.model_type
    if kind == "siglip2_vision_model":
        return f"a {kind}, which takes patches and no images"
    return None if type(backbone.config) in MODEL_MAPPING else f"a {kind}, transformers' AutoModel opens none"


def image_tower(network: Network) -> ImageTower | None:
    """The image encoder of a network that embeds images by it alone; None of other networks."""
    if isinstance(network, ImageNetwork):
        return ImageTower(network.image, network.projection)
    if isinstance(network, (TwoTowers, FusionNetwork)):
        return ImageTower(network.image, _linear(network.image_projection))
    return None


def text_tower(network: Network) -> TextTower | None:
    """The text encoder of a network that embeds texts by it alone; None of other networks."""
    if isinstance(network, TextNetwork):
        return TextTower(network.text, network.text.pooling, network.projection)
    if isinstance(network, DualNetwork):
        return TextTower(network.text, network.text.pooling, _linear(network.text_projection))
    if isinstance(network, FusionNetwork):  # which reads [CLS], whatever the encoder pools
        return TextTower(network.text, "first", _linear(network.text_projection))
    return None


def _linear(module: nn.Module) -> nn.Linear | None:
    return module if isinstance(module, nn.Linear) else None


def write_image_processor(model: Model, folder: Path) -> None:
    """preprocessor_config.json, for transformers' AutoImageProcessor.

    Of the ways to make a square it has no padding: images have to come padded.
    """
    encoder = model.image_encoder
    size = encoder.image_size
    square = {"height": size, "width": size}
    cropped = model.config["images"]["fit"] == "crop"
    values = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size} if cropped else square,
        "resample": 3,  # bicubic
        "do_center_crop": cropped,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(encoder.mean),
        "image_std": list(encoder.std),
    }
    write_json(folder / "preprocessor_config.json", values)


def write_tokenizer_files(
    tokenizer: TextTokenizer, folder: Path, *, reads_padding: bool = False, **more: Any
) -> None:
    """tokenizer.json and its companions, for transformers' AutoTokenizer.

    Args:
        tokenizer: of the texts.
        folder: where to.
        reads_padding: the text encoder reads the padding too, and takes no mask.
        more: options for tokenizer_config.json.
    """
    tokenizer.save(folder / "tokenizer.json")
    tokens = tokenizer.special_tokens()
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": tokenizer.max_tokens,
        "model_input_names": ["input_ids", *([] if reads_padding else ["attention_mask"])],
        "split_special_tokens": True,  # "[SEP]" in a text is a text
        **tokens,
        **more,
    }
    write_json(folder / "tokenizer_config.json", values)
    write_json(folder / "special_tokens_map.json", tokens)


def save_weights(weights: dict[str, Tensor], file: Path) -> None:
    """Write a safetensors file."""
    from safetensors.torch import save_file

    plain = {name: value.detach().cpu().contiguous().clone() for name, value in weights.items()}
    save_file(plain, file, metadata={"format": "pt"})


def write_json(file: Path, values: Any) -> None:
    """Write JSON, in a folder that is made."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
