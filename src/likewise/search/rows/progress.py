"""The bar that shows how far embedding is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from likewise.search.rows.embedding import Embedded

__all__ = ["shown_progress"]


def shown_progress(batches: Iterable[Embedded], total: int, shown: bool) -> Iterator[Embedded]:
    """The batches, with a bar on the error stream.

    Args:
        batches: of embedded entries.
        total: entries of all batches.
        shown: whether there is a bar.
    """
    if not shown or not total:
        yield from batches
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total)
        for batch in batches:
            bar.advance(task, len(batch.entries))
            yield batch
