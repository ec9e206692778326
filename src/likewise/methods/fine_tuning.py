"""What fine-tunings of a fusion encoder share: defaults, the classes of the data, momentum distillation.

Li et al. 2021, arXiv 2107.07651, section 5; Yang et al. 2022, arXiv 2202.10401, section 4.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from likewise.errors import DataError
from likewise.mechanisms import EMAEncoder
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress
from likewise.methods.checks import check_counts, check_shares
from likewise.objectives import classification_loss
from likewise.views import view_preset

__all__ = [
    "TINY_ENCODERS",
    "TINY_FUSION_DEPTH",
    "DistillationOptions",
    "DistilledFineTuning",
    "FusionFineTuning",
    "FusionOptions",
    "checked_classes",
    "judgement_loss",
]

_TEXT_DEFAULTS: dict[str, Any] = {"architecture": "bert", "dropout": 0.1}

_TRAINING_DEFAULTS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "weight_decay": 0.02,
    "warmup_share": 0.1,
    "final_share": 0.1,
}

TINY_ENCODERS: dict[str, dict[str, Any]] = {
    "image": {"architecture": "resnet", "depth": 8, "width": 40, "image_size": 64},
    "text": {"preset": "tiny", "depth": 6, "dropout": 0.0},
}
"""Encoders of the preset `tiny`, of TCL too, so that a run of it can be started from.

Words attend to 8 x 8 places, where a ResNet-18 has 4 x 4 of 64 px; a small ViT learns shapes too slowly.
"""

TINY_FUSION_DEPTH = 2
"""Fusion layers among these text layers."""

_PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # Minutes on two cores. Crops could cut off what a statement is about. Question answering diverged at a
    # rate of 1e-3.
    "tiny": {
        **TINY_ENCODERS,
        "views": {"crop_scale": (0.9, 1.0), "randaugment": 0},
        "method": {"fusion_depth": TINY_FUSION_DEPTH},
        "training": {"learning_rate": 5e-4, "batch_size": 128},
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


@dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """Options of a fine-tuning."""

    fusion_depth: int | None = None
    """Fusion layers: cut from the top of a new BERT, by default half of it; above the text encoder of a run
    that has none; a run of tcl brings its own."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "fusion_depth")


@dataclass(frozen=True, kw_only=True)
class DistillationOptions(FusionOptions):
    """Options of a fine-tuning with momentum distillation."""

    distillation: float | None = None
    """Weight of the EMA encoder's predictions in the targets, reached after one epoch; 0 turns momentum
    distillation off. By default the paper's 0.4 from trained encoders, and 0 from random weights, whose
    predictions teach nothing."""

    ema_momentum: float | None = None
    """Momentum of the EMA encoder; by default the paper's 0.995 from trained encoders, and 0.9 from random
    weights. No effect without distillation."""

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        check_shares(self, "distillation", "ema_momentum")


class FusionFineTuning(Method, ABC):
    """A method that trains image encoder, text encoder and fusion layers on a task."""

    # A mild crop only: the text, or its answer, may name a side or a color.
    view_families: ClassVar = {"views": lambda _: view_preset("clip")}
    text_defaults: ClassVar = _TEXT_DEFAULTS
    training_defaults: ClassVar = _TRAINING_DEFAULTS
    presets: ClassVar = _PRESETS


class DistilledFineTuning(FusionFineTuning, ABC):
    """A fine-tuning with momentum distillation where it is wanted."""

    ema_encoder: EMAEncoder | None
    """Of the whole network; None without distillation."""
    alpha: Tensor
    """0-d, the weight of the EMA encoder's predictions now."""

    def start_distillation(self, config: DistillationOptions, context: BuildContext) -> None:
        """Make the EMA encoder of `network`, where there is distillation."""
        weight, momentum = (0.4, 0.995) if context.is_pretrained else (0.0, 0.9)
        self.distillation = weight if config.distillation is None else config.distillation
        self.ema_momentum = momentum if config.ema_momentum is None else config.ema_momentum
        self.ema_encoder = EMAEncoder(self.network) if self.distillation else None
        self.register_buffer("alpha", torch.zeros(()))

    def reset_ema(self) -> None:
        """Copy the network."""
        if self.ema_encoder is not None:
            self.ema_encoder.follow(self.network, 0.0)

    def after_step(self, progress: Progress) -> None:
        """Update the EMA encoder; raise alpha during the first epoch."""
        if self.ema_encoder is not None:
            self.ema_encoder.follow(self.network, self.ema_momentum)
            self.alpha.fill_(self.distillation * min(1.0, progress.epoch))


def judgement_loss(embeddings: Embeddings, alpha: Tensor) -> LossOutput:
    """(1 - alpha) cross-entropy with the label + alpha cross-entropy with the EMA encoder.

    Args:
        embeddings: `logits` (B, C), `label` (B,) and, with distillation, `ema_logits` (B, C).
        alpha: 0-d, in [0, 1].
    """
    logits, label = embeddings["logits"], embeddings["label"]
    total = classification_loss(
        logits, label, teacher_logits=embeddings.get("ema_logits"), teacher_weight=alpha
    )
    right = (logits.detach().argmax(1) == label).float().mean()
    return LossOutput(total, {"cross_entropy": total.detach(), "accuracy": right})


def checked_classes(context: BuildContext, *, such_as: str) -> tuple[str, ...]:
    """The classes of the data.

    Args:
        context: of the method.
        such_as: examples for the message.

    Raises:
        DataError: there are fewer than two.
    """
    classes = context.classes
    if len(classes) < 2:
        there = " and ".join(map(repr, classes)) or "none"
        raise DataError(
            f"the labels of the statements have {len(classes)} classes ({there}); expected at least 2, "
            f"such as {such_as}. Name their column with --data.label-column."
        )
    return classes
