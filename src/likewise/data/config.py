"""The options of data: where it is, what its columns mean, how it is split and stored."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Annotated, Literal

import tyro

from likewise.data.text_encoding import decoded
from likewise.errors import ConfigError
from likewise.messages import flag

__all__ = ["AUDIO_OPTIONS", "FILE_OPTIONS", "IMAGE_OPTIONS", "DataConfig"]

IMAGE_OPTIONS = (
    "image_column",
    "image_2_column",
    "boxes_column",
    "image_root",
    "follow_links",
    "fit",
    "store_size",
    "cache",
    "cache_dir",
)
"""Options that say how images are read and stored."""

FILE_OPTIONS = ("image_root", "follow_links", "cache", "cache_dir")
"""Those of them that hold for sounds too."""

AUDIO_OPTIONS = ("audio_column", "audio_seconds", "longest_audio_seconds")
"""Options that say how sounds are read and stored."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where the data is and how it is read, split and stored. Only `source` is needed."""

    source: Annotated[str, tyro.conf.arg(name="data", prefix_name=False)]
    """A folder of images or sounds, a table (.csv .tsv .jsonl .parquet), a folder or pattern of them, tar
    shards ("shards/{000..009}.tar"), a Hugging Face dataset on disk, a text file of sentences, any fsspec
    address of these; or, for generated data, "scenes" or "sounds"
    ("scenes:train=8000,validation=1000,seed=0,style=flat,size=64,task=captions",
    "sounds:train=2000,validation=500,seed=0,rate=16000")."""

    images: str | None = None
    """Another table (or pattern of tables) that holds the images, for a source whose rows name them by a key,
    such as questions by image_id. With --data.image-root, a folder of images is no table and needs no key."""

    annotations: str | None = None
    """Another table (or pattern) that holds further columns by a key, such as the answers of VQA v2's
    questions."""

    join_column: str | None = None
    """Column that is the key of `images` and `annotations`; the one that both tables have and that tells the
    rows of the other apart when not given."""

    image_column: str | None = None
    """Column with image paths or bytes; recognised by name and content when not given."""

    audio_column: str | None = None
    """Column with paths or bytes of sounds; recognised by name and content when not given."""

    text_column: str | None = None
    """Column with captions or sentences, or several with commas between; recognised when not given."""

    label_column: str | None = None
    """Column with class labels; recognised when not given."""

    group_column: str | None = None
    """Column of groups: rows of one group are never each other's negatives, and never in both parts."""

    split_column: str | None = None
    """Column that says which part (train, validation, ...) a row belongs to; recognised when not given."""

    domain_column: str | None = None
    """Column that says which domain a row comes from; recognised when not given."""

    image_2_column: str | None = None
    """Column with a second image, of pairs and statements about two images."""

    text_2_column: str | None = None
    """Column with a second text: a second sentence, a hypothesis, a positive example."""

    text_3_column: str | None = None
    """Column with a third text: the negative of a triplet."""

    answer_column: str | None = None
    """Column with answers: one, a list, or a list of {"answer", "weight"}."""

    score_column: str | None = None
    """Column with a number, such as how similar two texts are."""

    boxes_column: str | None = None
    """Column with phrases and their boxes: a list of {"phrase", "box": [x, y, width, height]}, in pixels, or
    in shares of the image's sides where none of them is above 1."""

    id_column: str | None = None
    """Column with each row's own name; recognised when not given."""

    text_separator: str | None = None
    """Separator of several captions in one cell, such as "|"; none unless given."""

    delimiter: str | None = None
    """Delimiter of CSV files, such as ";" or "tab"; guessed from the first rows when not given."""

    encoding: str = "utf-8"
    """Encoding of text tables and sentence files, such as gb18030 for older Chinese files."""

    image_root: str | None = None
    """Folder that paths of images and sounds are relative to; the table's own folder (or its images/) when
    not given."""

    follow_links: bool = False
    """Enter linked folders, and read images, and captions beside them, through symbolic links that lead
    outside the data's folder."""

    train_split: str = "train"
    """Name of the training part in the split column, the file names or the subfolders."""

    validation_split: str = "validation"
    """Name of the validation part; val, valid, dev and evaluation are understood to mean the same."""

    validation: str | None = None
    """Another source to validate on, read with the same options."""

    target: str | None = None
    """Another source to train on beside the first, as the target domain; read with the same options."""

    retain: str | None = None
    """A further source, with labels or captions, that is measured beside the validation part and never
    trained on: what the model keeps there of what it knew at the start."""

    target_domain: str | None = None
    """Which domains of the domain column are the target, with commas between; all others are the source. By
    default the column says source and target."""

    target_classes: str | None = None
    """What the source calls the target's classes, where the names differ: "zero=0,one=1"."""

    shared_groups: bool = False
    """Groups that are called alike in both sources are the same thing: the same scene in two styles, say."""

    validation_share: float = 0.1
    """Share of the groups that validate, where the data names no validation part; 0 trains on everything,
    and nothing is measured."""

    split_seed: int = 0
    """Seed of that random split; the same seed always gives a group the same part."""

    fit: Literal["crop", "pad", "squash"] = "crop"
    """How an image becomes square: its center, all of it on gray, or all of it squashed."""

    store_size: int | None = None
    """Side in pixels at which images are stored. Default: 1.25 times the training size, rounded up to a
    multiple of 8, but not above the largest image seen (enlarging early would only cost space)."""

    audio_seconds: float | None = None
    """Seconds that are stored of each sound, from its beginning; the encoder's --audio.seconds when not
    given. Random crops are taken from what is stored."""

    longest_audio_seconds: float | None = None
    """Set aside sounds that are longer than this; without it, the beginning of any sound is read."""

    cache: bool = True
    """Decode every image once into a memory-mapped file; without it, images are decoded at every use."""

    cache_dir: str | None = None
    """Folder of the caches; $LIKEWISE_CACHE or ~/.cache/likewise when not given."""

    max_bad_share: float = 0.01
    """Share of records (and of captions) that may be unreadable before the run refuses to start."""

    max_text_characters: int = 10_000
    """A text longer than this is set aside: usually a broken quote or the wrong column."""

    max_records: int | None = None
    """Use at most this many records of each part, the same random ones each time; for quick trials."""

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The names in `text_column`; none where it is not given."""
        return tuple(name.strip() for name in self.text_column.split(",")) if self.text_column else ()

    @property
    def target_domains(self) -> tuple[str, ...]:
        """Domains that are the target, in a source with a domain column."""
        return ("target",) if self.target_domain is None else _listed(self.target_domain)

    @property
    def class_map(self) -> dict[str, str]:
        """The source's name of each class of the target that `target_classes` renames."""
        pairs = [pair.partition("=") for pair in _listed(self.target_classes or "")]
        return {name.strip(): own.strip() for name, _, own in pairs}

    def columns_named(self, role: str) -> tuple[str, ...]:
        """The columns that the user named for a role; none where the option is not given."""
        if role == "text":
            return self.text_columns
        name = getattr(self, f"{role}_column", None)
        return () if name is None else (name,)

    def given(self, *names: str) -> list[str]:
        """Those of these options that are not at their default."""
        usual = {field.name: field.default for field in fields(self)}
        return [name for name in names if getattr(self, name) != usual[name]]

    def __post_init__(self) -> None:
        """Check every value that can be checked without looking at the data."""
        for name in (
            "source",
            "images",
            "annotations",
            "image_root",
            "validation",
            "target",
            "retain",
            "cache_dir",
        ):
            if isinstance(value := getattr(self, name), os.PathLike):  # as one has them in Python
                object.__setattr__(self, name, os.fspath(value))
        if not self.source:
            raise ConfigError("--data is empty: expected a folder, a file, an address or 'scenes'")
        if not 0.0 <= self.validation_share < 1.0:
            raise ConfigError(
                f"--data.validation-share must be at least 0 (no validation part) and below 1, got "
                f"{self.validation_share}"
            )
        if not 0.0 <= self.max_bad_share <= 1.0:
            raise ConfigError(f"--data.max-bad-share must lie in [0, 1], got {self.max_bad_share}")
        if self.fit not in ("crop", "pad", "squash"):
            raise ConfigError(f"--data.fit must be crop, pad or squash, got {self.fit!r}")
        for name in ("audio_seconds", "longest_audio_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{flag('data', name)} must be above 0 seconds, got {value:g}")
        for name in ("store_size", "max_records", "max_text_characters"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{flag('data', name)} must be at least 1, got {value}")
        for pair in _listed(self.target_classes or ""):
            if not all(part.strip() for part in pair.partition("=")):
                raise ConfigError(f"--data.target-classes: {pair!r} is no pair; expected TARGET=SOURCE")
        if self.target_domain is not None and self.target is not None:
            raise ConfigError(
                "--data.target-domain is for one source, and --data.target names another; leave one out"
            )
        if self.train_split == self.validation_split:
            raise ConfigError(
                f"--data.train-split and --data.validation-split are both {self.train_split!r}; give "
                "one of them another name"
            )
        if self.delimiter not in (None, "tab") and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ConfigError(f"--data.delimiter must be one character or 'tab', got {self.delimiter!r}")
        if self.text_separator == "":
            raise ConfigError("--data.text-separator is empty; leave it out where a cell holds one text")
        try:
            decoded(b"caf\xe9", self.encoding)
        except LookupError:
            raise ConfigError(f"--data.encoding: Python knows no encoding {self.encoding!r}") from None
        except ValueError:  # idna, punycode (for host names), undefined
            raise ConfigError(
                f"--data.encoding: no file is read by {self.encoding!r}; name the file's own, such as gb18030"
            ) from None


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in names.split(",") if name.strip())
