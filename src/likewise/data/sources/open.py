"""Opening a source by looking at it."""

from __future__ import annotations

import os
from collections import Counter

from likewise.data.columns import Needs, column_names
from likewise.data.config import DataConfig
from likewise.data.files import (
    Entry,
    expand,
    folder_of,
    is_folder,
    is_remote,
    list_tree,
    name_of,
    normalised,
    stat_entry,
    stem_of,
)
from likewise.data.published.flickr30k_entities import entities_table, is_entities
from likewise.data.record import Source
from likewise.data.sources.image_folder import is_image, is_sound, named_splits, source_of_images
from likewise.data.sources.path_resolver import PathResolver
from likewise.data.sources.tables import source_of_tables
from likewise.data.tables.join import joined_table
from likewise.data.tables.names import canonical_split
from likewise.data.tables.open_table import is_delimited, is_table, open_table
from likewise.data.tables.table import Table
from likewise.data.text_encoding import legible
from likewise.errors import RecordError, SourceError
from likewise.messages import first_names, flag

__all__ = ["open_source"]


def open_source(config: DataConfig, needs: Needs | None = None, *, own_columns: bool = True) -> Source:
    """List the records of a source; images are not opened.

    Args:
        config: where the source is and how it is read.
        needs: the columns that are read; images, texts, labels, groups and domains when None. Without
            images, the texts of a table are of use even where its image files are missing.
        own_columns: the named columns are those of this source, so that a kind without columns is refused.

    Returns:
        Its records, and what could not be used.

    Raises:
        SourceError: there is nothing there, it cannot be understood, or it has no column of a name that was
            given.
    """
    found = _understood(config, needs)
    if not found.records and not found.problems:
        raise SourceError(f"{config.source}: understood as {found.kind}, but there is no record in it")
    if "(CSV)" not in found.kind and "(TSV)" not in found.kind:
        found.unread["delimiter"] = "only CSV files have one"
    if "table" not in found.kind:
        found.unread |= dict.fromkeys(("images", "annotations", "join_column"), "only tables are joined")
    if own_columns:
        _refuse_unread(found, config)
        found.notes += _unread_notes(found, config)
    _make_ids_unique(found)
    return found


def _understood(config: DataConfig, needs: Needs | None) -> Source:
    """The source as its kind is read."""
    address = config.source
    if address == "scenes" or address.startswith("scenes:"):
        from likewise.data.sources.scenes_source import source_of_scenes

        return source_of_scenes(config, needs)
    if address == "sounds" or address.startswith("sounds:"):
        from likewise.data.sources.sounds_source import source_of_sounds

        return source_of_sounds(config, needs)
    address = address.removeprefix("file://")  # from here on, an address on this machine is a plain path
    if any(sign in address for sign in "*?{[") and not os.path.exists(address):
        return _open_files(_matched(address), config, needs)
    if is_folder(address):
        return _open_folder(address.rstrip("/") or "/", config, needs)
    reason = _out_of_reach(address)
    if reason is not None:
        raise SourceError(f"{address}: {reason}")
    return _open_files([address], config, needs)


def _refuse_unread(source: Source, config: DataConfig) -> None:
    """Raise where an option names a column and the source is of a kind that has no such columns."""
    for role in column_names():
        name = ",".join(config.columns_named(role))
        if not name or role in source.roles_named:
            continue
        read = ", ".join(flag("data", f"{other}_column") for other in source.roles_named)
        raise SourceError(
            f"{config.source}: no column {name!r} ({flag('data', f'{role}_column')}); it was understood as "
            f"{source.kind}, "
            + (f"of which only {read} can be given" if read else "which has no columns: leave the option out")
        )


def _unread_notes(source: Source, config: DataConfig) -> list[str]:
    """A remark on each option that was given and means nothing to this source."""
    other = "" if config.validation is None else f" of {config.source}"  # the other one may well read it
    return [
        f"{flag('data', option)} is not read{other}, because {source.unread[option]}"
        for option in config.given(*source.unread)
    ]


def _make_ids_unique(source: Source) -> None:
    """Number ids that occur again (rows of one image with different labels)."""
    if len({record.id for record in source.records}) == len(source.records):
        return
    seen: Counter[str] = Counter()
    for record in source.records:
        seen[record.id] += 1
        if seen[record.id] > 1:
            record.id = f"{record.id}#{seen[record.id]}"


def _out_of_reach(address: str) -> str | None:
    """Why nothing can be had at an address; None where something is there."""
    try:
        stat_entry(address)
    except (FileNotFoundError, NotADirectoryError):
        folder = os.path.abspath(os.path.dirname(address) or ".")
        return f"there is no such file or folder{'' if is_remote(address) else f' (looked in {folder})'}"
    except (OSError, ValueError) as error:  # a name too long, a loop of links, a closed folder; a zero byte
        return f"it cannot be reached: {getattr(error, 'strerror', None) or error}"
    return None


