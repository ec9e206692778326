"""An index holds what the model says of each image, follows its source, and survives kills and full disks."""

from __future__ import annotations

import io
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from killed_updates import kill_updates
from photos import photo, write_photos, write_table
from PIL import Image
from small_runs import small_settings

from likewise.errors import ConfigError, DataError, ModelError, WriteError
from likewise.model import Model, load
from likewise.search import Index, build_index, open_index
from likewise.search.build import IndexOptions, update_index
from likewise.search.manifest import read_manifest
from likewise.training.engine import train


def contents(index: Index) -> dict[str, bytes]:
    """Each id's vector."""
    vectors = np.asarray(index.vectors, np.float32)
    return {
        record["id"]: vectors[row].tobytes() for row, record in enumerate(index.records(range(len(index))))
    }


def test_rows_hold_vectors_texts_columns_and_thumbnails(model: Model, photos: Path, index: Index) -> None:
    paths = [photos.parent / f"{number:03d}.png" for number in range(24)]
    np.testing.assert_allclose(index.vectors, model.encode_images(paths), atol=1e-6)
    assert (index.size, index.dimension, index.vectors.dtype) == (24, model.dim, np.float32)
    assert set(index.columns) == {"split", "price", "shop"}
    assert index.records([5]) == [
        {
            "id": "005.png",
            "path": str(paths[5]),
            "captions": ["a blue square number 5"],
            "label": "blue",
            "split": "train",
            "price": 12.5,
            "shop": "shop 1",
        }
    ]
    with Image.open(io.BytesIO(index.thumbnail(5) or b"")) as thumbnail:
        assert (thumbnail.size, thumbnail.format) == ((40, 30), "JPEG")
        difference = np.asarray(thumbnail, float) - np.asarray(photo(5), float)
    assert np.abs(difference).mean() < 20  # noise, as JPEG keeps it
    assert index.abilities == model.abilities


