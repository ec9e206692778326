"""A report of a source, for people: `likewise data SOURCE`."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from likewise.data.audio.sound_format import SoundFormat
from likewise.data.columns import MAIN, OPTIONAL, REQUIRED, Needs, column_names
from likewise.data.config import DataConfig
from likewise.data.dataset import Dataset, build_datasets
from likewise.data.filtering import Loaded, load
from likewise.data.images.duplicates import difference_hashes, exact_duplicates, near_duplicates
from likewise.data.images.grey import grey_notes
from likewise.data.preparation import fit_notes, size_summary
from likewise.data.record import BadRecord, Source
from likewise.data.sources.open import open_source
from likewise.data.stored_kinds import Sounds, Stored

__all__ = ["Example", "SourceReport", "inspect_source"]

_INSPECT_SIZE = 64
_INSPECT_SOUNDS = SoundFormat(rate=16_000, seconds=3.0)
_NUM_EXAMPLES = 6
_NO_LACK = (*MAIN, "split", "group", "id")  # bad records without an image; the rest may do without


@dataclass(frozen=True)
class Example:
    """A record as the report shows it."""

    id: str
    place: str
    texts: tuple[str, ...]
    label: str | None
    split: str | None
    size: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """A report of a source.

    Attributes:
        source: as the user gave it.
        kind: what it was recognised as.
        columns: role to column; `columns_found`: every column, `columns_unread` those without a role.
        counts: records by split ("all" where the source names none; "no split" of those that name none where
            others do).
        lacking: records without a value, for each column that some of them have.
        num_images, num_texts: usable ones; `num_repeated_texts` of the texts occurred before.
        texts_per_record: fewest, mean, most.
        text_characters: shortest, median, longest.
        labels: records by label.
        domains: records by domain.
        num_sounds: usable ones; `sound_seconds` are the lengths of the shortest, the median and the longest.
        picture_sizes: smallest, median and largest (width, height); `num_sizes` different ones.
        examples: six records, spread over the source.
        exact_duplicates, near_duplicates: groups of record ids (near ones do not repeat the exact ones).
        duplicates_across_splits: groups of either kind with members in different splits.
        bad_records: what would be set aside; `bad_share` of all records, `dropped_share` of all captions.
        notes: what was assumed or ignored.
        dataset: every usable record in order, for contact sheets; not part of `to_json`.
    """

    source: str
    kind: str
    columns: dict[str, str]
    columns_found: list[str]
    columns_unread: list[str]
    counts: dict[str, int]
    lacking: dict[str, int]
    num_images: int
    num_texts: int
    num_repeated_texts: int
    texts_per_record: tuple[int, float, int] | None
    text_characters: tuple[int, int, int] | None
    labels: dict[str, int]
    domains: dict[str, int]
    num_sounds: int
    sound_seconds: tuple[float, float, float] | None
    picture_sizes: dict[str, list[int]] | None
    num_sizes: int
    examples: list[Example]
    exact_duplicates: list[list[str]]
    near_duplicates: list[list[str]]
    duplicates_across_splits: int
    bad_records: list[BadRecord]
    bad_share: float
    dropped_share: float
    notes: list[str]
    dataset: Dataset

    def to_json(self) -> dict[str, Any]:
        """The report in values that JSON can hold."""
        shown = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "dataset"}
        shown["examples"] = [asdict(example) for example in self.examples]
        shown["bad_records"] = [{"id": b.id, "place": b.place, "reason": b.reason} for b in self.bad_records]
        return shown


def inspect_source(config: DataConfig, *, progress: bool = False) -> SourceReport:
    """Open a source, decode its images (into the cache that training at 64 pixels uses) and describe it.

    Unlike `prepare`, nothing is refused for its share of bad records: they are what the user wants to see.

    Args:
        config: where the data is and how to read it.
        progress: show a progress bar while images are decoded.

    Raises:
        SourceError: the source cannot be opened or understood.
    """
    listed = open_source(config, Needs(*column_names()))
    needs = dict.fromkeys(column_names(), OPTIONAL)
    main = next((name for name in MAIN if name in listed.columns), None)
    if main is not None:
        needs[main] = REQUIRED
    if main is None or 2 * _count(listed, "text") >= len(listed.records):
        needs["text"] = REQUIRED  # captions beside a few of many images are no reason to call the others bad
    loaded = load(
        config,
        image_size=_INSPECT_SIZE,
        needs=Needs(**needs),
        progress=progress,
        parts="all",
        source=listed,
        sounds=_INSPECT_SOUNDS,
    )
    dataset = build_datasets([[(loaded, list(range(len(loaded.records))))]], config)[0]
    exact, near = _duplicates(loaded, dataset)
    records = loaded.records
    splits = {record.id: record.split for record in records}
    lengths = sorted(len(text) for record in records for text in record.texts)
    per_record = [len(record.texts) for record in records]
    sizes, sounds = loaded.sizes, loaded.stored.get("audio")
    unnamed = "all" if all(record.split is None for record in listed.records) else "no split"
    return SourceReport(
        source=config.source,
        kind=listed.kind,
        columns=listed.columns,
        columns_found=listed.columns_found,
        columns_unread=listed.columns_unread,
        counts=_counted([record.split or unnamed for record in records]),
        lacking=_lacking(listed),
        num_images=len(np.unique(loaded.stored["image"].rows)) if "image" in loaded.stored else 0,
        num_texts=len(lengths),
        num_repeated_texts=len(lengths) - len({text for record in records for text in record.texts}),
        texts_per_record=(min(per_record), len(lengths) / len(records), max(per_record)) if lengths else None,
        text_characters=(lengths[0], lengths[len(lengths) // 2], lengths[-1]) if lengths else None,
        labels=_counted([record.label for record in records if record.label is not None]),
        domains=_counted([record.domain for record in records if record.domain is not None]),
        num_sounds=0 if sounds is None else len(np.unique(sounds.rows)),
        sound_seconds=_lengths(sounds),
        picture_sizes=size_summary(sizes) if sizes is not None and len(sizes) else None,
        num_sizes=0 if sizes is None else len(np.unique(sizes, axis=0)),
        examples=_examples(loaded),
        exact_duplicates=exact,
        near_duplicates=near,
        duplicates_across_splits=sum(len({splits[id_] for id_ in group}) > 1 for group in exact + near),
        bad_records=loaded.bad,
        bad_share=max(  # see check_bad_share
            loaded.num_bad / max(1, loaded.num_listed), loaded.num_unusable / max(1, loaded.num_kept)
        ),
        dropped_share=loaded.num_dropped / max(1, loaded.num_texts),
        notes=listed.notes
        + fit_notes([] if sizes is None else [sizes], config.fit)
        + grey_notes(dataset)
        + [f"try: {hint}" for hint in dict.fromkeys(listed.hints)],
        dataset=dataset,
    )


def _lengths(sounds: Stored | None) -> tuple[float, float, float] | None:
    """Seconds of the shortest sound, the median one and the longest."""
    seconds = sounds.seconds if isinstance(sounds, Sounds) else None
    if seconds is None or len(seconds) == 0:
        return None
    return float(seconds.min()), float(np.median(seconds)), float(seconds.max())


def _count(source: Source, name: str) -> int:
    """How many records have something in a column."""
    return sum(name in record.values for record in source.records)


def _lacking(listed: Source) -> dict[str, int]:
    """Of all listed records: a method that needs what they lack sets them aside."""
    columns = [name for name in column_names() if name in listed.columns and name not in _NO_LACK]
    return {
        "caption" if name == "text" else name: len(listed.records) - _count(listed, name) for name in columns
    }


def _counted(names: list[str]) -> dict[str, int]:
    """Most frequent first."""
    return dict(Counter(names).most_common())


def _duplicates(loaded: Loaded, dataset: Dataset) -> tuple[list[list[str]], list[list[str]]]:
    """Groups of record ids: the same bytes, and nearly the same image.

    Several questions about one file are no duplicates: the first of them stands for it.
    """
    main = next((name for name in MAIN if dataset.has(name)), None)
    if main is None or not loaded.records:
        return [], []
    dataset = dataset.subset(np.sort(np.unique(dataset.column(main).rows, return_index=True)[1]))
    exact = exact_duplicates(dataset.content) if dataset.content is not None else []
    repeated = {place for group in exact for place in group[1:]}
    alike = near_duplicates(*difference_hashes(dataset.images, len(dataset))) if main == "image" else []
    near = [[place for place in group if place not in repeated] for group in alike]
    named = [
        [[dataset.ids[place] for place in group] for group in groups if len(group) > 1]
        for groups in (exact, near)
    ]
    return named[0], named[1]


def _examples(loaded: Loaded) -> list[Example]:
    """Six records, spread evenly."""
    count = len(loaded.records)
    places = sorted({int(place) for place in np.linspace(0, count - 1, min(_NUM_EXAMPLES, count))})
    examples = []
    for place in places:
        record = loaded.records[place]
        size = None if loaded.sizes is None else (int(loaded.sizes[place, 0]), int(loaded.sizes[place, 1]))
        examples.append(Example(record.id, record.place, record.texts, record.label, record.split, size))
    return examples
