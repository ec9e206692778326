"""Duplicates are found by bytes, looks and vectors, each once and in one group."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from photos import write_photos
from PIL import Image

from likewise.model import Model
from likewise.search import Index, build_index
from likewise.search.duplicates import _alike, _to_leaders, duplicate_groups, least_cosine


@pytest.fixture(scope="module")
def twins(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Six photos, two copies of 001.png, and a large smooth image, again as a small JPEG."""
    folder = tmp_path_factory.mktemp("twins")
    write_photos(folder, range(6))
    shutil.copy(folder / "001.png", folder / "a_copy.png")
    shutil.copy(folder / "001.png", folder / "z_copy.png")
    colours = np.random.default_rng(5).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = Image.fromarray(colours).resize((320, 240), Image.Resampling.BICUBIC)
    smooth.save(folder / "large.png")
    smooth.resize((100, 75)).save(folder / "small.jpg", quality=85)
    return build_index(model, folder, folder.parent / "twins.index")


def named(index: Index, **options: object) -> list[dict[str, str]]:
    groups = duplicate_groups(index, **options)  # type: ignore[arg-type]
    return [
        {record["id"]: kind for record, kind in zip(index.records(group.rows), group.kinds, strict=True)}
        for group in groups
    ]


def test_copies_are_exact_and_reencoded_images_near(twins: Index) -> None:
    copies = {"001.png": "first", "a_copy.png": "exact", "z_copy.png": "exact"}
    assert named(twins, kinds=["exact"]) == [copies]
    assert named(twins, kinds=["exact", "near"]) == [copies, {"large.png": "first", "small.jpg": "near"}]
    assert named(twins, rows=[0, 2, 3, 5], kinds=["exact", "near"]) == []


def test_similar_ones_by_their_vectors(twins: Index) -> None:
    assert least_cosine(twins) >= 0.97
    by_vector = named(twins, kinds=["similar"], min_cosine=0.999999)
    assert {"001.png": "first", "a_copy.png": "similar", "z_copy.png": "similar"} in by_vector
    (everything,) = named(twins, kinds=["similar"], min_cosine=-1.0)
    assert len(everything) == len(twins)


def test_texts_have_no_looks(model: Model, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a dog\na cat\na dog\n")
    index = build_index(model, tmp_path / "texts.txt", tmp_path / "texts.index", what="texts")
    (group,) = duplicate_groups(index, kinds=["exact", "near"])
    assert (group.rows, group.kinds) == ([0, 2], ["first", "exact"])


def test_small_steps_make_no_chain() -> None:
    pairs = np.array([[0, 1, 2, 5], [1, 2, 3, 6]])
    assert _to_leaders(pairs).T.tolist() == [[0, 1], [2, 3], [5, 6]]  # 2 is like 1, which follows 0


def test_similar_vectors_of_unlike_images_are_set_apart() -> None:
    draws = np.random.default_rng(0)
    greys = draws.normal(size=(3, 256)).astype(np.float32)
    mirrored = greys[0].reshape(16, 16)[:, ::-1].reshape(1, 256) * 2 + 7
    greys = np.concatenate([greys, mirrored])
    pairs = np.array([[0, 0, 2, 0], [2, 4, 4, 6]])
    there = np.array([0, 1, 2, 4])  # the rows 3 and 6 have no thumbnail
    assert _alike(pairs, there, greys).tolist() == [False, True, False, False]
