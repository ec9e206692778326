"""Which records train and which validate."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

from likewise.data.config import DataConfig
from likewise.data.record import Record
from likewise.data.tables.names import canonical_split
from likewise.errors import SourceError

__all__ = ["Parts", "Wanted", "assign_parts", "draw_parts", "undrawn_notes", "unnamed_notes"]

Parts = Literal["splits", "measured", "any"]
"""The parts that a caller of `prepare` reads; see `assign_parts`."""

Wanted = Parts | Literal["all", "validation or all"]
"""The parts of a source that are read; see `assign_parts`."""


def assign_parts(
    records: Sequence[Record], config: DataConfig, wanted: Wanted = "splits"
) -> tuple[list[str | None], bool]:
    """The part of each record as the source itself says.

    Args:
        records: of one source.
        config: the names of the parts.
        wanted: "splits": as the source names them, to train on. "measured": no training part is needed; the
            test part validates where no validation part is named. "any": the same, and neither is needed.
            "all": every record, as training records. "validation or all": the validation part, or every
            record as validation where there is none.

    Returns:
        "train", "validation" or None (another part, left out) for each record; and whether the source names a
        validation part. Where no record names a split, all are "train".

    Raises:
        SourceError: the source names splits, and not the one that is needed; or it names none, and an option
            names one.
    """
    names = {record.split for record in records}
    if names == {None}:
        _check_none_asked(config, wanted)
    if wanted == "all" or (wanted != "validation or all" and names <= {None}):
        return ["train"] * len(records), False
    meaning = {name: _part_of(name, names, config) for name in names}
    if wanted == "validation or all":
        found = [meaning[record.split] == "validation" for record in records]
        return ["validation" if held or not any(found) else None for held in found], True
    if wanted != "splits":
        meaning = _with_test_part(meaning, config)
    _check_found(meaning, config, wanted)
    if wanted == "any" and set(meaning.values()) == {None}:
        return ["train"] * len(records), False
    return [meaning[record.split] for record in records], "validation" in meaning.values()


def unnamed_notes(records: Sequence[Record], said: Sequence[str | None], wanted: Wanted) -> list[str]:
    """A note on records without a split in a source that has splits, where they are left out.

    Args:
        records: of one source.
        said: the part of each, from `assign_parts`.
        wanted: the parts that are read; where it is "all", training would leave such records out.
    """
    pairs = zip(records, said, strict=True)
    count = sum(record.split is None and (part is None or wanted == "all") for record, part in pairs)
    if count in (0, len(records)):
        return []
    names, are, them = ("record names", "is", "it") if count == 1 else ("records name", "are", "them")
    left = f", and training leaves {them} out" if wanted == "all" else f" and {are} left out"
    return [f"{count:,} {names} no split{left}"]


def undrawn_notes(records: Sequence[Record], config: DataConfig, wanted: Wanted) -> list[str]:
    """A note on each option of a random split that was given where the split is not random.

    Args:
        records: of one source.
        config: the user's options.
        wanted: the parts that are read; the options do not apply to a second source.
    """
    names = {record.split for record in records}
    if wanted == "validation or all":
        return []
    if config.validation is not None:
        why = "data.validation names another source"
    elif any(_part_of(name, names, config) == "validation" for name in names):
        why = "the data names its validation part"
    else:
        return []
    unread = config.given("validation_share", "split_seed")
    return [f"data.{option} is not read, because {why}" for option in unread]


def _check_none_asked(config: DataConfig, wanted: Wanted) -> None:
    """Reject an option that names a split of a source without splits."""
    options = ["train_split"] if wanted == "splits" else []
    if wanted in ("splits", "measured", "any") and config.validation is None:
        options.append("validation_split")
    for option in config.given(*options):
        asked = getattr(config, option)
        raise SourceError(
            f"{config.source}: data.{option} asks for {asked!r}, but no record names a split. Leave that "
            "out, or name the column of the splits with data.split_column"
        )


def _with_test_part(
    meaning: dict[str | None, str | None], config: DataConfig
) -> dict[str | None, str | None]:
    """The test part validates where there is no validation part, unless an option names one."""
    asked = canonical_split(config.validation_split) != "validation"
    if asked or "validation" in meaning.values():
        return meaning
    return {
        name: "validation" if name is not None and canonical_split(name) == "test" and part is None else part
        for name, part in meaning.items()
    }


def _check_found(meaning: dict[str | None, str | None], config: DataConfig, wanted: Wanted) -> None:
    """Training needs a training part, evaluation a validation part."""
    listed = ", ".join(sorted("(none)" if name is None else name for name in meaning))
    if wanted == "splits" and "train" not in meaning.values():
        raise SourceError(
            f"{config.source}: no record is of the split {config.train_split!r}; splits found: {listed}. "
            "Name one with data.train_split"
        )
    if wanted == "measured" and "validation" not in meaning.values():
        usual = canonical_split(config.validation_split) == "validation"
        sought = "no validation or test part" if usual else f"no part {config.validation_split!r}"
        raise SourceError(
            f"{config.source} names its parts, and there is {sought} among them; splits found: {listed}. "
            "Name the one to measure with --data.validation-split (where it is called train, give "
            "--data.train-split another name)"
        )


def _part_of(name: str | None, names: set[str | None], config: DataConfig) -> str | None:
    """The part that a split is; an exact match comes before other spellings, and test is never taken."""
    for part, wanted in (("train", config.train_split), ("validation", config.validation_split)):
        if name == wanted:
            return part
        alike = name is not None and canonical_split(name) == canonical_split(wanted) is not None
        if alike and wanted not in names:
            return part
    return None


def draw_parts(groups: Sequence[str], *, share: float, seed: int) -> list[bool]:
    """Choose which records validate, whole groups at a time.

    A group's part depends on its name and the seed alone, so it stays the same when the data grows.

    Args:
        groups: each record's group, by a name that is the same on every machine.
        share: of the groups that validate.
        seed: of the choice.

    Returns:
        Whether each record validates. With two groups or more, both sides have at least one.
    """
    positions = {group: _position(group, seed) for group in dict.fromkeys(groups)}
    held_out = {group for group, position in positions.items() if position < share}
    if len(positions) > 1 and not held_out:
        held_out = {min(positions, key=lambda group: positions[group])}
    if len(positions) > 1 and len(held_out) == len(positions):
        held_out.discard(max(positions, key=lambda group: positions[group]))
    return [group in held_out for group in groups]


def _position(group: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}\n{group}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64