def _matched(pattern: str) -> list[str]:
    try:
        addresses = expand(pattern)
    except (OSError, ValueError) as error:
        raise SourceError(f"{pattern}: it cannot be looked for: {error}") from None
    if not addresses:
        raise SourceError(f"{pattern}: no file matches this pattern")
    for address in addresses:
        reason = _out_of_reach(address)
        if reason is not None:
            raise SourceError(f"{pattern}: it names {address}, but {reason}")
    return addresses


def _open_files(addresses: list[str], config: DataConfig, needs: Needs | None) -> Source:
    """One file, or several of a kind."""
    names = [address.lower() for address in addresses]
    texts = [name_of(name).split(".")[-1] in ("txt", "text") or ".txt." in name for name in names]
    if all(map(is_table, names)) or (all(texts) and all(map(is_delimited, addresses))):
        return _open_tables(addresses, config, needs)
    if all(".tar" in name_of(name) for name in names):
        from likewise.data.sources.tar_shards import source_of_shards

        return source_of_shards(addresses, config, splits_by_stem(addresses, config))
    if all(texts):
        from likewise.data.sources.sentences import source_of_sentences

        return source_of_sentences(addresses, config, splits_by_stem(addresses, config))
    for column, is_wanted in (("image", is_image), ("audio", is_sound)):
        if all(map(is_wanted, names)):
            root = os.path.commonpath([os.path.dirname(os.path.abspath(a)) for a in addresses])
            entries = [stat_entry(address) for address in addresses]
            return source_of_images(root, entries, config, column=column)
    raise SourceError(
        f"{config.source}: expected a folder of images or sounds, a table (.csv .tsv .jsonl .parquet), "
        "tar shards, a Hugging Face dataset folder or a text file of sentences"
    )


def _open_folder(folder: str, config: DataConfig, needs: Needs | None) -> Source:
    entries, linked = list_tree(folder, follow_links=config.follow_links)
    passed_over = _said_of_links(folder, linked)
    if not entries:
        raise SourceError("; ".join([f"{folder}: the folder is empty", *passed_over]))
    source = _source_of_entries(folder, entries, config, needs)
    if source is None:
        endings = sorted({name_of(entry.address).rpartition(".")[2] for entry in entries})[:8]
        said = (
            f"{folder}: no images, sounds, tables or shards in it, only files ending in {', '.join(endings)}"
        )
        raise SourceError("; ".join([said, *passed_over]))
    source.notes += passed_over
    return source


def _said_of_links(folder: str, linked: list[str]) -> list[str]:
    """A remark on linked folders that were not entered, where there are any."""
    if not linked:
        return []
    names = [legible(os.path.relpath(path, folder)) for path in linked]
    return [
        f"linked folders that were not entered: {len(names):,} ({first_names(names, most=3)}); "
        "--data.follow-links enters them"
    ]


def _source_of_entries(
    folder: str, entries: list[Entry], config: DataConfig, needs: Needs | None
) -> Source | None:
    """The files of a folder as what they are taken for; None where nothing among them can be read."""
    top = {entry.address for entry in entries if _depth(folder, entry) == 1}
    names = {name_of(address) for address in top}
    if names & {"dataset_dict.json", "state.json"}:
        from likewise.data.sources.saved_datasets import source_of_saved_dataset

        return source_of_saved_dataset(folder, config, needs)
    if is_entities(folder, entries):
        table = entities_table(folder, entries)
        split = "files" if "split" in table.names else None
        return source_of_tables([(table, None, None)], config, needs=needs, splits_from=split)
    # A few described images among thousands (metadata.csv) are described; a folder of images may also hold
    # an odd .json, so only real table formats make a folder a folder of tables.
    listings = _listings(folder, entries)
    tables = [e.address for e in entries if is_table(e.address) and not e.address.endswith(".json")]
    tables = [address for address in tables if address not in listings]
    at_top = [address for address in tables if address in top]
    metadata = [address for address in tables if stem_of(address) == "metadata"]
    if at_top or metadata:
        chosen = _inside(folder, metadata or at_top, config)
        return _open_tables(chosen, config, needs, root=normalised(folder) if metadata else None)
    tars = [entry.address for entry in entries if entry.address.endswith((".tar", ".tar.gz", ".tgz"))]
    if tars:
        return _open_files(_inside(folder, tars, config), config, needs)
    files = {"image": any(is_image(entry.address) for entry in entries)}
    files["audio"] = any(is_sound(entry.address) for entry in entries)
    wanted = sorted((column for column in files if files[column]), key=lambda name: name not in (needs or ()))
    if wanted:
        return source_of_images(
            normalised(folder),
            entries,
            config,
            classes=not listings,
            column=wanted[0],
            sounds_beside=needs is None or "audio" in needs,
        )
    tables = tables or [entry.address for entry in entries if is_table(entry.address)]
    if tables:
        return _open_tables(_inside(folder, tables, config), config, needs, root=normalised(folder))
    return None


