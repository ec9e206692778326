"""Generates docs/commands.md from the commands' help.

`python docs/make_commands.py --check` writes nothing and exits 1 if the file is out of date.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from pathlib import Path

from likewise.cli.main import COMMANDS
from likewise.cli.main import main as likewise
from likewise.methods.catalog import methods

TARGET = Path(__file__).with_name("commands.md")
TERMINAL = {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}


def help_of(*words: str) -> str:
    """Output of a command's --help."""
    # In this process, so that torch is imported once. The encoding decides whether frames are drawn.
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(printed):
        try:
            likewise([*words, "--help"])
        except SystemExit as done:
            if done.code != 0:
                raise
    printed.seek(0)
    return "\n".join(line.rstrip() for line in printed.read().strip().splitlines())


def reference() -> str:
    """The whole page."""
    parts = [
        "# Commands",
        "",
        "Generated from the commands' help by `make docs`.",
        "",
        "```text",
        help_of(),
        "```",
    ]
    calls = [(name,) for name in COMMANDS if name != "train"] + [("train", name) for name in methods()]
    calls += [("train", "clip-audio"), ("train", "simclr-audio")]
    for words in sorted(calls):
        parts += ["", f"## likewise {' '.join(words)}", "", "```text", help_of(*words), "```"]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page, or check it."""
    os.environ.update(TERMINAL)
    page = reference()
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == page else 1)
    TARGET.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
