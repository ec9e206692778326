"""Files of rows: CSV, JSONL or Parquet, by their ending."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from likewise.atomic_files import written_whole
from likewise.cli.files.output_paths import check_place
from likewise.errors import ConfigError

__all__ = ["ROW_SUFFIXES", "check_out", "write_rows"]

ROW_SUFFIXES = (".csv", ".jsonl", ".parquet")


def check_out(
    out: str | None,
    *,
    such_as: str,
    inputs: Iterable[str | None],
    suffixes: Sequence[str] = ROW_SUFFIXES,
    or_else: str = "",
) -> None:
    """Reject a place that cannot be written to, or that is read, before any work.

    Args:
        out: the file; None to print.
        such_as: a name without its ending, for the message.
        inputs: see `check_place`.
        suffixes: endings that are known, in lower case.
        or_else: what else may be given, for the message.

    Raises:
        ConfigError: another ending, a folder, or a file that the command reads.
    """
    if out is None:
        return
    if Path(out).suffix.lower() not in suffixes:
        raise ConfigError(f"--out {out}: expected a name that ends in {', '.join(suffixes)}{or_else}.")
    check_place("--out", Path(out), such_as=f"{such_as}{Path(out).suffix}", inputs=inputs)


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of the same columns, at least one, whole or not at all.

    Args:
        path: the file; its ending says which kind.
        rows: each by column.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        if path.suffix.lower() == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(list(rows)), beside)
        elif path.suffix.lower() == ".jsonl":
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            beside.write_text("".join(lines), encoding="utf-8")
        else:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(rows)
            beside.write_text(text.getvalue(), encoding="utf-8")
