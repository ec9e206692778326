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


def test_it_explains_cosines_and_captions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, colour in (("one", (200, 30, 30)), ("two", (30, 30, 200))):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{name}.png")
    one, two, out = (str(tmp_path / name) for name in ("one.png", "two.png", "maps.png"))
    runs = {
        method: str(train(small_settings(method, steps=1), tmp_path / method, show=False).path)
        for method in ("clip", "captioning")
    }
    for words, said in (
        ([runs["clip"], one, "a red circle"], "their cosine is"),
        ([runs["clip"], one, "--other-image", two], "their cosine is"),
        ([runs["captioning"], one, "a red circle", "--phrase", "red circle"], "caption: a red circle"),
        ([runs["captioning"], one], "caption:"),
    ):
        main(["explain", *words, "--device", "cpu", "--out", out])
        assert said in capsys.readouterr().out
        with Image.open(out) as sheet:
            assert sheet.width > 300
    for words, reason in (
        ([runs["clip"], one], "a text or another image"),
        ([runs["clip"], one, "a", "--other-image", two], "give one of the two"),
        ([runs["clip"], one, "a", "--phrase", "a"], "one map for the whole text"),
        ([runs["clip"], one, "a", "--layer", "0"], "no fusion layers"),
        ([runs["captioning"], one, "--other-image", two], "cannot encode images"),
    ):
        with pytest.raises(SystemExit):
            main(["explain", *words, "--device", "cpu", "--out", out])
        assert reason in capsys.readouterr().err
