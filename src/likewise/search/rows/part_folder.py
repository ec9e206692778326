"""A folder of parts, written by several processes or machines; each embeds pieces of the same listing.

Piece i of n holds consecutive entries, and lies in `part-I-of-N.parquet` when it is embedded. Which process
does it does not matter, so a restart may have another number of processes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from likewise.data.record import BadRecord
from likewise.errors import ConfigError, DataError
from likewise.messages import first_names
from likewise.search.embedder import Embedder
from likewise.search.rows.embedding import embed_entries
from likewise.search.rows.listing import Entry, Listing
from likewise.search.rows.parts import Part, PartHeader, write_part

__all__ = ["embed_parts", "is_parts", "list_parts", "open_parts"]

_NAME = re.compile(r"part-(\d+)-of-(\d+)\.parquet")


def embed_parts(
    model: Embedder,
    listing: Listing,
    folder: Path,
    header: PartHeader,
    *,
    process: int,
    num_processes: int,
    rows_a_part: int,
    batch_size: int,
    bad: list[BadRecord],
) -> Iterator[tuple[Path, bool]]:
    """Embed the pieces of one process that are not there yet.

    Args:
        model: embeds the entries.
        listing: of the source; the same for every process.
        folder: gets the parts; it exists.
        header: of the parts.
        process: from 0 to `num_processes` - 1; does every `num_processes`-th piece.
        num_processes: of all machines together.
        rows_a_part: entries a piece.
        batch_size: entries a forward pass.
        bad: gets the entries whose image cannot be read; a part without them is whole.

    Yields:
        Each piece's file, when it is there, and whether it was there before.
    """
    entries = listing.entries
    count = -(-len(entries) // rows_a_part)
    if process == 0:  # of an earlier listing that was shorter or longer
        for path in _parts_of(folder):
            if (found := _NAME.fullmatch(path.name)) is not None and int(found[2]) != count:
                path.unlink(missing_ok=True)
    for number in range(process, count, num_processes):
        piece = entries[number * rows_a_part : (number + 1) * rows_a_part]
        path = folder / f"part-{number + 1:05d}-of-{count:05d}.parquet"
        digest = _digest(piece)
        if _is_done(path, header, digest):
            yield path, True
            continue
        embedded = list(
            embed_entries(
                model,
                listing,
                piece,
                thumbnail_side=header.thumbnail_side,
                batch_size=batch_size,
                bad=bad,
            )
        )
        write_part(path, embedded, header, digest=digest)
        yield path, False


def _digest(entries: Sequence[Entry]) -> str:
    """Of all that a part would hold of these entries beside the vectors."""
    digest = hashlib.blake2b(digest_size=16)
    for entry in entries:
        digest.update(repr((entry.id, entry.key, entry.captions, entry.label, entry.further)).encode())
    return digest.hexdigest()


def _is_done(path: Path, header: PartHeader, digest: str) -> bool:
    try:
        part = Part(path)
    except DataError:  # not there, or damaged
        return False
    return part.header == header and part.digest == digest


def _parts_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("part-*.parquet") if _NAME.fullmatch(path.name))


def is_parts(source: str) -> bool:
    """Whether a source is a folder of parts."""
    return Path(source).is_dir() and bool(_parts_of(Path(source)))


def open_parts(source: str, header: PartHeader) -> list[Part]:
    """All parts in a folder.

    Args:
        source: the folder.
        header: what they must agree on.

    Raises:
        ConfigError: they were embedded by another model, or otherwise.
        DataError: one is missing or damaged.
    """
    paths = _parts_of(Path(source))
    numbers = [(int(found[1]), int(found[2])) for path in paths if (found := _NAME.fullmatch(path.name))]
    counts = {count for _, count in numbers}
    missing = sorted(set(range(1, max(counts) + 1)) - {number for number, _ in numbers})
    if len(counts) > 1 or missing:
        lacking = first_names([str(number) for number in missing], most=5)
        raise DataError(
            f"{source} is not whole: of {max(counts):,} parts {len(missing):,} are missing ({lacking}); run "
            "likewise embed with the same --out again, which embeds what is missing."
            if missing
            else f"{source} mixes parts of two listings; run likewise embed with the same --out again."
        )
    parts = [Part(path) for path in paths]
    for part in parts:
        if part.header.fingerprint != header.fingerprint:
            raise ConfigError(f"{part.path} was embedded by another model; give that one by --model.")
        if part.header != header:
            raise ConfigError(
                f"{part.path} holds {part.header.what} with thumbnails of {part.header.thumbnail_side} "
                f"pixels; give --what {part.header.what} --thumbnails {part.header.thumbnail_side}."
            )
    return parts


def list_parts(parts: Sequence[Part]) -> Listing:
    """The entries of all parts."""
    return Listing(entries=[entry for part in parts for entry in part.entries()])
