"""Prompts of zero-shot classification: sentences that turn a class name into a caption.

The English ones are those of CLIP (Radford et al. 2021, 2103.00020, section 3.1.4, and the prompts published
with its code). Each holds one `{}`.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["TEMPLATES", "prompts"]

_PHOTO = ("a photo of a {}.",)

_PLAIN = ("{}",)

# chosen by CLIP's authors on ImageNet, by forward selection among their eighty
_SEVEN = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)

_CIFAR = (
    "a photo of a {}.",
    "a blurry photo of a {}.",
    "a black and white photo of a {}.",
    "a low contrast photo of a {}.",
    "a high contrast photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of a {}.",
    "a photo of a small {}.",
    "a photo of a big {}.",
    "a photo of the {}.",
    "a blurry photo of the {}.",
    "a black and white photo of the {}.",
    "a low contrast photo of the {}.",
    "a high contrast photo of the {}.",
    "a bad photo of the {}.",
    "a good photo of the {}.",
    "a photo of the small {}.",
    "a photo of the big {}.",
)

_CHINESE = (
    "一张{}的照片。",
    "一张{}的图片。",
    "一张模糊的{}照片。",
    "一张清晰的{}照片。",
    "照片里有{}。",
)

TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": _PHOTO,
    "plain": _PLAIN,
    "clip-7": _SEVEN,
    "cifar": _CIFAR,
    "chinese": _CHINESE,
}
"""Sets of templates by name; "plain" is the class name alone, for data whose captions are bare names."""


def prompts(class_names: Sequence[str], templates: str | Sequence[str] = "photo") -> list[list[str]]:
    """Each class name in each template.

    Args:
        class_names: C names; underscores, as in folder names, become spaces.
        templates: a key of `TEMPLATES`, or T sentences with one `{}` each.

    Returns:
        C lists of T captions.

    Raises:
        ValueError: an unknown set, no class, no template, or a template without exactly one `{}`.
    """
    if isinstance(templates, str):
        if templates not in TEMPLATES:
            raise ValueError(f"no templates called {templates!r}; there are {', '.join(TEMPLATES)}")
        templates = TEMPLATES[templates]
    if len(class_names) == 0 or len(templates) == 0:
        raise ValueError(f"expected classes and templates, got {len(class_names)} and {len(templates)}")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(f"a template holds exactly one {{}}, got {template!r}")
    # replace, not format: a class name or template may hold other braces
    return [
        [template.replace("{}", name.replace("_", " ")) for template in templates] for name in class_names
    ]
