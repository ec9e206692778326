"""How strongly views differ from their images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from likewise.errors import ConfigError

__all__ = ["PRESETS", "ViewConfig", "simclr_views", "view_preset"]


_MOST_OPERATIONS = 14  # of RandAugment, an image: more leave nothing of it


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """The family of random views of an image; each method has its own defaults."""

    # Those here are MoCo v2's (Chen 2020, 2003.04297): the operations of SimCLR (Chen 2020, 2002.05709, app.
    # A) with half its strength of colour. SimCLR itself crops from 8 % of the area and jitters by 0.8, 0.8,
    # 0.8 and 0.2, on CIFAR-10 (app. B.9) by half of that too. The docstring is the help of every method.

    crop_scale: tuple[float, float] = (0.2, 1.0)
    """Least and greatest share of the image's area that a crop takes."""
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Least and greatest width-to-height ratio of a crop (drawn evenly in its logarithm)."""
    flip: float = 0.5
    """Probability of a left-right flip."""
    rotation_degrees: float = 0.0
    """Rotation is drawn evenly between minus and plus this many degrees."""
    brightness: float = 0.4
    """Brightness is multiplied by a factor within this of 1."""
    contrast: float = 0.4
    """Contrast about the view's mean grey is multiplied by a factor within this of 1."""
    saturation: float = 0.4
    """Saturation is multiplied by a factor within this of 1."""
    hue: float = 0.1
    """Hue is turned by up to this share of the colour circle, at most 0.5."""
    jitter: float = 0.8
    """Probability of changing brightness, contrast, saturation and hue at all."""
    grey: float = 0.2
    """Probability of turning the view grey."""
    blur: float = 0.5
    """Probability of a Gaussian blur."""
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    """Least and greatest deviation of the blur in pixels of the view."""
    solarize: float = 0.0
    """Probability of inverting what is brighter than the middle."""
    randaugment: int = 0
    """Operations of RandAugment at the end, drawn for each view from autocontrast, equalizing, brightness,
    sharpness, rotation, shear, shift and none; each drawn one is done with probability half."""
    magnitude: float = 7.0
    """Strength of RandAugment's operations, from 0 to 10."""
    caption_safe: bool = False
    """Respect captions: where one names a side, no flip, and rotation by 45 degrees at most, so that left
    stays left; where one names a colour, no change of hue, no grey, no solarizing, no autocontrast and no
    equalizing."""

    def __post_init__(self) -> None:
        for name in ("flip", "jitter", "grey", "blur", "solarize"):
            self._check(name, getattr(self, name), 0, 1, "a probability")
        for name in ("brightness", "contrast", "saturation"):
            self._check(name, getattr(self, name), 0, math.inf, "a strength")
        self._check("hue", self.hue, 0, 0.5, "a share of the colour circle")
        self._check("magnitude", self.magnitude, 0, 10, "a magnitude")
        self._check("randaugment", self.randaugment, 0, _MOST_OPERATIONS, "a number of operations")
        self._check("rotation_degrees", self.rotation_degrees, 0, 180, "an angle")
        self._check_range("crop_scale", self.crop_scale, 1)
        self._check_range("crop_ratio", self.crop_ratio, math.inf)
        self._check_range("blur_sigma", self.blur_sigma, math.inf)
        for name, switch in (("magnitude", "randaugment"), ("blur_sigma", "blur")):
            if getattr(self, switch) == 0 and getattr(self, name) != getattr(ViewConfig, name):
                raise ConfigError(f"views.{name} means nothing while views.{switch} is 0.")

    def _check(self, name: str, value: float, low: float, high: float, kind: str) -> None:
        if not low <= value <= high or not math.isfinite(value):
            bounds = f"between {low} and {high}" if math.isfinite(high) else f"of at least {low}"
            raise ConfigError(f"views.{name} is {value}; expected {kind} {bounds}.")

    def _check_range(self, name: str, value: tuple[float, float], high: float) -> None:
        if len(value) != 2 or not 0 < value[0] <= value[1] <= high or not math.isfinite(value[1]):
            most = f" and at most {high}" if math.isfinite(high) else ", both finite"
            raise ConfigError(
                f"views.{name} is {value}; expected a least and a greatest value above 0{most}."
            )

    @property
    def changes_colour(self) -> bool:
        """Whether any view can differ from its image in colour."""
        strengths = (self.brightness, self.contrast, self.saturation, self.hue)
        return self.grey > 0 or (self.jitter > 0 and any(strength > 0 for strength in strengths))


_AS_IT_IS = ViewConfig(
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
    # SimCLR's operations, as strong as MoCo v2 has them (see ViewConfig).
    "simclr": ViewConfig(),
    # SimCLR leaves the blur out at 32 px (appendix B.9): it hides what little is there.
    "simclr-small": ViewConfig(blur=0.0),
    # open_clip's default: a mild crop and nothing else.
    "clip": replace(_AS_IT_IS, crop_scale=(0.9, 1.0), crop_ratio=(3 / 4, 4 / 3), caption_safe=True),
    # For labelled pictures, where the label already says what belongs together.
    "mild": replace(
        _AS_IT_IS,
        crop_scale=(0.6, 1.0),
        crop_ratio=(3 / 4, 4 / 3),
        flip=0.5,
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        jitter=0.8,
    ),
    # Crops and flips alone: the channels are the views (Tian 2019, 1906.05849).
    "crops": replace(_AS_IT_IS, crop_scale=(0.2, 1.0), crop_ratio=(3 / 4, 4 / 3), flip=0.5),
    # TCL's and ALBEF's family; respecting captions is ours.
    "tcl": ViewConfig(crop_scale=(0.2, 1.0), randaugment=2, caption_safe=True),
    "none": _AS_IT_IS,
}


def simclr_views(image_size: int) -> ViewConfig:
    """The preset of SimCLR for pictures of that many pixels a side: without blur at 32 and below."""
    return view_preset("simclr" if image_size > 32 else "simclr-small")


def view_preset(name: str) -> ViewConfig:
    """The preset of that name: simclr, simclr-small, clip, mild, crops, tcl or none.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"views: unknown preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
