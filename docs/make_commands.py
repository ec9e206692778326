"""Writes docs/commands.md from the commands' own help, so that the two cannot drift apart.

`python docs/make_commands.py --check` writes nothing and exits 1 where the file is out of date.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from likewise.catalog import methods
from likewise.cli.main import COMMANDS

TARGET = Path(__file__).with_name("commands.md")


def help_of(*words: str) -> str:
    """What a command prints for --help, at 100 columns."""
    environment = os.environ | {"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}
    words = (sys.executable, "-m", "likewise.cli.main", *words, "--help")
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())


def reference() -> str:
    """The whole page."""
    parts = [
        "# Commands",
        "",
        "Made from the commands' own help by `make docs`.",
        "",
        "```text",
        help_of(),
        "```",
    ]
    calls = [(name,) for name in COMMANDS if name != "train"] + [("train", name) for name in methods()]
    for words in sorted(calls):
        parts += ["", f"## likewise {' '.join(words)}", "", "```text", help_of(*words), "```"]
    return "\n".join(parts) + "\n"


def main() -> None:
    """Write the page, or check it."""
    page = reference()
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == page else 1)
    TARGET.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
