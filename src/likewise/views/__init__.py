"""Random views of images, a batch at a time, on the device that trains."""

from likewise.views.captions import caption_flags
from likewise.views.config import PRESETS, ViewConfig, view_preset
from likewise.views.image import (
    CLIP_MEAN,
    CLIP_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    center_view,
    random_view,
)

__all__ = [
    "ViewConfig",
    "PRESETS",
    "view_preset",
    "random_view",
    "center_view",
    "caption_flags",
    "CLIP_MEAN",
    "CLIP_STD",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
]
