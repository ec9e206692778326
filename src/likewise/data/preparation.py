"""From what the user said to datasets that a method can train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from likewise.data.config import DataConfig
from likewise.data.dataset import Dataset
from likewise.data.loading import Loaded, check_bad_share, load
from likewise.data.record import BadRecord
from likewise.data.splits import draw_parts
from likewise.errors import ConfigError

__all__ = ["Splits", "prepare"]

_NEEDS = frozenset({"images", "texts", "labels", "domains"})


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The data of a run.

    Attributes:
        train: what is learnt from.
        validation: what is held out; None where all records are one group.
        summary: what the data was, ready for JSON.
        bad_records: what was set aside.
    """

    train: Dataset
    validation: Dataset | None
    summary: dict[str, Any]
    bad_records: list[BadRecord]


@dataclass(frozen=True)
class _Names:
    """Numbers for labels, domains and groups, the same in every part."""

    labels: list[str]
    domains: list[str]
    groups: dict[str, int]


def prepare(
    config: DataConfig, *, image_size: int | None, needs: frozenset[str], progress: bool = False
) -> Splits:
    """Open a source, set bad records aside, decode the images and split.

    Args:
        config: where the data is and how to read it.
        image_size: the side at which images are trained on, in pixels; needed with "images".
        needs: what the method cannot do without: "images", "texts", "labels", "domains".
        progress: show a progress bar while images are decoded.

    Returns:
        The training and validation parts.

    Raises:
        SourceError: the source cannot be understood or lacks what is needed.
        TooManyBadRecords: more than `config.max_bad_share` is unusable.
    """
    if not needs <= _NEEDS:
        raise ConfigError(f"needs must be among {', '.join(sorted(_NEEDS))}, got {', '.join(sorted(needs))}")
    main = load(config, image_size=image_size, needs=needs, progress=progress)
    loaded, drawn = [main], False
    validates = [part == "validation" for part in main.parts]
    if config.validation is not None:
        loaded.append(_load_validation(config, main, image_size, needs, progress))
    elif not main.names_validation:
        validates, drawn = (
            draw_parts(main.group_keys, share=config.validation_share, seed=config.split_seed),
            True,
        )
    check_bad_share(loaded, config.max_bad_share)
    names = _name(loaded)
    train = _dataset(main, [i for i, held in enumerate(validates) if not held], names)
    if config.validation is not None:
        validation = _dataset(loaded[1], _validation_rows(loaded[1]), names)
    else:
        validation = _dataset(main, [i for i, held in enumerate(validates) if held], names)
    bad = [one for each in loaded for one in each.bad]
    summary = _summary(config, loaded, train, validation, bad, drawn)
    return Splits(
        train=train, validation=validation if len(validation) else None, summary=summary, bad_records=bad
    )


def _load_validation(
    config: DataConfig, main: Loaded, image_size: int | None, needs: frozenset[str], progress: bool
) -> Loaded:
    """The other source; its pictures are stored at the size of the first one's."""
    other = replace(config, source=config.validation or "", validation=None)
    store_size = None if main.pixels is None else main.pixels.size
    return load(
        other, image_size=image_size, needs=needs, progress=progress, all_parts=True, store_size=store_size
    )


def _validation_rows(loaded: Loaded) -> list[int]:
    """The validation part of a source of its own: what it calls so, or all of it."""
    return list(range(len(loaded.records)))


def _name(loaded: Sequence[Loaded]) -> _Names:
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
    if all(name.lstrip("-").isdigit() for name in names):
        return sorted(names, key=int)
    return sorted(names)


def _numbers(values: Sequence[str | None], names: list[str]) -> Any:
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
        pixels=loaded.pixels,
        rows=loaded.rows[chosen] if loaded.pixels is not None else None,
    )


def _summary(
    config: DataConfig,
    loaded: Sequence[Loaded],
    train: Dataset,
    validation: Dataset,
    bad: list[BadRecord],
    drawn: bool,
) -> dict[str, Any]:
    """What the data was, in values that JSON can hold."""
    source = loaded[0].source
    parts = {"train": train, "validation": validation}
    both = set(train.groups.tolist()) & set(validation.groups.tolist())
    sizes = [one.sizes for one in loaded if one.sizes is not None and len(one.sizes)]
    return {
        "source": config.source,
        "validation_source": config.validation,
        "kind": source.kind,
        "columns": source.columns,
        "columns_found": source.columns_found,
        "counts": {part: len(data) for part, data in parts.items()},
        "texts": {part: sum(map(len, data.texts)) for part, data in parts.items() if data.texts is not None},
        "labels": {part: _label_counts(data) for part, data in parts.items() if data.labels is not None},
        "domains": train.domain_names,
        "splits_from": f"drawn by seed {config.split_seed}"
        if drawn
        else source.splits_from or "another source",
        "groups": {part: len(set(data.groups.tolist())) for part, data in parts.items()},
        "groups_in_both_parts": len(both),
        "picture_sizes": _size_summary(np.concatenate(sizes)) if sizes else None,
        "store_size": train.store_size,
        "fit": config.fit,
        "bad_records": sum(one.num_bad for one in loaded),
        "dropped_captions": sum(one.num_dropped for one in loaded),
        "bad_reasons": dict(Counter(one.reason.split(":")[0] for one in bad).most_common(20)),
        "notes": [note for one in loaded for note in one.source.notes],
        "fingerprint": {part: data.fingerprint for part, data in parts.items()},
    }


def _label_counts(data: Dataset) -> dict[str, int]:
    names = data.label_names or []
    counts = np.bincount((data.labels if data.labels is not None else np.zeros(0, np.int64)) + 1, minlength=1)
    return {name: int(counts[i + 1]) if i + 1 < len(counts) else 0 for i, name in enumerate(names)}


def _size_summary(sizes: Any) -> dict[str, list[int]]:
    """Smallest, middle and largest (width, height), by area."""
    order = np.argsort(sizes[:, 0].astype(np.int64) * sizes[:, 1], kind="stable")
    places = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    return {name: [int(side) for side in sizes[place]] for name, place in places.items()}
