"""What `likewise data` refuses before it looks at the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from likewise.cli.data_command import run
from likewise.errors import ConfigError


@pytest.mark.parametrize("size", ["0", "-5"])
def test_a_view_has_a_side(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=rf"--views-size {size}: expected the side .* at least 1 pixel"):
        run(["scenes:train=4,validation=2", "--views", "clip", "--views-size", size])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["x.txt", "x"])
def test_a_sheet_is_an_image(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match=r"--sheet .*: expected an image file"):
        run(["scenes:train=4,validation=2", "--sheet", str(tmp_path / name)])
    assert capsys.readouterr().out == ""
