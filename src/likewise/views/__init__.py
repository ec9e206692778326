"""Random views of images and sounds, and masked tokens, a batch at a time, on the training device."""

from likewise.views.captions import caption_flags
from likewise.views.config import PRESETS, ViewConfig, simclr_views, view_preset
from likewise.views.image import center_view, random_view
from likewise.views.log_mel import LogMel, log_mel
from likewise.views.sound import random_sound_view, whole_sound_view
from likewise.views.sound_config import SOUND_PRESETS, SoundViewConfig
from likewise.views.tokens import IGNORE_INDEX, mask_tokens

__all__ = [
    "ViewConfig",
    "PRESETS",
    "simclr_views",
    "view_preset",
    "random_view",
    "center_view",
    "caption_flags",
    "mask_tokens",
    "IGNORE_INDEX",
    "LogMel",
    "log_mel",
    "SoundViewConfig",
    "SOUND_PRESETS",
    "random_sound_view",
    "whole_sound_view",
]
