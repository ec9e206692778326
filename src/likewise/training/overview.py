"""What a training is about to do, for its first lines on the terminal."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from likewise.data import Splits
from likewise.runs.settings import Settings
from likewise.training.distributed import precision_of

__all__ = ["overview"]

_PRECISIONS = {"32-true": "float32", "bf16-mixed": "bfloat16"}


def overview(
    settings: Settings[Any], splits: Splits, method: nn.Module, fabric: Any, *, total_steps: int
) -> dict[str, str]:
    """Facts by name: the data and its parts, the method, its networks, the device, the steps."""
    options = settings.training
    epochs = total_steps * (options.batch_size or 1) / max(1, len(splits.train))
    passes = f" ({epochs:.3g} epoch{'' if epochs == 1 else 's'})"
    return {
        "train": f"{len(splits.train):,} rows of {settings.data.source}",
        "validate": _validation(settings, splits),
        "method": f"{settings.method_name}: {_networks(settings)}",
        "weights": f"{sum(one.numel() for one in method.parameters() if one.requires_grad):,} trained",
        "device": f"{_device(fabric)}, {_PRECISIONS[precision_of(options)]}",
        "steps": f"{total_steps:,} of {options.batch_size:,} rows{passes}",
    }


def _validation(settings: Settings[Any], splits: Splits) -> str:
    if splits.validation is None:
        share = settings.data.validation_share
        why = "--data.validation-share 0" if share == 0 else "see --data.validation"
        return f"no rows, so nothing is measured ({why})"
    source, origin = splits.summary["validation_source"], splits.summary["splits_from"]
    place = f"of {source}" if source is not None else f"({origin})"
    if source is None and origin.startswith("drawn"):
        place = f"({origin}, --data.validation-share {settings.data.validation_share:g})"
    return f"{len(splits.validation):,} rows {place}"


def _networks(settings: Settings[Any]) -> str:
    """The encoders, such as "vit tiny at 64 px, clip tiny text encoder"."""
    sections, said = settings.sections(), []
    if settings.training.start_from is not None:
        said.append(f"the encoders that {settings.training.start_from} has")
    else:
        if "image" in sections:
            image = sections["image"]
            said.append(f"image encoder {_name(image)} at {image.image_size} px")
        if "audio" in sections:
            audio = sections["audio"]
            said.append(f"audio encoder {_name(audio)} at {audio.sample_rate:,} Hz, {audio.seconds:g} s")
        if "text" in sections and "architecture" not in settings.method_type.unread_options.get("text", ()):
            said.append(f"text encoder {_name(sections['text'])}")
    for section in ("image", "text"):
        if section in sections and not sections[section].is_usual:
            said.append(_tuning(section, sections[section]))
    return ", ".join(said)


def _tuning(section: str, options: Any) -> str:
    """How an encoder is trained, such as "texts by lora of rank 8 at 10 times the rate"."""
    how = f"lora of rank {options.lora_rank}" if options.tune == "lora" else options.tune
    rate = (
        ""
        if options.rate_factor == 1 or options.tune == "frozen"
        else f" at {options.rate_factor:g} times the rate"
    )
    decay = "" if options.layer_decay == 1 else f", {options.layer_decay:g} of it per layer"
    return f"{section} encoder: {how}{rate}{decay}"


def _name(encoder: Any) -> str:
    """What was asked of an encoder: its weights, or architecture and preset with what overrides it."""
    if encoder.pretrained is not None:
        return str(encoder.pretrained)
    sizes = {name: getattr(encoder, name) for name in ("width", "depth", "heads")}
    others = [f"{name} {size}" for name, size in sizes.items() if size is not None]
    others += ["convolutional stem"] if getattr(encoder, "stem", "patches") != "patches" else []
    return f"{encoder.architecture} {encoder.preset}" + (f" ({', '.join(others)})" if others else "")


def _device(fabric: Any) -> str:
    device = fabric.device
    name = f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type
    return name if fabric.world_size == 1 else f"{fabric.world_size} x {name}"
