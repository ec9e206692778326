"""Writes docs/methods.md from what the methods say of themselves, so that the two cannot drift apart.

`python docs/make_methods.py --check` writes nothing and exits 1 where the file is out of date.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from likewise.methods.base import Method
from likewise.methods.catalog import methods

TARGET = Path(__file__).with_name("methods.md")

OPENING = """# Methods

Which way of training for which data. Made from the methods' own words by `make docs`; the same stands in
`likewise methods NAME`, and every option in `likewise train NAME --help`.

The cost is a step's time where SimCLR's is 1, with the same narrow ResNet-18 at 32 px and the same batch, as
`benchmarks/image_methods_cifar10.py` measures it ([benchmarks](benchmarks.md)); MoCo's is that of its default
form, version 2 in one direction (`ours: moco` there), measured apart.

| method | needs | cost | what belongs together |
|---|---|---:|---|
"""


def entry(method: type[Method]) -> str:
    """The section of one method."""
    times = "not compared with" if method.cost is None else f"{method.cost:.1f} times"
    needs = str(method.needs)
    parts = [
        f"## {method.name}",
        method.idea,
        f"**Choose it when:** {method.choose_when[0].lower()}{method.choose_when[1:]}",
        f"**Needs:** {needs}. **Cost:** {times} SimCLR's step. **Paper:** {method.paper}.",
    ]
    return "\n\n".join(textwrap.fill(part, 120, break_on_hyphens=False) for part in parts)


def page() -> str:
    """The whole page."""
    rows = [
        f"| [{name}](#{name}) | {method.needs} "
        f"| {'' if method.cost is None else f'{method.cost:.1f}'} | {method.summary} |"
        for name, method in methods().items()
    ]
    sections = [entry(method) for method in methods().values()]
    return OPENING + "\n".join(rows) + "\n\n" + "\n\n".join(sections) + "\n"


def main() -> None:
    """Write the page, or check it."""
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == page() else 1)
    TARGET.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
