import time

import numpy as np
import pytest

from likewise.data.scenes import draw_scenes
from likewise.data.scenes.content import COLOURS, RELATIONS, SHAPES
from likewise.errors import ConfigError


@pytest.mark.parametrize("style", ["flat", "sketch"])
def test_a_scene_depends_on_its_seed_and_place_alone(style: str) -> None:
    many = draw_scenes(200, seed=3, style=style)
    few = draw_scenes(7, seed=3, style=style)
    assert np.array_equal(many.images[:7], few.images)
    assert many.captions[:7] == few.captions
    assert np.array_equal(many.boxes[:7], few.boxes)
    assert many.questions()[:20] == draw_scenes(50, seed=3, style=style).questions()[:20]
    for other in (draw_scenes(7, seed=4, style=style), draw_scenes(7, seed=3, style=style, stream=1)):
        assert other.captions != few.captions


def test_both_styles_show_the_same_things_differently() -> None:
    flat, sketch = draw_scenes(50, seed=0), draw_scenes(50, seed=0, style="sketch")
    assert flat.captions == sketch.captions
    assert (flat.domain == 0).all()
    assert (sketch.domain == 1).all()
    assert flat.domain_names[0] == "flat"
    assert np.abs(flat.images.astype(int) - sketch.images).mean() > 10


def test_what_comes_out_is_whole() -> None:
    scenes = draw_scenes(500, seed=0, size=48)
    assert scenes.images.shape == (500, 3, 48, 48)
    assert scenes.images.dtype == np.uint8
    assert len(scenes) == len(scenes.captions) == 500
    assert set(scenes.labels.tolist()) == set(range(len(SHAPES)))
    shares = np.bincount(scenes.content.counts, minlength=4) / 500
    assert shares[1] > 0.08
    assert shares[2] > 0.5
    assert shares[3] > 0.1
    large = (scenes.content.sizes == 1).sum(axis=1)
    assert (large[scenes.content.counts > 1] == 1).all()


def test_equal_captions_are_equal_groups_and_equal_content() -> None:
    scenes = draw_scenes(3000, seed=0)
    content = scenes.content
    seen: dict[frozenset[object], str] = {}
    for i, caption in enumerate(scenes.captions):
        things = [
            (int(content.sizes[i, k]), int(content.colours[i, k]), int(content.shapes[i, k]))
            for k in range(content.counts[i])
        ]
        said = [
            (things[0], int(r), thing) for r, thing in zip(content.relations[i], things[1:], strict=False)
        ]
        # A relation and its inverse say the same.
        facts = frozenset([*things, *(min((a, r, b), (b, r ^ 1, a)) for a, r, b in said)])
        assert seen.setdefault(facts, caption) == caption
    assert len(seen) == len(set(scenes.captions)) == len(set(scenes.groups.tolist()))
    assert len({*zip(scenes.captions, scenes.groups.tolist(), strict=True)}) == len(seen)


def test_boxes_hold_the_shapes_and_relations_are_where_they_are_said() -> None:
    scenes = draw_scenes(400, seed=1)
    content = scenes.content
    for i in range(400):
        for k in range(3):
            box = scenes.boxes[i, k]
            if k >= content.counts[i]:
                assert (box == 0).all()
                continue
            left, top, right, bottom = box.astype(int)
            assert 0 <= left < right <= 64
            assert 0 <= top < bottom <= 64
            low, high = ((9, 20), (18, 34))[content.sizes[i, k]]
            assert low <= max(right - left, bottom - top) <= high
        for k in range(1, content.counts[i]):
            first, other = scenes.boxes[i, 0], scenes.boxes[i, k]
            centre, seen_from = (first[:2] + first[2:]) / 2, (other[:2] + other[2:]) / 2
            gap = centre - seen_from
            axis, sign = divmod(int(content.relations[i, k - 1]), 2)
            assert gap[axis] * (1 if sign else -1) > 2 * abs(gap[1 - axis])
        taken = [scenes.boxes[i, k] for k in range(content.counts[i])]
        for a in range(len(taken)):
            for b in range(a):
                overlap = np.minimum(taken[a][2:], taken[b][2:]) - np.maximum(taken[a][:2], taken[b][:2])
                assert (overlap <= 2).any()


def test_a_box_is_tight_around_its_colour() -> None:
    scenes = draw_scenes(300, seed=2)
    black = COLOURS.index("black")
    for i in np.flatnonzero((scenes.content.counts == 1) & (scenes.content.colours[:, 0] == black)):
        dark = scenes.images[i].max(axis=0) < 90
        rows, columns = np.flatnonzero(dark.any(axis=1)), np.flatnonzero(dark.any(axis=0))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        assert np.abs(found - scenes.boxes[i, 0]).max() <= 1