def _listings(folder: str, entries: list[Entry]) -> set[str]:
    """Tables in which img2dataset lists the content of a shard or folder of the same name."""
    paths = {entry.address for entry in entries}
    folders = {folder_of(path) for path in paths}
    stems = {path.removesuffix(".parquet") for path in paths if path.endswith(".parquet")}
    return {
        f"{stem}.parquet"
        for stem in stems
        if f"{stem}_stats.json" in paths and (f"{stem}.tar" in paths or stem in folders)
    }


def _inside(folder: str, addresses: list[str], config: DataConfig) -> list[str]:
    """These files of a folder. Raises SourceError if one is a link that leads outside."""
    resolver = PathResolver(folder, follow_links=config.follow_links)
    for address in [] if is_remote(folder) else addresses:
        try:
            resolver.resolve(address)
        except RecordError as error:
            raise SourceError(f"{address}: {error}") from None
    return addresses


def _depth(folder: str, entry: Entry) -> int:
    return entry.address[len(normalised(folder)) :].strip("/").count("/") + 1


def splits_by_stem(addresses: list[str], config: DataConfig) -> dict[str, str]:
    """Address to split, where names tell: train.csv, stsb_validation.tsv, train-00.tar, train/00.tar."""
    found: dict[str, str] = {}
    for address in addresses:
        for word in [*_words(stem_of(address)), name_of(folder_of(address))]:
            if word in (config.train_split, config.validation_split) or canonical_split(word) is not None:
                found[address] = word
                break
    if set(found) != set(addresses) or not named_splits(set(found.values()), config):
        return {}
    return found


def _words(stem: str) -> list[str]:
    words = stem.replace("-", "_").replace(".", "_").split("_")
    return [stem, *words, *(word.rstrip("0123456789") for word in words)]  # train2014 too


def _open_table(address: str, config: DataConfig) -> Table:
    delimiter = "\t" if config.delimiter == "tab" else config.delimiter
    return open_table(address, encoding=config.encoding, delimiter=delimiter)


def _joined(table: Table, config: DataConfig) -> Table:
    """The table with the columns of the other tables that the options name."""
    for option in ("annotations", "images"):
        address = getattr(config, option)
        if address is not None:
            address = address.removeprefix("file://")
            reason = None if any(sign in address for sign in "*?{[") else _out_of_reach(address)
            if reason is None and not is_table(address):
                reason = "expected a table (.csv .tsv .jsonl .parquet) or a pattern of tables"
            if reason is not None:
                raise SourceError(f"{flag('data', option)} {address}: {reason}")
            others = [_open_table(other, config) for other in _matched(address)]
            table = joined_table(table, others, option=option, column=config.join_column)
    return table


def _open_tables(
    addresses: list[str], config: DataConfig, needs: Needs | None, *, root: str | None = None
) -> Source:
    """Tables side by side: file names give splits, and subfolders of a folder of tables splits or domains."""
    if root is None:
        splits = splits_by_stem(addresses, config)
        tables: list[tuple[Table, str | None, str | None]] = [
            (_open_table(address, config), splits.get(address), None) for address in addresses
        ]
        tables = [(_joined(table, config), split, domain) for table, split, domain in tables]
        return source_of_tables(tables, config, needs=needs, splits_from="files" if splits else None)
    parts = {address: address[len(root) :].strip("/").split("/")[:-1] for address in addresses}
    by_folder = named_splits({word for words in parts.values() for word in words}, config)
    by_stem = {} if by_folder else splits_by_stem(addresses, config)
    found = []
    for address in addresses:
        split = next((word for word in parts[address] if word in by_folder), by_stem.get(address))
        domain = "/".join(word for word in parts[address] if word not in by_folder and word != "data") or None
        found.append((_joined(_open_table(address, config), config), split, domain))
    if len({domain for _, _, domain in found}) == 1:
        found = [(table, split, None) for table, split, _ in found]  # one subfolder tells nothing apart
    splits_from = "subfolders" if by_folder else "files" if by_stem else None
    source = source_of_tables(found, config, needs=needs, splits_from=splits_from)
    if "domain" not in source.columns and len({domain for _, _, domain in found if domain}) > 1:
        source.columns["domain"] = "subfolder"
    return source
