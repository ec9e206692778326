"""A copy of a model's network made of plain layers, which other libraries can trace and open.

Dimensions: B batch, S side in pixels, L tokens, D width of the embedding.
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likewise.encoders.fast.switch import disabled
from likewise.encoders.own import OwnBackbone, own_encoders
from likewise.model.model import Model
from likewise.networks.base import Network
from likewise.networks.registry import network_from_spec

__all__ = ["UnitImages", "UnitTexts", "plain_network"]


def plain_network(model: Model) -> Network:
    """The same network and weights without the hand-tuned layers, on the CPU, in evaluation mode."""
    own = {
        part.config.section: part.network for part in model.network.modules() if isinstance(part, OwnBackbone)
    }
    with disabled(), own_encoders(**own):
        network = network_from_spec(model.network.spec())
    network.load_state_dict(model.network.state_dict())
    for module in network.modules():
        if hasattr(module, "set_attn_implementation"):  # a model of transformers
            # Products and a softmax in sight: onnxruntime ran 5 to 15 % faster than from the fused operator.
            cast(Any, module).set_attn_implementation("eager")
    return network.eval()


class UnitImages(nn.Module):
    """Images to unit vectors, with all between.

    Args:
        model: can encode images.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: Model) -> None:
        super().__init__()
        encoder = model.image_encoder
        self.size = encoder.image_size
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (encoder.mean, encoder.std))
        self.register_buffer("scale", 1 / (255 * std))
        self.register_buffer("shift", -mean / std)
        self.network = plain_network(model)
        _drop_unused(self, *self.example())

    def example(self) -> tuple[Tensor]:
        """Arguments for tracing."""
        return (torch.zeros(3, self.size, self.size, 3, dtype=torch.uint8),)

    def dynamic_shapes(self) -> tuple[dict[int, Any]]:
        """Of the argument: its batch."""
        return ({0: torch.export.Dim("batch")},)

    def forward(self, image: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 to (B, D)."""
        pixels = image.permute(0, 3, 1, 2).float() * self.scale + self.shift  # (B, 3, S, S)
        return F.normalize(cast(Any, self.network).encode_images(pixels).float(), dim=1)


class UnitTexts(nn.Module):
    """Tokens of texts to unit vectors.

    Args:
        model: can encode texts.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        assert model.tokenizer is not None
        self.max_tokens = model.tokenizer.max_tokens
        self.network = plain_network(model)
        _drop_unused(self, *self.example())

    def example(self) -> tuple[Tensor, Tensor]:
        """Arguments for tracing."""
        length = min(8, self.max_tokens)
        mask = torch.ones(3, length, dtype=torch.int64)
        mask[1:, length - 1] = 0
        return torch.zeros_like(mask), mask

    def dynamic_shapes(self) -> tuple[dict[int, Any], dict[int, Any]]:
        """Of both arguments: their batch and length."""
        shape = {
            0: torch.export.Dim("batch"),
            1: torch.export.Dim("length", min=2, max=self.max_tokens),
        }
        return shape, shape

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(B, L) int64 tokens, padded on the right, and (B, L) int64 mask, 1 on real tokens, to (B, D)."""
        vectors = cast(Any, self.network).encode_texts(input_ids, attention_mask.bool())
        return F.normalize(vectors.float(), dim=1)


def _drop_unused(module: UnitImages | UnitTexts, *arguments: Tensor) -> None:
    """Remove parts of the network that run for other inputs alone; their weights would be written too."""
    used: set[str] = set()
    hooks = []
    for name, part in module.network.named_children():
        for inner in part.modules():
            hooks.append(inner.register_forward_pre_hook(lambda *_, name=name: used.add(name)))
    with torch.no_grad():
        module(*arguments)
    for hook in hooks:
        hook.remove()
    for name, _ in list(module.network.named_children()):
        if name not in used:
            delattr(module.network, name)
