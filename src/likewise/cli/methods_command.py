"""`likewise methods`."""

from __future__ import annotations

from collections.abc import Sequence

from likewise.catalog import methods

__all__ = ["run"]


def run(arguments: Sequence[str]) -> None:
    """List the methods, a line each."""
    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: likewise methods\n\nLists the ways of training: what each learns from, and its paper.")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("method", "what belongs together", "needs", "paper"):
        table.add_column(heading)
    for name, method in methods().items():
        table.add_row(name, method.summary, ", ".join(sorted(method.needs)), method.paper)
    Console().print(table)
