"""Where a command writes is looked at before its work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from likewise.cli import embed_command, explain_command
from likewise.cli.data_command import run as show_data
from likewise.cli.embed_command import run as embed
from likewise.cli.explain_command import run as explain
from likewise.cli.report_command import run as report
from likewise.errors import ConfigError
from likewise.reporting import collect

SCENES = "scenes:train=4,validation=2,size=32"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file, and with folders that are called like pictures and tables; no model is opened."""
    (tmp_path / "file").touch()
    for name in ("folder.png", "folder.npy", "held.ids.txt"):
        (tmp_path / name).mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.toml").touch()
    for command in (embed_command, explain_command, collect):
        monkeypatch.setattr(command, "open_model", None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def unwritable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose mode says nothing to root either."""
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder)


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("folder.npy", "is a folder; expected a file, such as folder.npy/embeddings.npy"),
        ("file/e.npy", "cannot be written: .*file is a file; name another place"),
        ("file/new/e.parquet", "cannot be written: .*file is a file; name another place"),
        ("held.npy", "its ids cannot stand beside it: held.ids.txt is a folder"),
    ],
)
def test_embeddings_have_a_place(out: str, reason: str, places: Path) -> None:
    with pytest.raises(ConfigError, match=f"--out {out}:? {reason}"):
        embed(["model", "--out", out])


@pytest.mark.parametrize("out", ["folder.png", "file/e.png"])
def test_explanations_have_a_place(out: str, places: Path) -> None:
    with pytest.raises(ConfigError, match=f"--out {out} (is a folder|cannot be written: .* is a file)"):
        explain(["model", "picture.png", "a text", "--out", out])


def test_reports_have_a_place(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"--out file/r\.html cannot be written: .* is a file"):
        report(["run", "--out", "file/r.html"])
    unwritable(places, monkeypatch)
    with pytest.raises(ConfigError, match=f"--out r.html cannot be written: nothing .* into {places}"):
        report(["run", "--out", "r.html"])


@pytest.mark.parametrize("sheet", ["folder.png", "file/sheet.png"])
def test_a_sheet_that_is_named_has_a_place(
    sheet: str, places: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=f"--sheet {sheet} (is a folder|cannot be written: .* is a file)"):
        show_data([SCENES, "--sheet", sheet])
    assert capsys.readouterr().out == ""


def test_the_folder_of_a_sheet_is_made(places: Path) -> None:
    show_data([SCENES, "--sheet", "new/folder/sheet.png"])
    assert (places / "new/folder/sheet.png").is_file()


def test_where_nobody_named_a_place_a_report_goes_without_its_sheet(
    places: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    unwritable(places, monkeypatch)
    show_data([SCENES])
    said = capsys.readouterr()
    assert "contact sheet" not in said.out
    assert f"no contact sheet: nothing may be written into {places}; --sheet FILE names" in said.err
    with pytest.raises(ConfigError, match=r"--views: views\.png cannot be written: nothing"):
        show_data([SCENES, "--views", "simclr"])
