"""Start from a trained model: its tokenizer, encoders and fusion layers built like its own, and its weights.

The model is opened once, before the first step. The run keeps what it needs to be resumed without it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor, nn

from likewise.data.columns import MAIN
from likewise.encoders.image import ImageEncoder, resnet_depth
from likewise.encoders.shared_options import TUNING_OPTIONS
from likewise.errors import ConfigError
from likewise.messages import flag
from likewise.methods.base import Method
from likewise.model.folder import misfit_of_weights, read_config
from likewise.model.model import Model, load
from likewise.networks.image import ImageNetwork
from likewise.networks.registry import encoder_spec, has_encoder
from likewise.networks.two_towers import TwoTowers
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, Tables, build_settings, default_settings, joined, read_settings
from likewise.training.checkpoints import latest_checkpoint

__all__ = ["fitting_state", "load_trained_weights", "open_trained", "settings_of", "trained_spec"]

_LORA_FACTOR = 10.0
"""Of the learning rate of a fine-tuning: low-rank updates learn too little at that of all weights."""

_READ = {"image": "images", "audio": "sounds"}
"""What an encoder of a column reads, in words."""

_SHARED = ("image", "text", "fusion")
"""Parts of networks that another method's network can take over."""


def settings_of(method: type[Method], tables: Tables, *, pretrained: str | None = None) -> Settings[Any]:
    """The settings of tables, by default with what the model decides that training starts from: the size of
    its images, how they become square, and the method's options that belong to its network.

    Args:
        method: whose settings.
        tables: of the user.
        pretrained: a whole model to fine-tune: training starts from it, by default at the low rate that the
            method has for that.

    Raises:
        ConfigError: see `build_settings`; or the method cannot fine-tune that model.
        ModelError: there is no such model.
    """
    training = tables.get("training", {})
    if pretrained is not None and training.get("start_from") not in (None, pretrained):
        raise ConfigError("--pretrained and --training.start-from name two models; leave one of them out.")
    start_from = pretrained or training.get("start_from")
    if start_from is None:
        return build_settings(method, tables)
    config = read_config(start_from)
    own: Tables = {"method": method.options_of_network(config["network"]), "training": {}}
    if pretrained is not None:
        if not own["method"]:
            flags = [f"--{name}.pretrained" for name in ("image", "text") if name in method.needs]
            raise ConfigError(
                f"--pretrained {pretrained}: {method.name} cannot fine-tune this whole model (a network of "
                f"kind {config['network']['kind']}); start its encoders from it by "
                f"{' or '.join([*flags, '--training.start-from'])}."
            )
        own["training"] = {**method.fine_tuning_defaults, "start_from": pretrained}
        for section in ("image", "text"):
            if tables.get(section, {}).get("tune") == "lora":
                own[section] = {"rate_factor": _LORA_FACTOR}
    own |= _of_files(method, config, own, start_from)
    return build_settings(method, joined(own, tables))


def _of_files(method: type[Method], config: dict[str, Any], own: Tables, start_from: str) -> Tables:
    """The size of the images of a model and how they become square, or the rate and length of its sounds.

    Args:
        method: what is trained.
        config: the content of the model's config.json.
        own: other settings that the model decides.
        start_from: the model, for messages.

    Raises:
        ConfigError: the model reads sounds and the method images, or the reverse.
    """
    wanted = next((name for name in MAIN if name in method.needs), None)
    if wanted is None or not has_encoder(config["network"], "image"):
        return {}
    spec = encoder_spec(config["network"], "image")
    if (column := spec.get("column", "image")) != wanted:
        raise ConfigError(
            f"--training.start-from: the first encoder of {start_from} reads {_READ[column]}, and that of "
            f"{method.name} {_READ[wanted]}; start from a model of the same kind."
        )
    if wanted == "audio":
        return {"audio": _form(spec)}
    found: Tables = {"data": {"fit": config["images"]["fit"]}}
    found["image"] = {**own.get("image", {}), "image_size": int(spec["image_size"])}
    if "audio" in method.needs and has_encoder(config["network"], "audio"):
        found["audio"] = _form(encoder_spec(config["network"], "audio"))
    return found


def _form(spec: dict[str, Any]) -> dict[str, Any]:
    """The options of an audio encoder that the data depends on."""
    return {"sample_rate": spec["settings"]["rate"], "seconds": spec["seconds"]}


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
            if option.name == "image_size" or option.name in TUNING_OPTIONS:
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
            "and --text options out except --image.image-size and those of tuning."
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
    if kind == "vit":
        facts["stem"] = "patches" if encoder.stem_stride is None else "convolutions"
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
            encoder.resize(ours.image.image_size)  # of an audio encoder nothing changes
    try:
        if theirs.kind == ours.kind:
            ours.load_state_dict(fitting_state(theirs, ours))
        else:
            for part in shared:
                getattr(ours, part).load_state_dict(getattr(theirs, part).state_dict())
            ours.start_rest(shared)
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
    classifier that knows other classes, and with the scale of cosines if the trained one has none."""
    state = trained.state_dict()
    if getattr(trained, "classes", None) != getattr(network, "classes", None):
        own = {name: value for name, value in network.state_dict().items() if name.startswith("head.")}
        return {name: value for name, value in state.items() if not name.startswith("head.")} | own
    if isinstance(trained, TwoTowers) and isinstance(network, TwoTowers) and trained.logit_scale is None:
        scale = {"logit_scale": network.logit_scale, "logit_bias": network.logit_bias}
        return state | {name: value for name, value in scale.items() if value is not None}
    if not isinstance(trained, ImageNetwork) or not isinstance(network, ImageNetwork):
        return state
    if trained.dim == network.dim and (trained.projection is None) == (network.projection is None):
        return state
    encoder = {name: value for name, value in state.items() if not name.startswith("projection.")}
    own = {name: value for name, value in network.state_dict().items() if name.startswith("projection.")}
    return encoder | own
