"""A source with its bad records set aside and its pictures decoded, for `prepare` and `inspect_source`."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.data.columns import Needs
from likewise.data.config import DataConfig
from likewise.data.images.cache import ImageCache, cache_folder, open_cache
from likewise.data.images.cache_build import content_hash, num_workers
from likewise.data.images.decode import read_size
from likewise.data.images.refs import KEPT_BYTES, parquet_bytes
from likewise.data.images.stores import CachedPixels, DecodedPixels, HeldPixels, Pixels
from likewise.data.record import BadRecord, ImageRef, Record, Source
from likewise.data.sources.image_folder import FOLDER_OF_IMAGES
from likewise.data.sources.open import open_source
from likewise.data.splits import Wanted, assign_parts, undrawn_notes, unnamed_notes
from likewise.errors import ConfigError, RecordError, SourceError, TooManyBadRecords
from likewise.messages import first_names

__all__ = ["Loaded", "check_bad_share", "load"]

_SAMPLED_SIZES = 64
_SAMPLED_PICTURES = 32
_DARK = 32  # of 255
_OPTIONS = {
    "image": "data.image_column, or a folder of images",
    "text": "data.text_column",
    "label": "data.label_column, or a subfolder for each class",
    "domain": "data.domain_column",
}


@dataclass(kw_only=True)
class Loaded:
    """Usable records and what goes with them, side by side.

    Attributes:
        source: as it was listed.
        records: N usable ones.
        parts: "train" or "validation" for each, as the source says.
        names_validation: whether the source says anything of a validation part.
        other_parts: rows of each other part, by its name in the source; they are left out.
        group_keys: what counts as the same thing has the same key.
        rows: (N,) int64, each record's row of `pixels`.
        pixels: the pictures, or None where none are needed.
        hashes: (N,) uint64 of the encoded images, or None.
        sizes: (N, 2) int32 width and height of the pictures themselves, or None.
        bad: what was set aside.
        num_bad: how many records that is (a dropped caption is none); of `num_listed`, all that the parts in
            use have, whatever `max_records` leaves of them.
        num_unusable: how many of those were found among the `num_kept` that `max_records` left.
        num_dropped: how many captions were dropped; of `num_texts`.
    """

    source: Source
    records: list[Record]
    parts: list[str]
    names_validation: bool
    other_parts: dict[str, int]
    group_keys: list[str]
    rows: NDArray[np.int64]
    pixels: Pixels | None
    hashes: NDArray[np.uint64] | None
    sizes: NDArray[np.int32] | None
    bad: list[BadRecord]
    num_bad: int
    num_listed: int
    num_unusable: int
    num_kept: int
    num_dropped: int
    num_texts: int


def load(
    config: DataConfig,
    *,
    image_size: int | None,
    needs: Needs,
    progress: bool,
    parts: Wanted = "splits",
    store_size: int | None = None,
    source: Source | None = None,
) -> Loaded:
    """List a source, set aside what is unusable and open its pictures.

    Args:
        config: the user's options.
        image_size: the side that will be trained on.
        needs: see `prepare`.
        progress: show a progress bar while images are decoded.
        parts: which ones to keep; see `assign_parts`.
        store_size: side of the stored squares, where another source has decided it.
        source: the source, if it was listed already.

    Raises:
        SourceError: the source cannot be understood or lacks what is needed.
        ConfigError: pictures to train on would be stored smaller than they are trained on.
    """
    # A validation source beside the main one may be of a kind that does not have the main one's columns.
    own_columns = parts != "validation or all"
    source = source or open_source(config, images="image" in needs, own_columns=own_columns)
    _check_needs(source, needs, config)
    said, names_validation = assign_parts(source.records, config, parts)
    source.notes += unnamed_notes(source.records, said, parts) + undrawn_notes(source.records, config, parts)
    in_use = [number for number, part in enumerate(said) if part is not None]
    keep = _capped(in_use, said, config.max_records)
    bad, num_bad, num_dropped = _listed_problems(source, needs, config, parts)
    num_texts = sum(len(source.records[number].texts) for number in in_use) + num_dropped
    usable = []
    for number in keep:
        reason = _lack(source.records[number], needs, source.pixels is not None)
        if reason is None:
            usable.append(number)
        else:
            bad.append(BadRecord(source.records[number].id, source.records[number].place, reason))
    pixels: Pixels | None = None
    hashes: NDArray[np.uint64] | None = None
    sizes: NDArray[np.int32] | None = None
    rows = np.asarray(usable, dtype=np.int64)
    if "image" in needs and source.pixels is not None:
        pixels = HeldPixels(source.pixels)
        hashes = np.asarray([content_hash(source.pixels[row].data) for row in usable], dtype=np.uint64)
    elif "image" in needs and usable:
        refs = [ref for number in usable if (ref := source.records[number].image) is not None]
        if parts == "splits":
            _check_store_size(refs, config, image_size)
        size = store_size or config.store_size or _store_size(refs, image_size, config.fit)
        pixels, cache = _open_pictures(refs, size, config, progress)
        if parts == "splits" and not cache.has_pixels:
            _warn_of_row_groups(refs)
        bad += [_bad(source.records[usable[row]], reason) for row, reason in sorted(cache.bad.items())]
        rows = np.asarray([row for row in range(len(usable)) if row not in cache.bad], dtype=np.int64)
        usable = [usable[row] for row in rows]
        hashes, sizes = cache.hashes[rows], cache.sizes[rows]
        source.notes += _darkness_notes(pixels, rows)
    records = [source.records[number] for number in usable]
    return Loaded(
        source=source,
        records=records,
        parts=[str(said[number]) for number in usable],
        names_validation=names_validation,
        other_parts=_other_parts(source.records, said),
        group_keys=_group_keys(records, hashes),
        rows=rows,
        pixels=pixels,
        hashes=hashes,
        sizes=sizes,
        bad=bad,
        num_bad=num_bad + len(keep) - len(records),
        num_listed=num_bad + len(in_use),
        num_unusable=len(keep) - len(records),
        num_kept=len(keep),
        num_dropped=num_dropped,
        num_texts=num_texts,
    )


def _other_parts(records: Sequence[Record], said: Sequence[str | None]) -> dict[str, int]:
    left_out = (record.split for record, part in zip(records, said, strict=True) if part is None)
    return dict(sorted(Counter(name for name in left_out if name is not None).items()))


def _open_pictures(
    refs: list[ImageRef], size: int, config: DataConfig, progress: bool
) -> tuple[Pixels, ImageCache]:
    """The stored squares, or pictures to be decoded at every use; and what decoding all once has shown."""
    folder = cache_folder(config.cache_dir)
    cache = open_cache(refs, size=size, fit=config.fit, folder=folder, store=config.cache, progress=progress)
    if cache.has_pixels:
        return CachedPixels(cache.folder), cache
    return DecodedPixels(refs, size, config.fit, num_workers()), cache


def _darkness_notes(pixels: Pixels, rows: NDArray[np.int64]) -> list[str]:
    """A remark where most pictures are nearly black: 16-bit files, that is, which hold 12 bits or fewer."""
    if len(rows) == 0:
        return []
    chosen = rows[:: max(1, len(rows) // _SAMPLED_PICTURES)]
    squares = np.empty((len(chosen), 3, pixels.size, pixels.size), np.uint8)
    try:
        pixels.take(chosen, squares)
    except RecordError:  # gone since it was listed; whoever trains on it is told
        return []
    brightest = int(np.median(squares.reshape(len(chosen), -1).max(axis=1)))
    if brightest >= _DARK:
        return []
    return [
        f"these pictures are nearly black: the brightest value of most is {brightest} of 255 or less. Files "
        "of 16 bits that use fewer of them (10, 12) must be stretched first"
    ]


def _warn_of_row_groups(refs: Sequence[ImageRef]) -> None:
    """Training takes pictures in random order, and in Parquet one cannot be read without its row group."""
    num_bytes = parquet_bytes(refs)
    if num_bytes > KEPT_BYTES:
        warnings.warn(
            f"pictures in {num_bytes / 1e9:.2f} GB of Parquet are decoded at every use, and of the row "
            f"groups that hold them {KEPT_BYTES / 1e9:.2f} GB are kept: each batch reads most of its row "
            "groups again, which is slow. The cache (without --data.no-cache) reads each once",
            stacklevel=4,
        )


def check_bad_share(loaded: Sequence[Loaded], limit: float) -> None:
    """Refuse data of which too much is unusable, naming the first ten."""
    counts = [
        ("records", sum(one.num_bad for one in loaded), sum(one.num_listed for one in loaded)),
        # The pictures of those alone were opened that max_records left, so they have a share of their own.
        ("records", sum(one.num_unusable for one in loaded), sum(one.num_kept for one in loaded)),
        ("captions", sum(one.num_dropped for one in loaded), sum(one.num_texts for one in loaded)),
    ]
    for what, bad, total in counts:
        if bad > limit * total:
            first = "".join(f"\n  {b.place}: {b.reason}" for one in loaded for b in one.bad[:10])
            shown = "\n".join(first.split("\n")[:11])
            raise TooManyBadRecords(
                f"{bad:,} of {total:,} {what} ({bad / total:.1%}) cannot be used, and data.max_bad_share "
                f"allows {limit:.1%}. The first ones:{shown}",
                [b for one in loaded for b in one.bad],
            )
    if not any(one.records for one in loaded):
        raise SourceError(f"{loaded[0].source.address}: no usable record in it")


def _check_needs(source: Source, needs: Needs, config: DataConfig) -> None:
    """What the method needs must be there in some records; single records that lack it are bad ones."""
    records = source.records
    there = {
        "image": source.pixels is not None or any(record.image is not None for record in records),
        "text": any(record.texts for record in records),
        "label": any(record.label is not None for record in records),
        "domain": any(record.domain is not None for record in records),
    }
    if not records and source.problems:
        return  # every record is bad, which says more than that they lack something
    for need in sorted(needs):
        if not there[need]:
            raise SourceError(f"{config.source}: {need}s are needed, and {_absence(source, need)}")


def _absence(source: Source, need: str) -> str:
    """Why none of the records has what is needed, and what to do."""
    column = source.columns.get(need)
    if column is not None and need != "image":
        return f"its column {column} is empty. Fill it, or give {_OPTIONS[need]} where they are elsewhere"
    found = "; ".join([first_names(source.columns_found) or "none", *source.notes])
    remedy = f"Give {_OPTIONS[need]}"
    if need == "image" and not source.roles_named:
        remedy = "Give a folder of images or a table that names images"
        if "text" in source.columns:
            remedy += "; to embed the texts, give --what texts"
    if need == "text" and source.kind == FOLDER_OF_IMAGES:
        remedy = (
            "Put a NAME.txt beside each picture, a caption a line, or give a table of pictures and captions"
        )
    return f"this {source.kind} was not found to have them (columns found: {found}). {remedy}"


def _capped(numbers: list[int], said: list[str | None], limit: int | None) -> list[int]:
    """At most `limit` records of each part, spread evenly (the first ones are often all of one class)."""
    if limit is None:
        return numbers
    kept: list[int] = []
    for part in ("train", "validation"):
        members = [number for number in numbers if said[number] == part]
        step = max(1.0, len(members) / limit)
        kept += [members[int(place * step)] for place in range(min(limit, len(members)))]
    return sorted(kept)


def _listed_problems(
    source: Source,
    needs: Needs,
    config: DataConfig,
    parts: Wanted,
) -> tuple[list[BadRecord], int, int]:
    """What listing found unusable of the parts in use: all of it, how many records, how many captions."""
    bad, num_records, num_captions = [], 0, 0
    splits = {record.split for record in source.records} | {problem.split for problem in source.problems}
    probes = [Record(id="", place="", split=split) for split in splits]
    said = assign_parts(probes, config, parts)[0] if source.records else ["train"] * len(probes)
    in_use = {split for split, part in zip([p.split for p in probes], said, strict=True) if part is not None}
    for problem in source.problems:
        if problem.part != "row" and problem.part not in needs:
            continue
        if problem.split is not None and problem.split not in in_use:
            continue
        bad.append(problem.bad)
        num_records += problem.part != "text"
        num_captions += problem.part == "text"
    return bad, num_records, num_captions


def _lack(record: Record, needs: Needs, drawn: bool) -> str | None:
    """What the record lacks."""
    if "image" in needs and record.image is None and not drawn:
        return "no image"
    if "text" in needs and not record.texts:
        return "no caption: none is left that can be used"
    if "label" in needs and record.label is None:
        return "no label"
    if "domain" in needs and record.domain is None:
        return "no domain"
    return None


def _bad(record: Record, reason: str) -> BadRecord:
    return BadRecord(record.id, record.place, reason)


def _check_store_size(refs: Sequence[ImageRef], config: DataConfig, image_size: int | None) -> None:
    """Pictures stored below the training size would be blown up again; small ones may keep their own size."""
    asked = config.store_size
    if asked is None or image_size is None or asked >= image_size:
        return
    usual = _store_size(refs, image_size, config.fit)
    if asked < usual:
        raise ConfigError(
            f"data.store_size {asked} is below the {image_size} pixels that are trained on, and pictures "
            f"would be blown up from it; leave it out (it is {usual} then), or lower image.image_size"
        )


def _store_size(refs: Sequence[ImageRef], image_size: int | None, fit: str) -> int:
    """1.25 times the training size, so that crops stay sharp, but not above the largest picture in a sample.

    Enlarging at this point would take space and add nothing: views enlarge just as well.
    """
    if image_size is None:
        raise ValueError("image_size is needed with images")
    wanted = math.ceil(1.25 * image_size / 8) * 8
    sides = []
    # Four runs across the source: neighbours share a piece of a Parquet file, distant ones differ in kind.
    run = _SAMPLED_SIZES // 4
    starts = {int(quarter * max(0, len(refs) - run) / 3) for quarter in range(4)}
    for ref in (ref for start in sorted(starts) for ref in refs[start : start + run]):
        try:
            width, height = read_size(ref.read())
        except RecordError:
            continue  # it will be set aside with its reason when it is decoded
        sides.append(min(width, height) if fit == "crop" else max(width, height))
    return max(8, min(wanted, max(sides, default=wanted)))


def _group_keys(records: Sequence[Record], hashes: NDArray[np.uint64] | None) -> list[str]:
    """The group column, else the picture itself (equal files are one picture), else the texts.

    The key is made of the first record's name, so that it is the same on every machine.
    """
    first: dict[object, str] = {}
    keys = []
    for number, record in enumerate(records):
        same: object
        if record.group is not None:
            keys.append(f"group {record.group}")
            continue
        same = int(hashes[number]) if hashes is not None else record.texts or record.id
        keys.append(first.setdefault(same, f"record {record.id}"))
    return keys
