"""Likewise: learning what belongs together.

    import likewise
    model = likewise.load("runs/demo")
    vectors = model.encode_images(["photo.jpg"])

Everything heavy is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from likewise.openmp import wait_without_spinning

if TYPE_CHECKING:
    from likewise.model.model import Model, load
    from likewise.training import Settings, default_settings, train

__all__ = ["Model", "Settings", "__version__", "default_settings", "load", "train"]

__version__ = "0.2.0.dev0"

wait_without_spinning()  # before anything imports torch

_HOMES = {
    "Model": "likewise.model.model",
    "load": "likewise.model.model",
    "Settings": "likewise.training",
    "default_settings": "likewise.training",
    "train": "likewise.training",
}


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module 'likewise' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
