"""Starting from a trained model: its tokenizer, encoders that are made like its own, and its weights.

The model is opened once, before the first step. What a run that goes on must know of it, the run keeps.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from likewise.encoders.image import ImageEncoder, resnet_depth
from likewise.errors import ConfigError
from likewise.methods.base import Method
from likewise.model.folder import misfit_of_weights, read_config
from likewise.model.model import Model, load
from likewise.networks.image import ImageNetwork
from likewise.networks.registry import encoder_spec
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, default_settings, read_settings
from likewise.training.checkpoints import latest_checkpoint

__all__ = ["image_size_of", "network_to_start_from", "open_trained", "start_from"]


def image_size_of(path: str) -> int:
    """The side in pixels of the pictures that a trained model takes.

    Raises:
        ModelError: there is no model.
    """
    return int(encoder_spec(read_config(path)["network"], "image")["image_size"])


def open_trained(settings: Settings[Any], run: RunFolder) -> Model | None:
    """The model that `training.start_from` names; None without that option, and for a run that goes on.

    Such a run has all weights itself, whatever became of the model.

    Raises:
        ConfigError: options of the encoders say that they are others than the model's.
        ModelError: there is no model.
    """
    path = settings.training.start_from
    if path is None or latest_checkpoint(run.checkpoints) is not None:
        return None
    model = load(path)
    _check_encoders(settings, path, model)
    return model


def _check_encoders(settings: Settings[Any], path: str, model: Model) -> None:
    """Refuse options that would be passed over: neither defaults, nor what the model's run had, nor true."""
    unsaid = default_settings(settings.method_type, settings.data.source)
    former = read_settings(RunFolder(path).config) if RunFolder(path).config.is_file() else unsaid
    asked = []
    for section in {"image", "text"} & settings.sections().keys():
        true = _facts(getattr(model.network, section, None))
        for option in dataclasses.fields(getattr(settings, section)):
            if option.name == "image_size":
                continue
            value, *known = (
                getattr(getattr(one, section), option.name) for one in (settings, unsaid, former)
            )
            if value not in (*known, true.get(option.name)):
                asked.append(f"{section}.{option.name} {value}")
    if asked:
        raise ConfigError(
            f"training.start_from: the network of {path} is another than these settings make "
            f"({', '.join(sorted(asked))}). It brings its encoders and its tokenizer: leave the --image and "
            "--text options out, but --image.image-size."
        )


def _facts(encoder: Any) -> dict[str, Any]:
    """Of an encoder, what options may say of it all the same."""
    config: Any = getattr(getattr(encoder, "backbone", None), "config", None)
    kind: Any = getattr(config, "model_type", None)
    facts: dict[str, Any] = {
        "architecture": {"clip_text_model": "clip"}.get(kind, kind),
        "patch_size": getattr(config, "patch_size", None),
        "width": getattr(config, "hidden_size", None),
        "depth": getattr(config, "num_hidden_layers", None),
        "heads": getattr(config, "num_attention_heads", None),
        "pooling": getattr(encoder, "pooling", None),
    }
    if kind == "resnet":
        facts |= {"width": config.embedding_size, "depth": resnet_depth(config)}
    return facts


def network_to_start_from(
    settings: Settings[Any], run: RunFolder, trained: Model | None, fabric: Any
) -> dict[str, Any] | None:
    """`spec` of the network that a training starts from or, where it goes on, once started from.

    Args:
        settings: of the training.
        run: keeps it.
        trained: what `open_trained` returned.
        fabric: its first replica writes.

    Raises:
        ConfigError: the run has lost it.
    """
    if settings.training.start_from is None:
        return None
    if trained is None:
        spec = run.read_json(run.network)
        if not spec:
            raise ConfigError(f"{run.network} is missing; without it the run cannot go on.")
        return spec
    network: Any = trained.network
    spec = dict(network.spec())
    if fabric.is_global_zero:
        run.write_json(run.network, spec)
    return spec


def start_from(method: Method, trained: Model, path: str) -> None:
    """Give a method's network the weights of a trained model.

    Args:
        method: just built; its momentum twins start from these weights too.
        trained: the model; its encoders are resized in place to the method's size of pictures.
        path: where it was, for messages.

    Raises:
        ConfigError: the model has another network.
    """
    theirs: Any = trained.network
    ours: Any = method.network
    if theirs.kind != ours.kind:
        raise ConfigError(
            f"training.start_from: the network of {path} is another than these settings make: it is of kind "
            f"{theirs.kind}, and {method.name} trains one of kind {ours.kind}."
        )
    for encoder in theirs.modules():
        if isinstance(encoder, ImageEncoder):
            encoder.resize(ours.image.image_size)
    try:
        ours.load_state_dict(_fitting_state(theirs, ours))
    except RuntimeError as error:
        raise ConfigError(
            f"training.start_from: the network of {path} is another than these settings make: "
            f"{misfit_of_weights(error)}. Give the same --method options as its run had."
        ) from error
    method.copy_to_twins()


def _fitting_state(trained: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """A trained network's weights. The linear map after an image encoder is a head, as a projector is: where
    only one of the two networks has it, or of another width, the new network's stays as it is."""
    state = trained.state_dict()
    if not isinstance(trained, ImageNetwork) or not isinstance(network, ImageNetwork):
        return state
    if trained.dim == network.dim and (trained.projection is None) == (network.projection is None):
        return state
    encoder = {name: value for name, value in state.items() if not name.startswith("projection.")}
    own = {name: value for name, value in network.state_dict().items() if name.startswith("projection.")}
    return encoder | own
