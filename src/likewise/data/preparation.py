"""From the data options to datasets that a method can train on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from likewise.data.audio.sound_format import SoundFormat
from likewise.data.columns import Needs, column_names
from likewise.data.config import DataConfig
from likewise.data.dataset import Dataset, Piece, build_datasets
from likewise.data.domains import check_domain_column, class_notes, name_domains, rename_classes
from likewise.data.filtering import Loaded, Role, check_bad_share, load
from likewise.data.leakage import said_of_overlap
from likewise.data.record import BadRecord
from likewise.data.splits import Parts, Wanted, draw_parts
from likewise.errors import ConfigError

__all__ = ["Splits", "fit_notes", "prepare", "size_summary"]

_KEPT_BY_CROP = 0.5


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The data of a run.

    Attributes:
        train: the training part; empty where the source has no such part and none was needed.
        validation: the validation part; None where all records are one group.
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
    needs: Needs | Iterable[str],
    parts: Parts = "splits",
    progress: bool = False,
    sounds: SoundFormat | None = None,
) -> Splits:
    """Open a source, set bad records aside, decode the images and split.

    Args:
        config: where the data is and how to read it.
        image_size: the side of images in training, in pixels; needed with "image".
        needs: the columns that are read, such as `Needs("image", "text")`, or names of required ones.
        parts: "splits" to train on; "measured" and "any" do without a training part, and take the test part
            where no validation part is named; "any" does without that one too.
        progress: show a progress bar while images are decoded.
        sounds: rate and length of the sounds in training; needed with "audio".

    Returns:
        The training and validation parts; each has rows of the source and of the target domain, if
        `config.target` names one.

    Raises:
        SourceError: the source cannot be understood or lacks what is needed.
        TooManyBadRecords: more than `config.max_bad_share` is unusable.
        ConfigError: the options contradict one another or the training.
    """
    needs = Needs.of(needs)
    if unknown := set(needs) - set(column_names()):
        raise ConfigError(
            f"needs must be among {', '.join(sorted(column_names()))}, got {', '.join(sorted(unknown))}"
        )
    if parts == "measured" and config.validation is not None:
        parts = "any"  # the other source is what is measured

    def opened(source: str, wanted: Wanted, role: Role | None, size: int | None = None) -> Loaded:
        other = config if source == config.source else replace(config, source=source, validation=None)
        return load(
            other,
            image_size=image_size,
            needs=needs,
            progress=progress,
            parts=wanted,
            store_size=size,
            role=role,
            sounds=sounds,
        )

    role: Role | None = None if config.target is None else "source"
    loaded = [opened(config.source, parts, role)]
    train, validation, drawn = _split(loaded[0], config, other=config.validation is not None)
    if config.validation is not None:
        loaded.append(opened(config.validation, "validation or all", role, loaded[0].store_size))
        validation = [(loaded[1], list(range(len(loaded[1].records))))]
    if config.target is not None:
        loaded.append(opened(config.target, parts, "target", loaded[0].store_size))
        rows, others, _ = _split(loaded[-1], config, other=False)
        # What is called alike in two sources is not the same thing.
        loaded[-1].group_keys = [
            key if config.shared_groups and key.startswith("group ") else f"target {key}"
            for key in loaded[-1].group_keys
        ]
        name_domains(loaded)
        train, validation = train + rows, validation + others
    check_bad_share(loaded, config.max_bad_share)
    check_domain_column(loaded[0], config, needs)
    rename_classes(loaded, config)
    part, held_out = build_datasets([train, validation], config)
    bad = [one for each in loaded for one in each.bad]
    return Splits(
        train=part,
        validation=held_out if len(held_out) else None,
        summary=_summary(config, loaded, part, held_out, bad, drawn),
        bad_records=bad,
    )


def _split(loaded: Loaded, config: DataConfig, *, other: bool) -> tuple[list[Piece], list[Piece], bool]:
    """The rows that train and those that validate, and whether the split is random.

    Args:
        loaded: a source.
        config: the options of a random split.
        other: another source validates, so no row of this one does.
    """
    validates, drawn = [part == "validation" for part in loaded.parts], False
    if not other and not loaded.names_validation and config.validation_share > 0:
        validates = draw_parts(loaded.group_keys, share=config.validation_share, seed=config.split_seed)
        drawn = True
    train = [place for place, held_out in enumerate(validates) if not held_out]
    return (
        [(loaded, train)],
        [(loaded, [place for place, held_out in enumerate(validates) if held_out])],
        drawn,
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
    source, validates = loaded[0].source, loaded[1 if config.validation is not None else 0]
    parts = {"train": train, "validation": validation}
    both = set(train.groups.tolist()) & set(validation.groups.tolist())
    sizes = [one.sizes for one in loaded if one.sizes is not None and len(one.sizes)]
    return {
        "source": config.source,
        "validation_source": config.validation,
        "target_source": config.target,
        "kind": source.kind,
        "columns": source.columns,
        "columns_named": list(source.roles_named),
        "columns_found": source.columns_found,
        "columns_unread": source.columns_unread,
        "counts": {part: len(data) for part, data in parts.items()},
        "texts": {part: sum(map(len, data.texts)) for part, data in parts.items() if data.texts is not None},
        "labels": {part: _label_counts(data) for part, data in parts.items() if data.labels is not None},
        "domains": train.domain_names,
        "splits_from": f"drawn by seed {config.split_seed}"
        if drawn
        else source.splits_from or ("another source" if config.validation is not None else "nothing"),
        "groups": {part: len(set(data.groups.tolist())) for part, data in parts.items()},
        "groups_in_both_parts": len(both),
        "overlap": _overlap(loaded, train, validation),
        "parts_named": {
            "train": _split_names(loaded[0], "train"),
            "validation": _split_names(validates, "validation"),
        },
        "other_parts": {} if config.validation is not None else loaded[0].other_parts,
        "picture_sizes": size_summary(np.concatenate(sizes)) if sizes else None,
        "store_size": train.store_size,
        "fit": config.fit,
        "bad_records": sum(one.num_bad for one in loaded),
        "dropped_captions": sum(one.num_dropped for one in loaded),
        "bad_reasons": dict(Counter(one.reason.split(":")[0] for one in bad).most_common(20)),
        "notes": [note for one in loaded for note in [*one.source.notes, *one.source.unread_notes]]
        + fit_notes(sizes, config.fit)
        + class_notes(loaded, config),
        "fingerprint": {part: data.fingerprint for part, data in parts.items()},
    }


def _overlap(loaded: Sequence[Loaded], train: Dataset, validation: Dataset) -> str | None:
    """A warning about validation rows that are training rows too; None where there are none."""
    return said_of_overlap(
        validation,
        train,
        groups_tell=len(loaded) == 1 and loaded[0].source.splits_from != "generated",
        row="training row",
        figures="validation figures",
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
    """A note where `crop` removes much of most images."""
    sides = np.concatenate([np.zeros((0, 2), np.int32), *sizes])
    if fit != "crop" or len(sides) == 0:
        return []
    kept = float(np.median(sides.min(axis=1) / np.maximum(1, sides.max(axis=1))))
    if kept >= _KEPT_BY_CROP:
        return []
    return [
        f"the center square of these images is {kept:.0%} of them; --data.fit pad or squash keeps the whole"
    ]


def size_summary(sizes: Any) -> dict[str, list[int]]:
    """Smallest, middle and largest (width, height), by area."""
    order = np.argsort(sizes[:, 0].astype(np.int64) * sizes[:, 1], kind="stable")
    places = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    return {name: [int(side) for side in sizes[place]] for name, place in places.items()}
