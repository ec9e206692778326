"""A network of the user's own as an encoder.

A model folder holds no code, so such a network is given as a module wherever it is built: to `train`, and
again to `load`. An image model of timm has a name instead, such as `timm:resnet18.a1_in1k`, by which every
command builds it; see `likewise.encoders.timm_network`.

An image network has the attributes `dim` (D, width of its vectors) and `image_size` (S, side in pixels), and
may have `mean` and `std` (three numbers each in [0, 1] units; ImageNet's otherwise). It maps (B, 3, S, S)
normalized pixels to (B, D), or to a pair of (B, D) and (B, N, D), one vector per place, which captioning and
fusion read. These vectors must say where their places are: fusion layers add positions only to the tokens of
transformers' ResNet and ConvNeXt. A text network has `dim`, and may have `max_tokens` and `vocabulary_size`,
the most that it takes. It maps (B, L) int64 tokens and (B, L) bool, True on real tokens, to (B, D), or to a
pair of (B, D) and (B, L, D).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from likewise.encoders.timm_network import TIMM, TimmNetwork
from likewise.errors import ConfigError, ModelError
from likewise.messages import flag, printable

__all__ = [
    "OWN",
    "OwnBackbone",
    "check_own",
    "check_own_size",
    "is_timm_name",
    "name_of",
    "own_backbone",
    "own_encoders",
]

OWN = "own"
"""The model type of a user's network in a model's config.json."""

_given: ContextVar[dict[str, nn.Module]] = ContextVar("networks of the user's own")


class _Config:
    """What a transformers configuration says of other backbones.

    Args:
        section: `image` or `text`.
        name: of the network's class.
        hidden_size: D.
        max_position_embeddings: most tokens of a text network; None without a limit.
    """

    model_type = OWN

    def __init__(
        self, section: str, name: str, hidden_size: int, max_position_embeddings: int | None = None
    ) -> None:
        self.section = section
        self.name = name
        self.hidden_size = hidden_size
        self.max_position_embeddings = max_position_embeddings

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"model_type": OWN, **vars(self)}


class _Output(NamedTuple):
    """As of transformers."""

    last_hidden_state: Tensor
    pooler_output: Tensor


class OwnBackbone(nn.Module):
    """A user's network with the inputs and outputs of a transformers model.

    Args:
        network: of the protocol above.
        section: `image` or `text`.
    """

    def __init__(self, network: nn.Module, section: str) -> None:
        super().__init__()
        self.network = network
        most = getattr(network, "max_tokens", None)
        self.config = _Config(section, name_of(network), int(_whole(network, "dim")), most)

    @property
    def normalization(self) -> dict[str, Any]:
        """`mean` and `std` of an image network's pixels, as far as it has them."""
        found = {name: getattr(self.network, name, None) for name in ("mean", "std")}
        return {name: tuple(value) for name, value in found.items() if value is not None}

    def check_takes(self, **counts: int) -> None:
        """Reject more than a text network takes.

        Args:
            counts: `max_tokens` and `vocabulary_size` of the training.
        """
        for name, count in counts.items():
            most = getattr(self.network, name, None)
            if most is not None and count > most:
                raise ConfigError(
                    f"{flag('text', name)}: the texts need {count:,}, and {self.config.name} takes {most:,}."
                )

    def forward(
        self,
        pixel_values: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> _Output:
        """Pixels, or tokens and mask, to one vector per place and one of all."""
        found = self.network(*(pixel_values,) if input_ids is None else (input_ids, attention_mask))
        pooled, states = found if isinstance(found, tuple) else (found, None)
        if pooled.dim() != 2 or pooled.shape[1] != self.config.hidden_size:
            raise ConfigError(
                f"{self.config.name} returned vectors of shape {tuple(pooled.shape)}; expected (B, "
                f"{self.config.hidden_size}), as its attribute dim says."
            )
        return _Output(pooled[:, None] if states is None else states, pooled)


@contextmanager
def own_encoders(*, image: nn.Module | None = None, text: nn.Module | None = None) -> Iterator[None]:
    """Inside, encoders that are networks of the user's own are copies of these."""
    given = {name: network for name, network in (("image", image), ("text", text)) if network is not None}
    token = _given.set(_given.get({}) | given)
    try:
        yield
    finally:
        _given.reset(token)


def own_backbone(section: str, name: str, *, new: bool = False, image_size: int | None = None) -> OwnBackbone:
    """A copy of the user's network for a section, `image` or `text`, or an image model of timm.

    Args:
        section: which encoder.
        name: of its class, for messages; or of a model of timm.
        new: for a training, and not of a model that is opened.
        image_size: side of the images of an image network.

    Raises:
        ConfigError, ModelError: none was given, to a training or for a model.
    """
    network = _given.get({}).get(section)
    if network is None and image_size is not None and name.startswith(TIMM):
        named = TimmNetwork(name.removeprefix(TIMM), image_size=image_size, pretrained=new)
        return OwnBackbone(named, section)
    if network is None and new:
        raise ConfigError(
            f"{flag(section, 'own')} {name}: a network of your own comes as a module, from Python: "
            f"likewise.train(..., {section}_encoder={name}(...)); the command line has none."
        )
    if network is None:
        name = printable(name, most=100)  # a stranger's file may say anything
        raise ModelError(
            f"its {section} encoder is a network of the user's own ({name}), and a model folder holds no "
            f"code: open it from Python, where the network is at hand, by likewise.load(..., "
            f"{section}_encoder={name}(...)); no command can."
        )
    # On the device where everything else is built, which may be the one without memory.
    return OwnBackbone(copy.deepcopy(network).to(torch.get_default_device()), section)


def check_own(section: str, network: Any) -> str:
    """The name of a user's network, after a check of its attributes.

    Raises:
        ConfigError: it is none that can be an encoder.
    """
    if not isinstance(network, nn.Module):
        raise ConfigError(
            f"{section}_encoder is a {type(network).__name__}; expected a torch.nn.Module"
            f"{f', or {TIMM}NAME' if section == 'image' else ''}, see likewise.encoders.own."
        )
    for name in ("dim", "image_size") if section == "image" else ("dim",):
        _whole(network, name)
    for name in ("mean", "std"):
        value = getattr(network, name, (0.5,) * 3)
        if len(value) != 3 or not all(isinstance(one, (int, float)) for one in value):
            raise ConfigError(f"{name_of(network)}.{name} is {value!r}; expected three numbers.")
    return name_of(network)


def is_timm_name(network: Any) -> bool:
    """Whether an image encoder is given as the name of a model of timm."""
    return isinstance(network, str) and network.startswith(TIMM)


def check_own_size(network: Any) -> int:
    """The side of the images that a user's network reads, after the check of `check_own`."""
    check_own("image", network)
    return int(network.image_size)


def name_of(network: nn.Module) -> str:
    """The name of a network's class; of a model of timm its own."""
    return network.own_name if isinstance(network, TimmNetwork) else type(network).__name__


def _whole(network: nn.Module, name: str) -> int:
    value = getattr(network, name, None)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(
            f"{name_of(network)}.{name} is {value!r}; an encoder of your own needs it as a whole number, see "
            "likewise.encoders.own."
        )
    return value
