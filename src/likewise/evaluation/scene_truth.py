"""Share of captions of generated scenes that are true, beside that of captions made without looking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from likewise.data.scenes.language import Scene
from likewise.data.scenes.truth import claims_of, is_true, read_caption
from likewise.evaluation.base import Figure

__all__ = ["TRUTH_FIGURES", "scene_truth"]

_TRUE, _EXACT = "True of the scene", "True, and saying all"

TRUTH_FIGURES = (
    Figure("true_share", _TRUE, "share", "higher", "constant_true_share", headline=_TRUE, curve=True),
    Figure("exact_share", _EXACT, "share", "higher", "constant_exact_share"),
    Figure("constant_true_share", f"{_TRUE}: the best constant", "share", baseline=True),
    Figure("constant_exact_share", f"{_EXACT}: the best constant", "share", baseline=True),
    Figure("shuffled_true_share", f"{_TRUE}: another scene's caption", "share", baseline=True),
)
"""Of data whose references are captions of generated scenes; other data has none of them."""


def scene_truth(
    captions: Sequence[str], references: Sequence[Sequence[str]], training: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Figures of `TRUTH_FIGURES` by key; none where a reference is no caption of a scene.

    The best constant for truth is one thing, the most frequent in training: a caption that names more is true
    of fewer scenes. For saying all it is the most frequent scene.

    Args:
        captions: N generated captions.
        references: of each image its captions; the first says all of the scene.
        training: the same of the training images.
    """
    scenes, known = _read([texts[0] for texts in references]), _read([texts[0] for texts in training])
    if not scenes or not known:
        return {}
    said = [read_caption(caption) for caption in captions]
    thing = Counter(thing for scene in known for thing in scene.things).most_common(1)[0][0]
    whole = Counter(map(claims_of, known)).most_common(1)[0][0]
    count = len(scenes)
    pairs = list(zip(said, scenes, strict=True))
    return {
        "true_share": sum(one is not None and is_true(one, scene) for one, scene in pairs) / count,
        "exact_share": sum(one is not None and claims_of(one) == claims_of(scene) for one, scene in pairs)
        / count,
        "constant_true_share": sum(thing in scene.things for scene in scenes) / count,
        "constant_exact_share": sum(claims_of(scene) == whole for scene in scenes) / count,
        "shuffled_true_share": sum(map(is_true, scenes[1:] + scenes[:1], scenes)) / count,
    }


def _read(captions: Sequence[str]) -> list[Scene]:
    """The scenes of captions; none where one of them is no caption of a scene."""
    scenes = [read_caption(caption) for caption in captions]
    return [scene for scene in scenes if scene is not None] if None not in scenes else []
