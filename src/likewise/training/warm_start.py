"""Start from a trained model: its tokenizer, encoders and fusion layers built like its own, and its weights.

The model is opened once, before the first step. The run keeps what it needs to be resumed without it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from likewise.data.columns import MAIN
from likewise.encoders.image import ImageEncoder, resnet_depth
from likewise.errors import ConfigError
from likewise.messages import flag
from likewise.methods.base import Method
from likewise.model.folder import misfit_of_weights, read_config
from likewise.model.model import Model, load
from likewise.networks.image import ImageNetwork
from likewise.networks.registry import encoder_spec, has_encoder
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, Tables, build_settings, default_settings, joined, read_settings
from likewise.training.checkpoints import latest_checkpoint

__all__ = ["fitting_state", "load_trained_weights", "open_trained", "settings_of", "trained_spec"]

_SHARED = ("image", "text", "fusion")
"""Parts of networks that another method's network can take over."""


def settings_of(method: type[Method], tables: Tables) -> Settings[Any]:
    """The settings of tables, by default with the image size, or the length and rate of sounds, of the model
    that training starts from.

    Raises:
        ConfigError: see `build_settings`; or that model reads sounds and the method images, or the reverse.
        ModelError: there is no such model.
    """
    start_from = tables.get("training", {}).get("start_from")
    wanted = next((name for name in MAIN if name in method.needs), None)
    if start_from is not None and wanted is not None:
        spec = encoder_spec(read_config(start_from)["network"], "image")
        if spec.get("column", "image") != wanted:
            raise ConfigError(
                f"--training.start-from: {start_from} reads another column than {method.name}, which needs "
                f"{method.needs}; start from a model of the same kind."
            )
        if wanted == "image":
            tables = joined({"image": {"image_size": int(spec["image_size"])}}, tables)
        else:
            form = {"sample_rate": spec["settings"]["rate"], "seconds": spec["seconds"]}
            tables = joined({"audio": form}, tables)
    return build_settings(method, tables)


def open_trained(settings: Settings[Any], run: RunFolder) -> Model | None:
    """The model that `training.start_from` names; None without that option, and for a resumed run, which has
    all weights itself.

    Raises:
        ConfigError: encoder options contradict the model.
        ModelError: there is no model.
    """
    path = settings.training.start_from
    if path is None or latest_checkpoint(run.checkpoints) is not None:
        return None
    model = load(path)
    _check_encoders(settings, path, model)
    return model


def _check_encoders(settings: Settings[Any], path: str, model: Model) -> None:
    """Reject encoder options that `start_from` would ignore."""
    defaults = default_settings(settings.method_type, settings.data.source)
    former = read_settings(RunFolder(path).config) if RunFolder(path).config.is_file() else defaults
    ignored = []
    for section in {"image", "text"} & settings.sections().keys():
        if not has_encoder(model.config["network"], section):
            continue
        facts = _facts(getattr(model.network, section, None))
        for option in dataclasses.fields(getattr(settings, section)):
            if option.name == "image_size":
                continue
            value, *known = (
                getattr(getattr(one, section), option.name) for one in (settings, defaults, former)
            )
            if value not in (*known, facts.get(option.name)):
                ignored.append(f"{flag(section, option.name)} {value}")
    if ignored:
        raise ConfigError(
            f"--training.start-from: the network of {path} is another than these settings make "
            f"({', '.join(sorted(ignored))}). It brings its encoders and its tokenizer: leave all --image "
            "and --text options out except --image.image-size."
        )


def _facts(encoder: Any) -> dict[str, Any]:
    """Options that are true of an encoder, and may therefore be given."""
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


def trained_spec(
    settings: Settings[Any], run: RunFolder, trained: Model | None, fabric: Any
) -> dict[str, Any] | None:
    """`spec` of the network that training starts from, or once started from if the run is resumed.

    Args:
        settings: of the training.
        run: keeps the spec.
        trained: from `open_trained`.
        fabric: its rank 0 writes.

    Raises:
        ConfigError: the run has lost the spec.
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


def load_trained_weights(method: Method, trained: Model, path: str) -> None:
    """Load the weights of a trained model into a method's network.

    Args:
        method: just built; its EMA encoders start from these weights too.
        trained: the model; its image encoders are resized in place to the method's image size.
        path: its path, for messages.

    Raises:
        ConfigError: the model has another network.
    """
    theirs: Any = trained.network
    ours: Any = method.network
    shared = [part for part in _SHARED if _part(theirs, part) and _part(ours, part)]
    if theirs.kind != ours.kind and not shared:
        raise ConfigError(
            f"--training.start-from: the network of {path} is another than these settings make: it is of "
            f"kind {theirs.kind}, and {method.name} trains one of kind {ours.kind}, without a common encoder."
        )
    for encoder in theirs.modules():
        if isinstance(encoder, ImageEncoder) and "image" in method.needs:
            encoder.resize(ours.image.image_size)
    try:
        if theirs.kind == ours.kind:
            ours.load_state_dict(fitting_state(theirs, ours))
        else:
            for part in shared:
                getattr(ours, part).load_state_dict(getattr(theirs, part).state_dict())
            method.start_rest(shared)
    except RuntimeError as error:
        raise ConfigError(
            f"--training.start-from: the network of {path} is another than these settings make: "
            f"{misfit_of_weights(error)}. Give the same --method options as its run had."
        ) from error
    method.reset_ema()


def _part(network: nn.Module, part: str) -> nn.Module | None:
    """A network's part of that name; None if it has none."""
    return dict(network.named_children()).get(part)


def fitting_state(trained: nn.Module, network: nn.Module) -> dict[str, Tensor]:
    """A trained network's weights. The linear projection after an image encoder is a head: if only one of the
    two networks has it, or of another width, the new network keeps its own. So it does with the head of a
    classifier that knows other classes."""
    state = trained.state_dict()
    if getattr(trained, "classes", None) != getattr(network, "classes", None):
        own = {name: value for name, value in network.state_dict().items() if name.startswith("head.")}
        return {name: value for name, value in state.items() if not name.startswith("head.")} | own
    if not isinstance(trained, ImageNetwork) or not isinstance(network, ImageNetwork):
        return state
    if trained.dim == network.dim and (trained.projection is None) == (network.projection is None):
        return state
    encoder = {name: value for name, value in state.items() if not name.startswith("projection.")}
    own = {name: value for name, value in network.state_dict().items() if name.startswith("projection.")}
    return encoder | own
