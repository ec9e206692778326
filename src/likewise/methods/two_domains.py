"""What methods of a source and a target domain have in common: columns, defaults, order and network."""

from __future__ import annotations

from abc import ABC
from dataclasses import replace
from typing import Any, ClassVar

from likewise.batches.samplers import OrderName
from likewise.data.columns import Needs, required_of
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Method
from likewise.networks.classifier import ClassifierNetwork
from likewise.views import ViewConfig, view_preset

__all__ = [
    "NEEDS",
    "TRAINING_DEFAULTS",
    "TwoDomainMethod",
    "build_classifier",
    "strong_views",
    "weak_views",
]

NEEDS = Needs("image", "domain", label=required_of("source"))
"""Labels of the source alone: the loader masks those of the target."""

TRAINING_DEFAULTS: dict[str, Any] = {
    "learning_rate": 1e-3,
    "weight_decay": 1e-3,
    "order": "domains",
    "largest_batch_size": 128,
    "select": "transfer.source_accuracy",
}


def build_classifier(context: BuildContext, dim: int) -> ClassifierNetwork:
    """An image encoder with a bottleneck of width `dim` and a classifier of the training's classes.

    Raises:
        ConfigError: there are fewer than two classes.
    """
    if len(context.classes) < 2:
        raise ConfigError(
            f"a classifier needs two classes or more, and the source has {len(context.classes)} "
            f"({', '.join(context.classes) or 'no labels'})."
        )
    return ClassifierNetwork(context.image_encoder(), classes=context.classes, dim=dim)


class TwoDomainMethod(Method, ABC):
    """A method that reads rows of both domains in every batch and trains a classifier."""

    needs: ClassVar = NEEDS
    view_families: ClassVar = {"views": lambda _: view_preset("none")}
    image_defaults: ClassVar = {"architecture": "resnet"}
    training_defaults: ClassVar = TRAINING_DEFAULTS
    no_grad_cache_reason: ClassVar = "each part would need rows of both domains."

    network: ClassifierNetwork

    @classmethod
    def check_order(cls, config: Any, order: OrderName) -> None:
        """Reject an order that does not bring both domains in every batch.

        Raises:
            ConfigError: it does not.
        """
        if order not in ("domains", "domain-pairs"):
            raise ConfigError(
                f"--training.order is {order}, and {cls.name} compares two domains in every batch; use "
                "--training.order domains."
            )


def weak_views(image_size: int) -> ViewConfig:
    """Small crops; no flips, which digits and letters do not survive."""
    return replace(view_preset("none"), crop_scale=(0.8, 1.0), crop_ratio=(0.9, 1.1))


def strong_views(image_size: int) -> ViewConfig:
    """Larger crops, turns, and other brightness and contrast."""
    return replace(
        view_preset("none"),
        crop_scale=(0.5, 1.0),
        rotation_degrees=15.0,
        brightness=0.4,
        contrast=0.4,
    )
