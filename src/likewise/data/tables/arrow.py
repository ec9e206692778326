"""Arrow files and schemas as Hugging Face datasets use them, read with pyarrow alone."""

from __future__ import annotations

import json
import os
from typing import Any

from likewise.data.files import is_remote, open_binary, stat_entry
from likewise.data.tables.table import Table
from likewise.errors import SourceError

__all__ = ["binary_columns", "cell_list", "cell_value", "class_names", "open_arrow", "open_arrow_table"]

_HEAD_ROWS = 50
_FILE_MARK = b"ARROW1"  # what the file format begins with, and the stream format does not


def binary_columns(schema: Any) -> frozenset[str]:
    """Columns of bytes, or of {bytes, path} structs as Hugging Face's Image feature stores them."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    return frozenset(field.name for field in schema if holds_bytes(field.type))


def class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Names of whole-number class labels, from the features Hugging Face writes beside a schema."""
    raw = (metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    features = json.loads(raw).get("info", {}).get("features", {})
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


def cell_list(column: Any) -> list[Any]:
    """A column as Python values; dictionary-encoded strings are spelled out."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:  # a writer that did not check what it wrote
        values = [cell_value(scalar) for scalar in column]
    return values


def cell_value(scalar: Any) -> Any:
    """A cell's value; bytes of a string that are no UTF-8 become lone surrogates, as those of text tables."""
    import pyarrow as pa

    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        if isinstance(scalar, pa.StructScalar):
            return {name: cell_value(scalar[name]) for name in scalar}
        if isinstance(scalar, pa.ListScalar):
            return [cell_value(item) for item in scalar.values]
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")


def open_arrow(address: str) -> Any:
    """A table over an Arrow file (stream or file format), memory-mapped where it is local."""
    import pyarrow as pa

    try:
        stream = open_binary(address) if is_remote(address) else pa.memory_map(address, "r")
        is_file = stream.read(len(_FILE_MARK)) == _FILE_MARK
        stream.seek(0)
        return (pa.ipc.open_file if is_file else pa.ipc.open_stream)(stream).read_all()
    except (pa.ArrowException, OSError) as error:  # absent, cut short, or something else altogether
        raise SourceError(f"{address}: no readable Arrow file: {error}") from error


def open_arrow_table(addresses: list[str], *, name: str, folder: str) -> Table:
    """Arrow files that follow one another as one table."""
    from likewise.data.images.refs import ArrowImage

    pieces = [open_arrow(address) for address in addresses]
    entries = [stat_entry(address) for address in addresses]
    schema = pieces[0].schema
    binary = binary_columns(schema)

    def column(wanted: str) -> list[Any]:
        if wanted not in binary:
            return [value for piece in pieces for value in cell_list(piece.column(wanted))]
        return [
            ArrowImage(entry.address, f"{entry.num_bytes}\t{entry.version}", wanted, row)
            for entry, piece in zip(entries, pieces, strict=True)
            for row in range(piece.num_rows)
        ]

    def head(wanted: str) -> list[Any]:
        return [] if wanted in binary else cell_list(pieces[0].column(wanted).slice(0, _HEAD_ROWS))

    label_names = class_names(schema.metadata)
    info = os.path.join(folder, "dataset_info.json")
    if not label_names and os.path.isfile(info):
        try:
            with open(info, encoding="utf-8") as stream:
                features = json.load(stream).get("features") or {}
        except (ValueError, AttributeError) as error:
            raise SourceError(f"{info}: not what save_to_disk writes: {error}") from error
        label_names = class_names({b"huggingface": json.dumps({"info": {"features": features}}).encode()})
    return Table(
        name=name,
        folder=folder,
        kind="Arrow",
        names=list(schema.names),
        num_rows=sum(piece.num_rows for piece in pieces),
        column=column,
        head=head,
        place=lambda row: f"{name} row {row}",
        binary=binary,
        label_names=label_names,
    )
