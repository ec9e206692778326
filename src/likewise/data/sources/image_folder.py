"""A folder of images or sounds: subfolders give splits and classes, a .txt file beside one its captions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import takewhile

from likewise.data.cells import clean_texts
from likewise.data.config import DataConfig
from likewise.data.files import Entry, is_remote, name_of
from likewise.data.images.refs import FileImage
from likewise.data.record import BadRecord, Problem, Record, Source
from likewise.data.remedies import FOLDER_OF_IMAGES, FOLDER_OF_SOUNDS
from likewise.data.sources.path_resolver import PathResolver
from likewise.data.tables.names import AUDIO_EXTENSIONS, IMAGE_EXTENSIONS, canonical_split
from likewise.data.tables.open_table import is_table
from likewise.data.text_encoding import decoded, legible, split_lines
from likewise.errors import RecordError

__all__ = ["MAX_CAPTION_BYTES", "is_image", "is_sound", "named_splits", "source_of_images"]

MAX_CAPTION_BYTES = 16 << 20  # of a file of captions or a description


def is_image(address: str) -> bool:
    """Whether the name ends as images do."""
    return address.lower().endswith(IMAGE_EXTENSIONS)


def named_splits(names: set[str], config: DataConfig) -> set[str]:
    """Which of these names are splits; none unless the training split and another are among them."""
    known = {config.train_split, config.validation_split}
    splits = {name for name in names if name in known or canonical_split(name) is not None}
    has_train = any(s == config.train_split or canonical_split(s) == "train" for s in splits)
    return splits if len(splits) > 1 and has_train else set()


def is_sound(address: str) -> bool:
    """Whether the name ends as sounds do."""
    return address.lower().endswith(AUDIO_EXTENSIONS)


def source_of_images(
    root: str,
    entries: list[Entry],
    config: DataConfig,
    *,
    classes: bool = True,
    column: str = "image",
    sounds_beside: bool = True,
) -> Source:
    """Read the images below a folder.

    Args:
        root: the folder.
        entries: every file below it.
        config: the user's options.
        classes: whether subfolders may be classes.
        column: "image", or "audio" to read the sounds.
        sounds_beside: whether a sound of an image's name is read as its sound. Where it is not, the image is
            usable even if the sound is not.
    """
    is_wanted, files = (is_sound, "sounds") if column == "audio" else (is_image, "images")
    images = [entry for entry in entries if is_wanted(entry.address)]
    # A name in another encoding than the system's holds lone surrogates, which cannot be printed.
    start = len(root.rstrip("/")) + 1
    names = {entry.address: legible(entry.address[start:].replace("\\", "/")) for entry in images}
    layout = _layout({tuple(name.split("/")[:-1]) for name in names.values()}, config)
    layout = replace(layout, classes=layout.classes and classes)
    captions = {_stem(entry): entry for entry in entries if entry.address.lower().endswith(".txt")}
    stems = {_stem(entry) for entry in images} if column == "image" else set()
    sounds = {_stem(entry): entry for entry in entries if is_sound(entry.address) and _stem(entry) in stems}
    resolver = None if is_remote(root) else PathResolver(root, follow_links=config.follow_links)
    kind = FOLDER_OF_SOUNDS if column == "audio" else FOLDER_OF_IMAGES
    source = Source(kind=kind, address=config.source, records=[])
    source.splits_from = "subfolders" if layout.splits else None
    source.unread = _unread(any(_stem(entry) in captions for entry in images), files)
    for entry in images:
        name = names[entry.address]
        split, label = layout.split_and_label(name)
        try:
            image = _file_image(entry, resolver)
        except RecordError as error:
            source.problems.append(Problem(column, BadRecord(name, name, str(error)), split))
            continue
        beside = captions.get(_stem(entry))
        texts = () if beside is None else _captions(beside, resolver, name, split, source, config)
        values = {column: image, "text": texts, "label": label}
        if sounds_beside and (sound := sounds.get(_stem(entry))) is not None:
            try:
                values["audio"] = _file_image(sound, resolver)
            except RecordError as error:
                source.problems.append(Problem("audio", BadRecord(name, name, str(error)), split))
                continue
        source.records.append(Record(id=name, place=name, split=split, **values))
    others = {entry.address for entry in (*images, *captions.values(), *sounds.values())}
    _describe(source, [entry for entry in entries if entry.address not in others], layout, column, files)
    return source


def _stem(entry: Entry) -> str:
    """The path without the name's ending: files that share it belong together."""
    return entry.address.rsplit(".", 1)[0]


