"""From usable records to datasets whose labels, domains and groups are numbered alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likewise.data.dataset import Dataset
from likewise.data.filtering import Loaded

__all__ = ["build_datasets"]

_LONGEST_NUMBER = 100  # digits; Python makes no number of more than 4,300


@dataclass(frozen=True)
class _Names:
    """Numbers for labels, domains and groups, the same in every part."""

    labels: list[str]
    domains: list[str]
    groups: dict[str, int]


def build_datasets(parts: Sequence[tuple[Loaded, list[int]]]) -> list[Dataset]:
    """One dataset a part.

    Args:
        parts: where each comes from, and which of those records it takes.
    """
    sources = list({id(loaded): loaded for loaded, _ in parts}.values())
    names = _name(sources)
    return [_dataset(loaded, chosen, names) for loaded, chosen in parts]


def _name(loaded: Sequence[Loaded]) -> _Names:
    """The names of all records together."""
    records = [record for one in loaded for record in one.records]
    declared = loaded[0].source.label_names
    labels = {record.label for record in records if record.label is not None}
    return _Names(
        labels=declared if declared is not None and labels <= set(declared) else _ordered(labels),
        domains=_ordered({record.domain for record in records if record.domain is not None}),
        groups={
            key: i for i, key in enumerate(dict.fromkeys(key for one in loaded for key in one.group_keys))
        },
    )


def _ordered(names: set[str]) -> list[str]:
    """By the alphabet; whole numbers by value."""
    in_order = sorted(names)  # "1" and "01" are one number, and a set has them in any order
    if all(name.removeprefix("-").isdecimal() and len(name) < _LONGEST_NUMBER for name in names):
        return sorted(in_order, key=int)
    return in_order


def _numbers(values: Sequence[str | None], names: list[str]) -> NDArray[np.int64]:
    places = {name: i for i, name in enumerate(names)}
    return np.asarray([-1 if value is None else places[value] for value in values], dtype=np.int64)


def _dataset(loaded: Loaded, chosen: list[int], names: _Names) -> Dataset:
    records = [loaded.records[i] for i in chosen]
    refs = [record.image for record in records if record.image is not None]
    return Dataset(
        ids=[record.id for record in records],
        groups=np.asarray([names.groups[loaded.group_keys[i]] for i in chosen], dtype=np.int64),
        texts=[record.texts for record in records] if any(r.texts for r in loaded.records) else None,
        labels=_numbers([record.label for record in records], names.labels) if names.labels else None,
        label_names=names.labels or None,
        domains=_numbers([record.domain for record in records], names.domains) if names.domains else None,
        domain_names=names.domains or None,
        refs=refs if loaded.pixels is not None and len(refs) == len(records) > 0 else None,
        content=None if loaded.hashes is None else loaded.hashes[chosen],
        pixels=loaded.pixels,
        rows=loaded.rows[chosen] if loaded.pixels is not None else None,
    )
