"""Which weights of the encoders are trained, and at which share of the learning rate."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

from torch import nn

from likewise.encoders.fast import switch
from likewise.encoders.shared_options import TuningOptions
from likewise.errors import ConfigError
from likewise.mechanisms import EMAEncoder
from likewise.messages import flag
from likewise.methods.base import Method
from likewise.runs.settings import Settings

__all__ = ["layer_places", "merged", "plain_layers", "tune"]

N = TypeVar("N", bound=nn.Module)


def plain_layers(settings: Settings[Any]) -> AbstractContextManager[None]:
    """Inside, encoders are built of transformers' own layers if LoRA wraps some of them."""
    is_lora = any(options.tune == "lora" for _, options in _sections(settings))
    return switch.disabled() if is_lora else nullcontext()


def tune(method: Method, settings: Settings[Any]) -> dict[int, float]:
    """Freeze weights and add low-rank updates as the options of both encoders say.

    Args:
        method: with its first weights; changed in place.
        settings: of the training.

    Returns:
        The factor of the learning rate by the id of a weight, of those whose factor is not 1.

    Raises:
        ConfigError: an encoder cannot be trained in that way, or peft is missing.
    """
    factors: dict[int, float] = {}
    for section, options in _sections(settings):
        if options.is_usual:
            continue
        encoder: Any = getattr(method.network, section, None)
        if encoder is None:
            raise ConfigError(
                f"{flag(section, 'tune')}: {method.name} has no single {section} encoder to train otherwise; "
                f"leave the options of --{section}.tune, rate-factor and layer-decay out."
            )
        backbone: nn.Module = encoder.backbone
        _freeze(encoder, backbone, section, options)
        if options.tune == "lora":
            if any(isinstance(module, EMAEncoder) for module in method.modules()):
                raise ConfigError(
                    f"{flag(section, 'tune')} lora: {method.name} keeps an EMA encoder, which has no such "
                    "updates; use full, frozen or last-N."
                )
            _add_lora(backbone, section, options)
        factors |= _factors(backbone, options)
    if not any(weight.requires_grad for weight in method.parameters()):
        raise ConfigError("--image.tune and --text.tune leave no weight to train; use another than frozen.")
    return factors


def _sections(settings: Settings[Any]) -> Iterator[tuple[str, TuningOptions]]:
    sections = settings.sections()
    yield from ((name, sections[name]) for name in ("image", "text") if name in sections)


def layer_places(backbone: nn.Module) -> tuple[dict[int, int], int]:
    """Where each weight of a backbone stands: 0 before the layers, 1 to L in them, L + 1 after them.

    Returns:
        The place by the id of a weight, and L, 0 for a backbone without layers.
    """
    lists = (module for module in backbone.modules() if isinstance(module, nn.ModuleList) and len(module))
    layers = list(next(lists, ()))
    places = {id(weight): place for place, layer in enumerate(layers, 1) for weight in layer.parameters()}
    is_behind = False  # in the order of registration, embeddings come first
    for weight in backbone.parameters():
        is_behind = is_behind or id(weight) in places
        places.setdefault(id(weight), len(layers) + 1 if is_behind else 0)
    return places, len(layers)


def _freeze(encoder: Any, backbone: nn.Module, section: str, options: TuningOptions) -> None:
    places, count = layer_places(backbone)
    last = options.num_last_layers
    needed = {"tune": last is not None or options.tune == "lora", "layer_decay": options.layer_decay != 1}
    if count == 0 and any(needed.values()):
        name = next(name for name, is_needed in needed.items() if is_needed)
        raise ConfigError(
            f"{flag(section, name)} {getattr(options, name)}: this encoder is one recurrent layer; use full "
            "or frozen."
        )
    if last is not None and last > count:
        raise ConfigError(f"{flag(section, 'tune')} {options.tune}: the encoder has {count} layers.")
    if options.tune == "frozen":
        encoder.requires_grad_(False)
        encoder.locked = True
        encoder.eval()
    if last is not None:
        for weight in backbone.parameters():
            if places[id(weight)] <= count - last:
                weight.requires_grad_(False)


def _add_lora(backbone: nn.Module, section: str, options: TuningOptions) -> None:
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ConfigError(
            f"{flag(section, 'tune')} lora needs the package peft, which is not installed: pip install "
            "'likewise[lora]'."
        ) from error
    places, count = layer_places(backbone)
    names = [
        name
        for name, module in backbone.named_modules()
        if type(module) is nn.Linear and 1 <= places[id(module.weight)] <= count
    ]
    if not names:
        raise ConfigError(
            f"{flag(section, 'tune')} lora: this encoder has no linear layers; use full, frozen or last-N."
        )
    rank = options.lora_rank
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), backbone)


def _factors(backbone: nn.Module, options: TuningOptions) -> dict[int, float]:
    places, count = layer_places(backbone)
    factors = {
        id(weight): options.rate_factor * options.layer_decay ** (count + 1 - places[id(weight)])
        for weight in backbone.parameters()
    }
    return {weight: factor for weight, factor in factors.items() if factor != 1}


def merged(network: N) -> N:
    """The network with low-rank updates added to the weights that they update; itself where it has none."""
    if not any(_is_update(module) for module in network.modules()):
        return network
    plain = copy.deepcopy(network)
    for name, module in list(plain.named_modules()):
        if _is_update(module):
            module.merge()
            place, _, leaf = name.rpartition(".")
            setattr(plain.get_submodule(place), leaf, module.get_base_layer())
    return plain


def _is_update(module: Any) -> bool:
    """Whether it is a layer of peft."""
    return hasattr(module, "get_base_layer") and hasattr(module, "merge")
