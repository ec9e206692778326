"""What fine-tunings of a fusion encoder share: their presets, the classes of the data, the EMA encoder.

Li et al. 2021, arXiv 2107.07651, section 5; Yang et al. 2022, arXiv 2202.10401, section 4.
"""

from __future__ import annotations

from typing import Any

from likewise.errors import DataError
from likewise.methods.build_context import BuildContext

__all__ = ["PRESETS", "TEXT_DEFAULTS", "TRAINING_DEFAULTS", "checked_classes", "distillation_weight"]

TEXT_DEFAULTS: dict[str, Any] = {"architecture": "bert", "dropout": 0.1}

TRAINING_DEFAULTS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "weight_decay": 0.02,
    "warmup_share": 0.1,
    "final_share": 0.1,
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Minutes on two cores; the encoders are those of TCL's preset of that name, so that a run of it can be
    # started from. Crops could cut off what a statement is about.
    "tiny": {
        "image": {"architecture": "resnet", "width": 24, "image_size": 64},
        "text": {"preset": "tiny", "depth": 4, "dropout": 0.0},
        "views": {"crop_scale": (0.9, 1.0), "randaugment": 0},
        "training": {"learning_rate": 1e-3, "batch_size": 128},
    },
    "small": {
        "image": {"architecture": "vit", "preset": "tiny", "image_size": 96},
        "text": {"preset": "small", "dropout": 0.1},
        "views": {"crop_scale": (0.8, 1.0), "randaugment": 0},
        "training": {"learning_rate": 5e-4, "batch_size": 128},
    },
    # The papers'; meant to start from a TCL run.
    "base": {
        "image": {"pretrained": "facebook/deit-base-patch16-224", "image_size": 384, "pooling": "cls"},
        "text": {"pretrained": "google-bert/bert-base-uncased", "max_tokens": 30},
        "training": {"learning_rate": 2e-5, "batch_size": 256, "epochs": 5.0, "clip_gradient": 0.0},
    },
}


def checked_classes(context: BuildContext, *, least: int, such_as: str) -> tuple[str, ...]:
    """The classes of the data.

    Args:
        context: of the method.
        least: the smallest number that makes sense.
        such_as: examples for the message.

    Raises:
        DataError: there are fewer classes.
    """
    classes = context.classes
    if len(classes) < least:
        there = " and ".join(map(repr, classes)) or "none"
        raise DataError(
            f"the labels of the statements have {len(classes)} classes ({there}); expected at least {least}, "
            f"such as {such_as}. Name their column with --data.label-column."
        )
    return classes


def distillation_weight(given: float | None, context: BuildContext) -> float:
    """Weight of the EMA encoder's predictions: as given, or the paper's 0.4 where the encoders are trained
    already, and 0 from random weights, whose predictions teach nothing."""
    if given is not None:
        return given
    return 0.4 if context.is_pretrained else 0.0
