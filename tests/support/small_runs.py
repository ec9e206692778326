"""The smallest settings that train every method in a second."""

from __future__ import annotations

import dataclasses
from typing import Any

from likewise.catalog import find_method
from likewise.training.settings import Settings, default_settings

SOURCE = "scenes:train=48,validation=16,seed=3,size=32"


def small_settings(method: str, **training: Any) -> Settings[Any]:
    """A narrow ViT at 32 px (a ResNet for SimCLR), a two-layer text network, batches of 16."""
    settings = default_settings(find_method(method), SOURCE, image_size=32)
    architecture = {"architecture": "resnet", "width": 8} if method == "simclr" else {"width": 32, "depth": 2}
    options = {
        "steps": 6,
        "batch_size": 16,
        "log_every": 1,
        "evaluate_every": 0,
        "loggers": (),
        "save_every": 2,
    }
    return dataclasses.replace(
        settings,
        image=dataclasses.replace(settings.image, **architecture),
        text=dataclasses.replace(settings.text, width=32, depth=2, heads=2, vocabulary_size=300),
        training=dataclasses.replace(settings.training, **(options | {"precision": "float32"} | training)),
    )