@dataclass(frozen=True)
class _Layout:
    """What the folders above an image mean.

    Attributes:
        shared: the path of folders that all images lie in; it tells nothing.
        splits: the folder names below it that are splits.
        classes: whether the folders below those are classes.
    """

    shared: str
    splits: set[str]
    classes: bool

    def split_and_label(self, name: str) -> tuple[str | None, str | None]:
        """Split and label of the image with this path."""
        parts = name[len(self.shared) :].lstrip("/").split("/")[:-1]
        split = parts.pop(0) if parts and parts[0] in self.splits else None
        return split, parts[0] if parts and self.classes else None


def _layout(folders: set[tuple[str, ...]], config: DataConfig) -> _Layout:
    """Derive the layout from the folders of all images."""
    levels = (set(names) for names in zip(*folders, strict=False))
    shared = tuple(names.pop() for names in takewhile(lambda names: len(names) == 1, levels))
    splits = named_splits({folder[len(shared)] for folder in folders if folder != shared}, config)
    # With images in dogs/ beside folders of images in dogs/, all are dogs: those folders are no classes.
    classes = not shared or bool(splits) or shared not in folders
    return _Layout("/".join(shared), splits, classes)


def _file_image(entry: Entry, resolver: PathResolver | None) -> FileImage:
    """A reference to a listed file. A local one (with a resolver) may be a symbolic link, which is checked.

    Raises:
        RecordError: a link leads to no file, or to one that may not be read.
    """
    if resolver is None:
        return FileImage(entry.address, entry.num_bytes, entry.version)
    return resolver.resolve(entry.address)


def _captions(
    entry: Entry,
    resolver: PathResolver | None,
    name: str,
    split: str | None,
    source: Source,
    config: DataConfig,
) -> tuple[str, ...]:
    """Read the captions beside an image, one a line."""
    file = name_of(entry.address)
    try:
        caption_file = _file_image(entry, resolver)
        if caption_file.num_bytes > MAX_CAPTION_BYTES:
            raise RecordError(f"{caption_file.num_bytes:,} bytes, too long for a file of captions")
        text = decoded(caption_file.read(), config.encoding)
    except RecordError as error:
        source.problems.append(Problem("text", BadRecord(name, file, str(error)), split))
        return ()
    texts, faults = clean_texts(split_lines(text), config)
    for number, reason in faults:
        source.problems.append(Problem("text", BadRecord(name, f"{file}:{number + 1}", reason), split))
    return tuple(texts)


def _unread(has_captions: bool, files: str) -> dict[str, str]:
    """The options that do not apply, and why."""
    unread = {"image_root": f"a folder of {files} holds no paths to them"}
    if has_captions:
        return unread | {"text_separator": f"captions beside {files} stand one a line"}
    return unread | dict.fromkeys(("text_separator", "encoding"), f"no captions lie beside the {files}")


def _describe(source: Source, others: list[Entry], layout: _Layout, column: str, files: str) -> None:
    """Name the columns, and note what was skipped: `others`."""
    labels = {record.label for record in source.records}
    if layout.shared and (layout.splits or len(labels) > 1):
        source.notes.append(
            f"all {files} lie below {layout.shared}/, so splits and classes are looked for there"
        )
    if len(labels) < 2:  # everything in one folder (images/): its name says nothing
        single = [label or (None if layout.splits else layout.shared) for label in labels]
        source.notes += [
            f"all {files} lie in {name}/: only one class, so no labels" for name in single if name
        ]
        for record in source.records:
            record.values.pop("label", None)
    else:
        source.columns["label"] = "subfolder"
    source.columns[column] = "file"
    if column == "image" and any("audio" in record.values for record in source.records):
        source.columns["audio"] = "the sound beside the image"
    if any(record.texts for record in source.records):
        source.columns["text"] = f".txt beside the {files.removesuffix('s')}"
    source.columns_found = list(source.columns)
    if others:
        endings = Counter(legible(name_of(other.address)).rpartition(".")[2].lower() for other in others)
        counted = ", ".join(f"{count} .{ending}" for ending, count in endings.most_common(5))
        tables = [other.address for other in others if is_table(other.address)]
        remark = f" (name {legible(tables[0])} itself to read it as a table)" if tables else ""
        source.notes.append(f"skipped {len(others)} other files: {counted}{remark}")
