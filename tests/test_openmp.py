"""Threads of torch wait with a short spin, unless the user says otherwise."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
PRINT = "import json, os, sys; print(json.dumps([dict(os.environ), 'torch' in sys.modules]))"


def environment(program: str, **given: str) -> tuple[dict[str, str], bool, str]:
    """The environment after a program, whether torch was imported, and what it printed as errors."""
    plain = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; {PRINT}"],
        env=plain | given,
        capture_output=True,
        text=True,
        check=True,
    )
    found, has_torch = json.loads(done.stdout)
    return {name: found[name] for name in NAMES if name in found}, has_torch, done.stderr


@pytest.mark.parametrize("program", ["import likewise", "import likewise.cli.main"])
def test_it_is_set_before_torch_is_imported(program: str) -> None:
    found, has_torch, _ = environment(program)
    assert found == {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
    assert not has_torch


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_has_set_stays(name: str) -> None:
    value = {"OMP_WAIT_POLICY": "ACTIVE"}.get(name, "200")
    assert environment("import likewise", **{name: value})[0] == {name: value}


def test_the_runtime_of_torch_reads_it() -> None:
    _, _, said = environment("import likewise, torch", OMP_DISPLAY_ENV="VERBOSE")
    if "GOMP_SPINCOUNT" not in said:
        pytest.skip("this torch has another OpenMP runtime than GCC's")
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in said
    assert "GOMP_SPINCOUNT = '10000'" in said
