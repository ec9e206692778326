"""Options and presets of random views."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from likewise.errors import ConfigError

__all__ = ["PRESETS", "ViewConfig", "simclr_views", "view_preset"]


_MAX_OPERATIONS = 14  # of RandAugment: more destroy the image


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Random views of an image; each method has its own defaults."""

    # The defaults are MoCo v2's (Chen 2020, 2003.04297): SimCLR's operations (Chen 2020, 2002.05709, app. A)
    # with half its colour strength. SimCLR itself crops from 8 % of the area and jitters by 0.8, 0.8, 0.8 and
    # 0.2, on CIFAR-10 (app. B.9) by half of that too. The docstrings are the command line's help.

    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Minimum and maximum area of a crop, as a share of the image."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Minimum and maximum aspect ratio (width / height) of a crop, drawn log-uniformly."""
    flip: float = 0.5
    """Probability of a horizontal flip."""
    rotation_degrees: float = 0.0
    """Maximum rotation in degrees, either way; the angle is drawn uniformly."""
    brightness: float = 0.4
    """Strength b of the brightness change: the factor lies in [1 - b, 1 + b]."""
    contrast: float = 0.4
    """Strength of the contrast change, about the view's mean grey."""
    saturation: float = 0.4
    """Strength of the saturation change."""
    hue: float = 0.1
    """Maximum hue shift as a share of the colour circle, at most 0.5."""
    jitter: float = 0.8
    """Probability of changing brightness, contrast, saturation and hue."""
    grey: float = 0.2
    """Probability of converting the view to grey."""
    blur: float = 0.5
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Minimum and maximum standard deviation of the blur, in pixels of the view."""
    solarize: float = 0.0
    """Probability of solarizing: inverting pixels brighter than half."""
    randaugment: int = 0
    """Number of RandAugment operations after the others, drawn from autocontrast, equalize, brightness,
    sharpness, rotation, shear, translation and identity; each is applied with probability 0.5."""
    magnitude: float = 7.0
    """Magnitude of RandAugment's operations, from 0 to 10."""
    caption_safe: bool = False
    """Keep views consistent with captions. If one names a side: no flip, and rotation by at most 45 degrees.
    If one names a colour: no hue shift, grey, solarizing, autocontrast or equalize."""

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "grey", "blur", "solarize"):
            self._check(name, getattr(self, name), 0, 1, "a probability")
        for name in ("brightness", "contrast", "saturation"):
            self._check(name, getattr(self, name), 0, math.inf, "a strength")
        self._check("hue", self.hue, 0, 0.5, "a share of the colour circle")
        self._check("magnitude", self.magnitude, 0, 10, "a magnitude")
        self._check("randaugment", self.randaugment, 0, _MAX_OPERATIONS, "a number of operations")
        self._check("rotation_degrees", self.rotation_degrees, 0, 180, "an angle")
        self._check_range("crop_scale", self.crop_scale, 1)
        self._check_range("crop_ratio", self.crop_ratio, math.inf)
        self._check_range("blur_sigma", self.blur_sigma, math.inf)
        for name, switch in (("magnitude", "randaugment"), ("blur_sigma", "blur")):
            if getattr(self, switch) == 0 and getattr(self, name) != getattr(ViewConfig, name):
                raise ConfigError(f"views.{name} has no effect while views.{switch} is 0.")

    def _check(self, name: str, value: float, low: float, high: float, kind: str) -> None:
        if not low <= value <= high or not math.isfinite(value):
            bounds = f"between {low} and {high}" if math.isfinite(high) else f"of at least {low}"
            raise ConfigError(f"views.{name} is {value}; expected {kind} {bounds}.")

    def _check_range(self, name: str, value: tuple[float, float], high: float) -> None:
        if len(value) != 2 or not 0 < value[0] <= value[1] <= high or not math.isfinite(value[1]):
            most = f" and at most {high}" if math.isfinite(high) else ", both finite"
            raise ConfigError(f"views.{name} is {value}; expected a minimum and a maximum above 0{most}.")

    @property
    def changes_colour(self) -> bool:
        """Whether views can differ from their image in colour."""
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        return self.grey > 0 or (self.jitter > 0 and any(strength > 0 for strength in strengths))


_IDENTITY = ViewConfig(
    crop_scale=(1.0, 1.0),
    crop_ratio=(1.0, 1.0),
    flip=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    grey=0.0,
    blur=0.0,
)

PRESETS: dict[str, ViewConfig] = {
    # SimCLR's operations with MoCo v2's strengths (see ViewConfig).
    "simclr": ViewConfig(),
    # SimCLR uses no blur at 32 px (appendix B.9).
    "simclr-small": ViewConfig(blur=0.0),
    # open_clip's default: a mild crop and nothing else.
    "clip": replace(_IDENTITY, crop_scale=(0.9, 1.0), crop_ratio=(3 / 4, 4 / 3), caption_safe=True),
    # For methods that learn from labels.
    "mild": replace(
        _IDENTITY,
        crop_scale=(0.6, 1.0),
        crop_ratio=(3 / 4, 4 / 3),
        flip=0.5,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        jitter=0.8,
    ),
    # Crops and flips only: the channels are the views (Tian 2019, 1906.05849).
    "crops": replace(_IDENTITY, crop_scale=(0.2, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5),
    # As TCL and ALBEF; caption_safe is ours.
    "tcl": ViewConfig(crop_scale=(0.2, 1.0), randaugment=2, caption_safe=True),
    "none": _IDENTITY,
}


def simclr_views(image_size: int) -> ViewConfig:
    """SimCLR's preset for images of this side in pixels: no blur at 32 and below."""
    return view_preset("simclr" if image_size > 32 else "simclr-small")


def view_preset(name: str) -> ViewConfig:
    """The preset of that name: simclr, simclr-small, clip, mild, crops, tcl or none.

    Raises:
        ConfigError: unknown preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"views: unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