def test_captions_say_all_there_is() -> None:
    scenes = draw_scenes(100, seed=0)
    for i, caption in enumerate(scenes.captions):
        count = int(scenes.content.counts[i])
        assert caption.count(" small ") + caption.count(" large ") == count
        assert sum(caption.count(relation) for relation in RELATIONS) == count - 1


def test_questions_have_the_right_answers() -> None:
    scenes = draw_scenes(400, seed=0)
    kinds = set()
    for question in scenes.questions():
        caption = scenes.captions[question.scene]
        kinds.add(question.kind)
        words = question.question.removesuffix("?").split()
        if question.kind == "colour":
            assert f"{question.answer} {words[-1]}" in caption
        elif question.kind == "shape":
            assert f"{words[-2]} {question.answer}" in caption
        elif question.kind == "size":
            assert f"{question.answer} {words[2]} {words[3]}" in caption
        elif question.kind == "count" and words[2] in COLOURS:
            assert caption.count(f" {words[2]} ") == int(question.answer)
        elif question.kind == "yes-no" and words[1] == "there":
            assert (f"{words[-2]} {words[-1]}" in caption) == (question.answer == "yes")
    assert kinds == {"colour", "shape", "size", "count", "relation", "yes-no"}


def test_relations_are_asked_and_stated_as_they_are() -> None:
    scenes = draw_scenes(600, seed=5)
    pairs = {
        (i, said)
        for i in range(600)
        for k in range(1, scenes.content.counts[i])
        for said in _both_ways(scenes, i, k)
    }
    asked = 0
    for statement in scenes.statements():
        for relation in RELATIONS:
            if f" is {relation} the " in statement.text:
                asked += 1
                assert ((statement.scene, statement.text) in pairs) == (statement.truth == "true")
    assert asked > 100


def _both_ways(scenes, i: int, k: int) -> list[str]:
    content = scenes.content
    first, other = (f"{COLOURS[content.colours[i, j]]} {SHAPES[content.shapes[i, j]]}" for j in (0, k))
    relation = int(content.relations[i, k - 1])
    return [
        f"the {first} is {RELATIONS[relation]} the {other}",
        f"the {other} is {RELATIONS[relation ^ 1]} the {first}",
    ]


def test_statements_are_true_false_and_undecided_in_equal_parts() -> None:
    scenes = draw_scenes(300, seed=0)
    statements = scenes.statements()
    for truth in ("true", "false", "undecided"):
        assert sum(statement.truth == truth for statement in statements) == 300
    for statement in statements:
        words = statement.text.split()
        if statement.text.startswith("there is a "):
            assert (" ".join(words[-2:]) in scenes.captions[statement.scene]) == (statement.truth == "true")
        if statement.truth == "undecided":
            about = statement.text.split("behind the ")[-1].removeprefix("the ").split()
            assert " ".join(about[:2]) in scenes.captions[statement.scene]


def test_pairs_are_true_in_half_and_count_right() -> None:
    scenes = draw_scenes(1001, seed=0)
    pairs = scenes.pairs()
    assert len(pairs) == 1001
    assert abs(sum(pair.truth for pair in pairs) / 1001 - 0.5) < 0.05
    counts = scenes.content.counts
    for pair in pairs:
        assert pair.first != pair.second
        if pair.text.endswith("things in all"):
            total = int(pair.text.split()[4])
            assert (total == counts[pair.first] + counts[pair.second]) == pair.truth
        if pair.text.startswith("both"):
            shape = pair.text.split()[-1]
            both = all(shape in scenes.captions[i] for i in (pair.first, pair.second))
            assert both == pair.truth
    assert draw_scenes(1, seed=0).pairs() == []


def test_wrong_arguments_say_what_would_do() -> None:
    with pytest.raises(ConfigError, match="count"):
        draw_scenes(0, seed=0)
    with pytest.raises(ConfigError, match="size"):
        draw_scenes(1, seed=0, size=8)
    with pytest.raises(ConfigError, match="flat, sketch"):
        draw_scenes(1, seed=0, style="oil")


def test_two_thousand_are_drawn_in_a_second_of_processor_time() -> None:
    start = time.process_time()
    draw_scenes(2000, seed=0)
    assert time.process_time() - start < 2  # 10,000 in 5 s is asked; twice that here, for busy machines
