"""From a user's files to batches: sources, bad records, the decoded cache, splits, generated scenes.

from likewise.data import DataConfig, Needs, prepare
splits = prepare(DataConfig(source="photos/"), image_size=64, needs=Needs("image"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from likewise.data.columns import Needs
    from likewise.data.config import DataConfig
    from likewise.data.dataset import Dataset
    from likewise.data.preparation import Splits, prepare
    from likewise.data.record import BadRecord, ImageRef, Record, Source
    from likewise.data.sources.open import open_source

__all__ = [
    "BadRecord",
    "DataConfig",
    "Dataset",
    "ImageRef",
    "Needs",
    "Record",
    "Source",
    "Splits",
    "open_source",
    "prepare",
]

_HOMES = {
    "BadRecord": "likewise.data.record",
    "DataConfig": "likewise.data.config",
    "Dataset": "likewise.data.dataset",
    "ImageRef": "likewise.data.record",
    "Needs": "likewise.data.columns",
    "Record": "likewise.data.record",
    "Source": "likewise.data.record",
    "Splits": "likewise.data.preparation",
    "open_source": "likewise.data.sources.open",
    "prepare": "likewise.data.preparation",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first used: options and records must not cost an import of torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'likewise.data' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
