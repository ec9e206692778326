"""Files of rows: CSV, JSONL or Parquet, by their ending."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from likewise.atomic_files import written_whole

__all__ = ["ROW_SUFFIXES", "write_rows"]

ROW_SUFFIXES = (".csv", ".jsonl", ".parquet")


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows of the same columns, at least one, whole or not at all.

    Args:
        path: the file; its ending says which kind.
        rows: each by column.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        if path.suffix == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.Table.from_pylist(list(rows)), beside)
        elif path.suffix == ".jsonl":
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            beside.write_text("".join(lines), encoding="utf-8")
        else:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, list(rows[0]) if rows else [])
            writer.writeheader()
            writer.writerows(rows)
            beside.write_text(text.getvalue(), encoding="utf-8")
