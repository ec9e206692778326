"""Small models and an index, made once for all tests of the server."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from served import small_model

from likewise.model.model import Model
from likewise.search import Index, build_index


@pytest.fixture(scope="session")
def model_of() -> Callable[[str], Model]:
    """A small model of a method."""
    return cache(small_model)


@pytest.fixture(scope="session")
def tcl(model_of: Callable[[str], Model]) -> Model:
    """Embeds, matches and grounds."""
    return model_of("tcl")


@pytest.fixture(scope="session")
def index(tcl: Model, tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Twenty-four scenes."""
    source = "scenes:train=24,validation=1,seed=3,size=40"
    return build_index(tcl, source, tmp_path_factory.mktemp("served") / "scenes.index")
