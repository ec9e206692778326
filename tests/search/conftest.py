from __future__ import annotations

from pathlib import Path

import pytest
from photos import write_photos, write_table
from small_runs import small_settings

from likewise.model import Model, load
from likewise.search import Index, build_index
from likewise.training.engine import train

NUM_PHOTOS = 24


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that embeds images and texts, and judges pairs."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    return train(small_settings("tcl", steps=1), folder, show=False).path


@pytest.fixture(scope="session")
def model(run: Path) -> Model:
    return load(run)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of captions beside photos; not to be changed."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, range(NUM_PHOTOS))
    return write_table(folder, range(NUM_PHOTOS))


@pytest.fixture(scope="session")
def index(model: Model, run: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """An index of them; not to be changed."""
    from likewise.search.build import update_index

    out = tmp_path_factory.mktemp("indexes") / "photos.index"
    build_index(model, photos, out)
    return update_index(model, photos, out, model_path=str(run)).index
