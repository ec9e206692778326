"""`likewise explain`: texts in any language, and long ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from small_runs import small_settings

from likewise import train
from likewise.cli.main import main


def test_the_command_shows_phrases_of_the_text(tmp_path: Path) -> None:
    run = train(small_settings("tcl", steps=1), tmp_path / "run", show=False).path
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "scene.png")
    words = ["explain", str(run), str(tmp_path / "scene.png"), "a red circle above a blue square"]
    words += ["--device", "cpu", "--out", str(tmp_path / "maps.png")]
    main(words)
    with Image.open(tmp_path / "maps.png") as sheet:
        plain = sheet.size  # nine panels in two lines
    main([*words, "--phrase", "red circle", "blue square", "above", "a", "a red"])
    with Image.open(tmp_path / "maps.png") as sheet:
        assert (sheet.width, round(sheet.height / plain[1], 1)) == (plain[0], 1.5)  # fourteen in three
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--phrase", "green circle"])
    assert stopped.value.code == 2
