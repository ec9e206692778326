"""What is printed of data and file names: nothing that a terminal would obey, and no flood."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from likewise.cli.files.source_tables import print_report
from likewise.cli.main import main
from likewise.data import DataConfig
from likewise.data.source_report import inspect_source
from likewise.messages import printed_line

EVIL = "a \x1b[31mred\x1b]0;owned\x07 bus\x9b2J \u202eback\r"
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Captions, labels, names and a column that would move the cursor, one image that is missing."""
    rng = np.random.default_rng(0)
    with (tmp_path / "captions.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption", "label", f"notes {EVIL.strip()}"])
        for number in range(12):
            name = f"{number}\x1b[2J.png"
            if number:
                Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / name)
            writer.writerow([name, f"{EVIL} {number}", f"kind\x1b[1m {number % 2}", "x"])
    return tmp_path / "captions.csv"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_report_holds_nothing_that_a_terminal_obeys(
    table: Path, terminal: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    report = inspect_source(DataConfig(source=str(table), max_bad_share=1.0, cache=False), progress=False)
    assert report.bad_records
    print_report(report, Console(force_terminal=terminal, no_color=True, width=300, highlight=False))
    printed = re.sub("\x1b\\[[0-9;]*m", "", capsys.readouterr().out)  # rich's own bold
    assert not OBEYED.search(printed)
    assert "owned" in printed


def test_an_error_is_one_line_of_bounded_length(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = tmp_path / ("\x1b[2J\nnothing " + "x" * 50_000)
    with pytest.raises(SystemExit) as ended:
        main(["data", str(name)])
    printed = capsys.readouterr().err
    assert ended.value.code != 0
    assert printed.count("\n") == 1
    assert not OBEYED.search(printed)
    assert len(printed) < 2100


def test_a_header_of_50_kb_is_not_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "table.csv").write_text(",".join(f"column{number}\x1b[2J" for number in range(3000)) + "\n")
    with pytest.raises(SystemExit):
        main(["data", str(tmp_path / "table.csv")])
    printed = capsys.readouterr().err
    assert len(printed) < 2100
    assert not OBEYED.search(printed)


def test_warnings_are_escaped_too(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import warnings; from likewise.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        f"warnings.warn({EVIL + 'x' * 9000!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, env=os.environ
    )
    assert "\\x1b[31mred" in done.stderr
    assert not OBEYED.search(done.stderr.split("warnings.warn")[0])


def test_a_line_is_cut() -> None:
    assert printed_line("a\nb\x1b") == "a\\nb\\x1b"
    assert len(printed_line("x" * 9000)) == 2003
