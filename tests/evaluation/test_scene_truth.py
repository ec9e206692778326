"""Whether captions are true of scenes."""

from __future__ import annotations

import pytest

from likewise.data.scenes import draw_scenes
from likewise.data.scenes.language import told
from likewise.data.scenes.truth import claims_of, is_true, read_caption
from likewise.evaluation.scene_truth import TRUTH_FIGURES, scene_truth

SCENE = "a small red circle left of a large blue square and above a small green star"


def test_captions_of_scenes_say_all_of_them() -> None:
    """Read back from its sentence, each scene is what it was drawn from."""
    scenes = draw_scenes(300, seed=1, size=24)
    read = [read_caption(caption) for caption in scenes.captions]
    for said, scene in zip(read, told(scenes.content), strict=True):
        assert said is not None
        assert claims_of(said) == claims_of(scene)
        assert is_true(said, scene)


@pytest.mark.parametrize(
    ("caption", "true", "exact"),
    [
        (SCENE, True, True),
        ("A small red circle above a small green star and left of a large blue square.", True, True),
        ("a small green star below a small red circle", True, False),
        ("a large blue square", True, False),
        ("a small blue square", False, False),
        ("a small red circle right of a large blue square", False, False),
        ("a small red circle above a large blue square", False, False),
        ("a large blue square left of a small green star", False, False),
        ("a small red circle left of a small red circle", False, False),
        ("a small red circle left of", False, False),
        ("", False, False),
    ],
)
def test_truth_of_a_caption(caption: str, true: bool, exact: bool) -> None:
    figures = scene_truth([caption, SCENE], [[SCENE], [SCENE]], [[SCENE]])
    assert figures["true_share"] == (1 + true) / 2
    assert figures["exact_share"] == (1 + exact) / 2


def test_the_references_of_chance_are_counted_by_hand() -> None:
    one, two = "a large red star", "a small red star left of a large blue heart"
    figures = scene_truth(["", "", ""], [[one], [two], [one]], [[one], [one], [two]])
    assert figures == {
        "true_share": 0,
        "exact_share": 0,
        "constant_true_share": 2 / 3,  # "a large red star" is the most frequent thing and scene
        "constant_exact_share": 2 / 3,
        "shuffled_true_share": 1 / 3,  # the third scene's caption is said of the second, ...
    }
    assert figures.keys() == {figure.key for figure in TRUTH_FIGURES}


def test_other_data_has_no_such_figures() -> None:
    assert scene_truth(["a dog"], [["a dog"]], [["a dog"]]) == {}
