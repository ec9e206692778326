"""From what the user said to datasets that a method can train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from likewise.data.assembly import build_datasets
from likewise.data.columns import Needs
from likewise.data.config import DataConfig
from likewise.data.dataset import Dataset
from likewise.data.filtering import Loaded, check_bad_share, load
from likewise.data.leakage import said_of_overlap
from likewise.data.record import BadRecord
from likewise.data.splits import Parts, draw_parts
from likewise.errors import ConfigError

__all__ = ["Splits", "fit_notes", "prepare", "size_summary"]

_KEPT_BY_CROP = 0.5
_NEEDS = frozenset({"image", "text", "label", "domain"})


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The data of a run.

    Attributes:
        train: what is learnt from; empty where the source has no such part and none was needed.
        validation: what is held out; None where all records are one group.
        summary: what the data was, ready for JSON.
        bad_records: what was set aside.
    """

    train: Dataset
    validation: Dataset | None
    summary: dict[str, Any]
    bad_records: list[BadRecord]


def prepare(
    config: DataConfig,
    *,
    image_size: int | None,
    needs: Needs,
    parts: Parts = "splits",
    progress: bool = False,
) -> Splits:
    """Open a source, set bad records aside, decode the images and split.

    Args:
        config: where the data is and how to read it.
        image_size: the side at which images are trained on, in pixels; needed with "image".
        needs: the columns that are read, such as `Needs("image", "text")`.
        parts: "splits" to train on; "measured" and "any" do without a training part, and take the test part
            where no validation part is named; "any" does without that one too.
        progress: show a progress bar while images are decoded.

    Returns:
        The training and validation parts.

    Raises:
        SourceError: the source cannot be understood or lacks what is needed.
        TooManyBadRecords: more than `config.max_bad_share` is unusable.
        ConfigError: the options contradict one another, or what is to be trained on.
    """
    if unknown := set(needs) - _NEEDS:
        raise ConfigError(
            f"needs must be among {', '.join(sorted(_NEEDS))}, got {', '.join(sorted(unknown))}"
        )
    if parts == "measured" and config.validation is not None:
        parts = "any"  # the other source is what is measured
    main = load(config, image_size=image_size, needs=needs, progress=progress, parts=parts)
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
    kept = (main, [place for place, held in enumerate(validates) if not held])
    held_out = (main, [place for place, held in enumerate(validates) if held])
    if len(loaded) > 1:
        held_out = (loaded[1], list(range(len(loaded[1].records))))
    train, validation = build_datasets([kept, held_out])
    bad = [one for each in loaded for one in each.bad]
    summary = _summary(config, loaded, train, validation, bad, drawn)
    return Splits(
        train=train, validation=validation if len(validation) else None, summary=summary, bad_records=bad
    )


def _load_validation(
    config: DataConfig, main: Loaded, image_size: int | None, needs: Needs, progress: bool
) -> Loaded:
    """The other source's validation part, or all of it; stored at the size of the first one."""
    other = replace(config, source=config.validation or "", validation=None)
    store_size = None if main.pixels is None else main.pixels.size
    return load(
        other,
        image_size=image_size,
        needs=needs,
        progress=progress,
        parts="validation or all",
        store_size=store_size,
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
        "overlap": _overlap(loaded, train, validation),
        "parts_named": {
            "train": _split_names(loaded[0], "train"),
            "validation": _split_names(loaded[-1], "validation"),
        },
        "other_parts": {} if config.validation is not None else loaded[0].other_parts,
        "picture_sizes": size_summary(np.concatenate(sizes)) if sizes else None,
        "store_size": train.store_size,
        "fit": config.fit,
        "bad_records": sum(one.num_bad for one in loaded),
        "dropped_captions": sum(one.num_dropped for one in loaded),
        "bad_reasons": dict(Counter(one.reason.split(":")[0] for one in bad).most_common(20)),
        "notes": [note for one in loaded for note in one.source.notes] + fit_notes(sizes, config.fit),
        "fingerprint": {part: data.fingerprint for part, data in parts.items()},
    }


def _overlap(loaded: Sequence[Loaded], train: Dataset, validation: Dataset) -> str | None:
    """What to know of held-out rows that are trained on too; None where there are none."""
    return said_of_overlap(
        validation,
        train,
        groups_tell=len(loaded) == 1 and loaded[0].source.splits_from != "generated",
        row="training row",
        figures="held-out figures",
    )


def _split_names(loaded: Loaded, part: str) -> list[str]:
    """By which names the source knows a part."""
    pairs = zip(loaded.records, loaded.parts, strict=True)
    return sorted({record.split for record, said in pairs if said == part and record.split is not None})


def _label_counts(data: Dataset) -> dict[str, int]:
    names = data.label_names or []
    counts = np.bincount((data.labels if data.labels is not None else np.zeros(0, np.int64)) + 1, minlength=1)
    return {name: int(counts[i + 1]) if i + 1 < len(counts) else 0 for i, name in enumerate(names)}


def fit_notes(sizes: Sequence[Any], fit: str) -> list[str]:
    """A remark where `crop` throws away much of most pictures."""
    sides = np.concatenate([np.zeros((0, 2), np.int32), *sizes])
    if fit != "crop" or len(sides) == 0:
        return []
    kept = float(np.median(sides.min(axis=1) / np.maximum(1, sides.max(axis=1))))
    if kept >= _KEPT_BY_CROP:
        return []
    return [
        f"the middle square of these pictures is {kept:.0%} of them; data.fit pad or squash keeps the whole"
    ]


def size_summary(sizes: Any) -> dict[str, list[int]]:
    """Smallest, middle and largest (width, height), by area."""
    order = np.argsort(sizes[:, 0].astype(np.int64) * sizes[:, 1], kind="stable")
    places = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    return {name: [int(side) for side in sizes[place]] for name, place in places.items()}
