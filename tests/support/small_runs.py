"""The smallest settings that train every method in a second."""

from __future__ import annotations

import dataclasses
from typing import Any

from likewise.catalog import find_method
from likewise.training.settings import Settings, default_settings

SOURCE = "scenes:train=48,validation=16,seed=3,size=32"

RESNET = {"architecture": "resnet", "width": 8}
VIT = {"width": 32, "depth": 2}

# Narrow heads; a queue that the batch does not divide, and a twin that follows within a few steps.
METHOD_OPTIONS: dict[str, dict[str, Any]] = {
    "byol": {"hidden_dim": 32, "projection_dim": 16},
    "simsiam": {"projection_dim": 32, "predictor_dim": 16},
    "moco": {"queue_size": 23, "ema_momentum": 0.9, "norm_rows": 8},
    "instance": {"projection_dim": 32},
    "tcl": {"queue_size": 23, "fusion_depth": 2, "embedding_dim": 16, "negatives": "all"},
}


def small_settings(method: str, **training: Any) -> Settings[Any]:
    """A narrow ViT or ResNet at 32 px, a two-layer text network, batches of 16."""
    settings = default_settings(find_method(method), SOURCE, image_size=32)
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
        image=dataclasses.replace(settings.image, **(VIT if method in ("clip", "tcl") else RESNET)),
        text=dataclasses.replace(
            settings.text, width=32, depth=3 if method == "tcl" else 2, heads=2, vocabulary_size=300
        ),
        method=dataclasses.replace(settings.method, **METHOD_OPTIONS.get(method, {})),
        training=dataclasses.replace(settings.training, **(options | {"precision": "float32"} | training)),
    )
