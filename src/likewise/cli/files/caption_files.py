"""Files of captions: CSV, JSONL, Parquet, or a text file beside each image."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from likewise.atomic_files import written_whole
from likewise.cli.files.row_files import write_rows
from likewise.data.images.refs import FileImage
from likewise.data.record import Record
from likewise.errors import DataError
from likewise.messages import first_names
from likewise.model.captions import Caption

__all__ = ["write_captions_file"]

Captioned = list[tuple[Record, list[Caption]]]


def write_captions_file(out: str, found: Captioned, *, overwrite: bool = False) -> None:
    """Write captions, whole or not at all.

    Args:
        out: the file, or `txt`.
        found: images with their captions.
        overwrite: text files beside images may be replaced.

    Raises:
        DataError: `txt`, and an image is no file, two images share a name, or a text file is there.
    """
    if out == "txt":
        _write_beside(found, overwrite)
        return
    rows = [
        {"image": record.id, "caption": caption.text, "rank": rank, "log_prob": caption.log_prob}
        for record, captions in found
        for rank, caption in enumerate(captions, start=1)
    ]
    write_rows(Path(out), rows)


def _write_beside(found: Captioned, overwrite: bool) -> None:
    """NAME.txt beside each image file; a caption a line."""
    paths: list[Path] = []
    for record, _ in found:
        path = Path(record.image.address if isinstance(record.image, FileImage) else "")
        if not path.is_file():  # a member of a shard or table, or of a bucket
            raise DataError(f"{record.place} is no file of its own; give --out captions.csv instead of txt.")
        paths.append(path.with_suffix(".txt"))
    twice = [str(path) for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise DataError(f"several images would share one text file: {first_names(twice, most=3)}.")
    there = [str(path) for path in paths if path.exists()]
    if there and not overwrite:
        raise DataError(
            f"{len(there):,} text files are there already; add --overwrite to replace them: "
            f"{first_names(there, most=3)}."
        )
    for path, (_, captions) in zip(paths, found, strict=True):
        with written_whole(path) as beside:
            beside.write_text("".join(f"{caption.text}\n" for caption in captions), encoding="utf-8")