def test_an_update_embeds_what_is_new_and_drops_what_is_gone(model: Model, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "photos.index"
    write_photos(folder, range(6))
    first = update_index(model, folder, out)
    assert (first.added, first.kept, first.dropped) == (6, 0, 0)
    again = update_index(model, folder, out)
    assert (again.added, again.kept, again.dropped) == (0, 6, 0)
    assert again.index.manifest == first.index.manifest  # nothing was written
    (folder / "002.png").unlink()
    photo(77).save(folder / "003.png")  # another time of change
    write_photos(folder, range(6, 8))
    (folder / "broken.png").write_bytes(b"no image")
    changed = update_index(model, folder, out)
    assert (changed.added, changed.kept, changed.dropped) == (3, 4, 2)
    assert [bad.id for bad in changed.bad] == ["broken.png"]
    fresh = build_index(model, folder, tmp_path / "fresh.index")
    ours, theirs = contents(changed.index), contents(fresh)
    assert ours.keys() == theirs.keys()
    for name, vector in ours.items():  # embedded in batches of other sizes
        found, expected = (np.frombuffer(one, np.float32) for one in (vector, theirs[name]))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(list(out.iterdir())) == len(list((tmp_path / "fresh.index").iterdir()))  # no old files
    # Captions are new where the images are not.
    write_table(folder, range(4, 8))
    captioned = update_index(model, folder / "captions.csv", out)
    assert (captioned.added, captioned.kept, captioned.dropped) == (0, 4, 3)
    assert captioned.index.records([0])[0]["captions"] == ["a green square number 4"]


def test_a_reader_keeps_the_generation_it_opened(model: Model, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "photos.index"
    write_photos(folder, range(4))
    old = build_index(model, folder, out)
    before = contents(old)
    write_photos(folder, range(9))
    assert build_index(model, folder, out).size == 9
    assert old.size == 4
    assert contents(old) == before
    assert old.thumbnail(3) is not None


def test_half_the_space_and_no_thumbnails(model: Model, photos: Path, index: Index, tmp_path: Path) -> None:
    small = build_index(model, photos, tmp_path / "small.index", dtype="float16", thumbnail_side=0)
    assert small.vectors.dtype == np.float16
    np.testing.assert_allclose(small.vectors, index.vectors, atol=1e-3)
    assert small.thumbnail(0) is None
    # Both are kept by later updates; another choice makes them anew.
    again = update_index(model, photos, tmp_path / "small.index")
    assert (again.index.vectors.dtype, again.kept) == (np.float16, 24)
    other = update_index(model, photos, tmp_path / "small.index", IndexOptions(thumbnail_side=16))
    assert other.added == 24
    with Image.open(io.BytesIO(other.index.thumbnail(0) or b"")) as thumbnail:
        assert thumbnail.size == (16, 12)


def test_texts_are_indexed_each_by_itself(model: Model, photos: Path, tmp_path: Path) -> None:
    index = build_index(model, photos, tmp_path / "texts.index", what="texts")
    texts = [record["captions"][0] for record in index.records(range(len(index)))]
    assert texts[:2] == ["a red square number 0", "a green square number 1"]
    np.testing.assert_allclose(index.vectors, model.encode_texts(texts), atol=1e-6)
    assert index.thumbnail(0) is None
    with pytest.raises(ConfigError, match="is an index of texts"):
        build_index(model, photos, tmp_path / "texts.index")


def test_another_model_is_refused(
    run: Path, model: Model, index: Index, photos: Path, tmp_path: Path
) -> None:
    index.check_model(load(run))  # the same weights from the disk
    other = load(run)
    next(other.network.parameters()).data.mul_(1.001)
    with pytest.raises(ModelError, match="built by another model"):
        index.check_model(other)
    with pytest.raises(ModelError, match="name another --out"):
        build_index(other, photos, index.folder)


def test_two_writers_are_kept_apart(model: Model, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "photos.index"
    build_index(model, photos, out)
    with FileLock(out / ".lock"), pytest.raises(ConfigError, match="another process is updating"):
        build_index(model, photos, out)


def test_other_folders_are_left_alone(model: Model, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/to_mother.txt").write_text("dear mother")
    with pytest.raises(ConfigError, match="other files"):
        build_index(model, photos, tmp_path / "letters")
    with pytest.raises(ConfigError, match="it is a file"):
        build_index(model, photos, photos)
    with pytest.raises(DataError, match="likewise index SOURCE"):
        open_index(tmp_path / "none.index")


def test_a_full_disk_leaves_the_old_index(model: Model, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "photos.index"
    write_photos(folder, range(4))
    old = build_index(model, folder, out)
    before = contents(old)
    write_photos(folder, range(12))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for most_bytes in (200, 4_000, 10_000):  # of a file: the error comes at another file each time
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, limits[1]))
        try:
            with pytest.raises(WriteError, match="make room there"):
                build_index(model, folder, out)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert contents(open_index(out)) == before
    assert build_index(model, folder, out).size == 12


def test_updates_killed_at_random_moments_leave_a_valid_index(model: Model, tmp_path: Path) -> None:
    found = kill_updates(model, tmp_path, kills=3, seed=0)
    assert len(found) == 3


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "index.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "index.json").write_text('{"format": 99}'), "newer likewise"),
        (lambda folder: next(folder.glob("vectors-*")).unlink(), "is missing"),
        (lambda folder: os.truncate(next(folder.glob("vectors-*")), 500), "damaged"),
    ],
)
def test_damage_is_named(damage, said: str, index: Index, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(index.folder, tmp_path / "copy.index")
    damage(tmp_path / "copy.index")
    with pytest.raises(DataError, match=said):
        open_index(tmp_path / "copy.index")


def test_models_without_texts(photos: Path, tmp_path: Path) -> None:
    model = load(train(small_settings("simclr", steps=1), tmp_path / "run", show=False).path)
    index = build_index(model, photos, tmp_path / "photos.index")
    assert list(index.manifest.calibration) == ["image"]
    assert np.isfinite(index.percentile(np.zeros(2, np.float32))).all()
    assert read_manifest(index.folder).model["method"] == "simclr"
