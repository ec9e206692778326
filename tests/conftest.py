"""What several tests share."""

from __future__ import annotations

import os
from pathlib import Path

# One thread a test: the tests' tensors are small, and several runs must give the same bits.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)

REAL_DATA = Path(__file__).parents[1] / ".." / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    """The folder with the real data sets, where it lies beside the checkout."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real data sets do not lie beside this checkout")
    return REAL_DATA.resolve()
