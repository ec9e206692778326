"""A source with its bad records set aside and its files opened, for `prepare` and `inspect_source`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from likewise.data.audio.sound_columns import open_sounds
from likewise.data.audio.sound_format import SoundFormat
from likewise.data.columns import MAIN, Needs, column_names
from likewise.data.config import DataConfig
from likewise.data.image_columns import check_store_size, open_images, usual_store_size, warn_of_row_groups
from likewise.data.images.stores import CachedPixels
from likewise.data.record import BadRecord, Record, Source, group_by_reason
from likewise.data.remedies import remedy
from likewise.data.sources.open import open_source
from likewise.data.splits import Wanted, assign_parts, undrawn_notes, unnamed_notes
from likewise.data.stored_kinds import Images, Stored
from likewise.errors import SourceError, TooManyBadRecords
from likewise.messages import first_names, printed_line
from likewise.sampling import sampled_rows

__all__ = ["Loaded", "Role", "check_bad_share", "domain_role", "load"]

_MOST_REASONS = 10

Role = Literal["source", "target"]
"""The domain of a source, where the training has one of each."""


@dataclass(kw_only=True)
class Loaded:
    """Usable records and what goes with them, side by side.

    Attributes:
        source: as it was listed.
        role: "source" or "target" where the training has both domains.
        records: N usable ones.
        parts: "train" or "validation" for each, as the source says.
        names_validation: whether the source names a validation part.
        other_parts: rows of each other part, by its name in the source; they are left out.
        group_keys: what counts as the same thing has the same key.
        stored: each column of images or sounds, N rows.
        bad: what was set aside.
        num_bad: how many records that is (a dropped caption is none); of `num_listed`, all that the parts in
            use have, before `max_records`.
        num_unusable: how many of those were found among the `num_kept` that `max_records` left.
        num_dropped: how many captions were dropped; of `num_texts`.
    """

    source: Source
    role: Role | None
    records: list[Record]
    parts: list[str]
    names_validation: bool
    other_parts: dict[str, int]
    group_keys: list[str]
    stored: dict[str, Stored]
    bad: list[BadRecord]
    num_bad: int
    num_listed: int
    num_unusable: int
    num_kept: int
    num_dropped: int
    num_texts: int

    @property
    def sizes(self) -> NDArray[np.int32] | None:
        """(N, 2) width and height of the original images, where they are known."""
        images = self.stored.get("image")
        return images.sizes if isinstance(images, Images) else None

    @property
    def store_size(self) -> int | None:
        """Side of the stored squares, the same in all columns of images."""
        return next((one.pixels.size for one in self.stored.values() if isinstance(one, Images)), None)


def load(
    config: DataConfig,
    *,
    image_size: int | None,
    needs: Needs,
    progress: bool,
    parts: Wanted = "splits",
    store_size: int | None = None,
    source: Source | None = None,
    role: Role | None = None,
    sounds: SoundFormat | None = None,
) -> Loaded:
    """List a source, set aside what is unusable and open its images and sounds.

    Args:
        config: the user's options.
        image_size: the side of images in training.
        needs: see `prepare`.
        progress: show a progress bar while images are decoded.
        parts: which ones to keep; see `assign_parts`.
        store_size: side of the stored squares, where another source has decided it.
        source: the source, if it was listed already.
        role: its domain, where there is one of each.
        sounds: rate and length of the sounds, where they are needed.

    Raises:
        SourceError: the source cannot be understood or lacks what is needed.
        ConfigError: images would be stored smaller than training needs them.
    """
    # A second source may be of a kind that does not have the first one's columns.
    own_columns = parts != "validation or all" and role != "target"
    source = source or open_source(config, needs, own_columns=own_columns)
    _check_needs(source, needs, config, role)
    said, names_validation = assign_parts(
        source.records, config, parts, lacking=remedy("split", source.kind, source.roles_named)
    )
    source.notes += unnamed_notes(source.records, said, parts) + undrawn_notes(source.records, config, parts)
    in_use = [number for number, part in enumerate(said) if part is not None]
    keep = _capped(in_use, said, config.max_records)
    bad, num_bad, num_dropped = _listed_problems(source, needs, config, parts)
    num_texts = sum(len(source.records[number].texts) for number in in_use) + num_dropped
    usable, lack = [], _lacking(needs, role, config, source.records)
    for number in keep:
        record = source.records[number]
        reason = lack(record)
        if reason is None:
            usable.append(number)
        else:
            bad.append(BadRecord(record.id, record.place, reason))
    records = [source.records[number] for number in usable]
    stored, unreadable = _open_images(source, records, needs, config, image_size, store_size, parts, progress)
    if "audio" in needs and any("audio" in record.values for record in records):
        refs = [record.values.get("audio") for record in records]
        generated = None if source.waves is None else (source.waves, source.rate)
        stored["audio"], unread, notes = open_sounds(refs, generated, sounds, config, progress)
        unreadable = dict(sorted((unread | unreadable).items()))
        source.notes += notes
    bad += [BadRecord(records[row].id, records[row].place, why) for row, why in unreadable.items()]
    rows = np.asarray([row for row in range(len(records)) if row not in unreadable], dtype=np.int64)
    stored = {name: column.take(rows) for name, column in stored.items()}
    records = [records[row] for row in rows]
    return Loaded(
        source=source,
        role=role,
        records=records,
        parts=[str(said[usable[row]]) for row in rows],
        names_validation=names_validation,
        other_parts=_other_parts(source.records, said),
        group_keys=_group_keys(records, stored),
        stored=stored,
        bad=bad,
        num_bad=num_bad + len(keep) - len(records),
        num_listed=num_bad + len(in_use),
        num_unusable=len(keep) - len(records),
        num_kept=len(keep),
        num_dropped=num_dropped,
        num_texts=num_texts,
    )


def _open_images(
    source: Source,
    records: Sequence[Record],
    needs: Needs,
    config: DataConfig,
    image_size: int | None,
    size: int | None,
    parts: Wanted,
    progress: bool,
) -> tuple[dict[str, Stored], dict[int, str]]:
    """The columns of images that are needed and there, and the records whose image cannot be read."""
    opened: dict[str, Stored] = {}
    unreadable: dict[int, str] = {}
    for name in column_names(Images):
        refs = [record.values.get(name) for record in records]
        known = [ref for ref in refs if ref is not None]
        if name not in needs or not known:
            continue
        if source.pixels is None:
            if parts == "splits":
                check_store_size(known, config, image_size)
            size = size or config.store_size or usual_store_size(known, image_size, config.fit)
        opened[name], bad, notes = open_images(refs, source.pixels, size or 0, config, progress)
        unreadable = bad | unreadable
        source.notes += notes
        if parts == "splits" and source.pixels is None and not isinstance(opened[name].pixels, CachedPixels):
            warn_of_row_groups(known)
    return opened, dict(sorted(unreadable.items()))


def _other_parts(records: Sequence[Record], said: Sequence[str | None]) -> dict[str, int]:
    left_out = (record.split for record, part in zip(records, said, strict=True) if part is None)
    return dict(sorted(Counter(name for name in left_out if name is not None).items()))


def check_bad_share(loaded: Sequence[Loaded], limit: float) -> None:
    """Reject data with too large an unusable share, with the reasons and what to try."""
    counts = [
        ("records", sum(one.num_bad for one in loaded), sum(one.num_listed for one in loaded)),
        # Only the images of records within max_records were opened: a share of their own.
        ("records", sum(one.num_unusable for one in loaded), sum(one.num_kept for one in loaded)),
        ("captions", sum(one.num_dropped for one in loaded), sum(one.num_texts for one in loaded)),
    ]
    for what, bad, total in counts:
        if bad > limit * total:
            kinds = group_by_reason(record for one in loaded for record in one.bad)
            shown = "".join(
                f"\n  {printed_line(f'{one.place}: {one.reason}')}"
                + (f" (and {count - 1:,} more)" if count > 1 else "")
                for one, count in kinds[:_MOST_REASONS]
            )
            hints = dict.fromkeys(hint for one in loaded for hint in one.source.hints)
            shown += "".join(f"\nTry: {printed_line(hint)}" for hint in hints)
            raise TooManyBadRecords(
                f"{bad:,} of {total:,} {what} ({bad / total:.1%}) cannot be used, and --data.max-bad-share "
                f"allows {limit:.1%}. By reason:{shown}",
                [b for one in loaded for b in one.bad],
            )
    if not any(one.records for one in loaded):
        raise SourceError(f"{loaded[0].source.address}: no usable record in it")


def _check_needs(source: Source, needs: Needs, config: DataConfig, role: str | None) -> None:
    """Some records must have what is needed; single records that lack it are bad ones."""
    if not source.records and source.problems:
        return  # every record is bad, which says more than that they lack something
    required = needs.required(role)
    if role is not None:
        required -= {"domain"}  # the source itself is one
    for need in sorted(required):
        if not any(need in record.values for record in source.records):
            wanted = f"{need}s are" if need.isalpha() and not need.endswith("s") else f"{need} is"
            wanted = "sounds are" if need == "audio" else wanted
            raise SourceError(f"{config.source}: {wanted} needed, and {_absence(source, need)}")


def _absence(source: Source, need: str) -> str:
    """Why none of the records has what is needed, and what to do."""
    column, what = source.columns.get(need), remedy(need, source.kind, source.roles_named)
    if column is not None and need not in MAIN:
        return f"its column {column} is empty. Fill it, or {what}"
    if need in MAIN and "text" in source.columns:
        what += "; its texts alone can be embedded (likewise embed MODEL --what texts)"
    found = "; ".join([first_names(source.columns_found) or "none", *source.notes])
    return (
        f"this {source.kind} was not found to have them (columns found: {found}). {what[0].upper()}{what[1:]}"
    )


def _capped(numbers: list[int], said: list[str | None], limit: int | None) -> list[int]:
    """At most `limit` records of each part."""
    if limit is None:
        return numbers
    kept: list[int] = []
    for part in ("train", "validation"):
        members = [number for number in numbers if said[number] == part]
        kept += [members[place] for place in sampled_rows(len(members), limit)]
    return sorted(kept)


def _listed_problems(
    source: Source,
    needs: Needs,
    config: DataConfig,
    parts: Wanted,
) -> tuple[list[BadRecord], int, int]:
    """Unusable records of the parts in use that listing found; how many records and captions they are."""
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


def _lacking(
    needs: Needs, role: str | None, config: DataConfig, records: Sequence[Record]
) -> Callable[[Record], str | None]:
    """A function that says what a record lacks of what its domain must have."""
    complete = {
        name
        for name, need in needs.columns.items()
        if need.complete and any(name in record.values for record in records)
    }

    @cache
    def required(domain: str | None) -> list[str]:
        names = complete | needs.required(domain) - ({"domain"} if role is not None else set())
        return [name for name in column_names() if name in names]

    def lack(record: Record) -> str | None:
        for need in required(role or (record.domain and domain_role(record.domain, config))):
            if need not in record.values:
                return "no caption: none is left that can be used" if need == "text" else f"no {need}"
        return None

    return lack


def domain_role(domain: str, config: DataConfig) -> Role:
    """The role of a domain of the domain column."""
    return "target" if domain in config.target_domains else "source"


def _group_keys(records: Sequence[Record], stored: dict[str, Stored]) -> list[str]:
    """The group column, else the image or sound itself (equal files are one), else the texts.

    The key is made of the first record's name, so that it is the same on every machine.
    """
    main = next((name for name in MAIN if name in stored), None)
    hashes = None if main is None else stored[main].content
    first: dict[object, str] = {}
    keys = []
    for number, record in enumerate(records):
        same: object
        if record.group is not None:
            keys.append(f"group {record.group}")
            continue
        same = (
            int(hashes[number]) if hashes is not None and main in record.values else record.texts or record.id
        )
        keys.append(first.setdefault(same, f"record {record.id}"))
    return keys
