"""Schemas and cells of Arrow data, read with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from likewise.data.files import check_regular, is_remote, open_binary
from likewise.errors import SourceError

__all__ = [
    "arrow_errors",
    "binary_columns",
    "cell_list",
    "cell_value",
    "class_names",
    "declared_names",
    "open_arrow",
]

_FILE_MARK = b"ARROW1"  # the file format begins with it, the stream format does not


@contextmanager
def arrow_errors(message: str) -> Iterator[None]:
    """Turn any error of pyarrow on unreadable data into a SourceError with this message."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # of text, of a date
        raise SourceError(f"{message}: {error}") from error


def binary_columns(schema: Any) -> frozenset[str]:
    """Columns of bytes in any layout, or of Hugging Face's {bytes, path} structs."""
    import pyarrow as pa

    layouts = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        if pa.types.is_dictionary(kind):
            return holds_bytes(kind.value_type)
        return pa.types.is_fixed_size_binary(kind) or any(layout(kind) for layout in layouts)

    return frozenset(field.name for field in schema if holds_bytes(field.type))


def class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Class names by column, from the features that Hugging Face writes into a schema."""
    raw = (metadata or {}).get(b"huggingface")
    try:
        return {} if raw is None else declared_names(json.loads(raw)["info"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return {}  # not Hugging Face's


def declared_names(info: Any) -> dict[str, list[str]]:
    """Class names by column, from Hugging Face's description of a dataset."""
    features = info.get("features") if isinstance(info, dict) else None
    found = {
        name: feature.get("names")
        for name, feature in (features if isinstance(features, dict) else {}).items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
    return {name: list(map(str, names)) for name, names in found.items() if names and isinstance(names, list)}


def cell_list(column: Any) -> list[Any]:
    """A column as Python values; dictionary-encoded strings are decoded."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:  # a writer that did not check its strings
        values = [cell_value(scalar) for scalar in column]
    return values


def cell_value(scalar: Any) -> Any:
    """A cell's value; bytes of a string that are no UTF-8 become lone surrogates, as in text tables."""
    import pyarrow as pa

    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        if isinstance(scalar, pa.StructScalar):
            return {name: cell_value(scalar[name]) for name in scalar}
        if isinstance(scalar, pa.ListScalar):
            return [cell_value(item) for item in scalar.values]
        return scalar.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")


def open_arrow(address: str, *, column: str | None = None) -> Any:
    """An Arrow file (stream or file format) as a pyarrow table, memory-mapped if it is local.

    Offsets and lengths are checked first: pyarrow trusts them, and a damaged file would end the process.

    Args:
        address: of the file.
        column: return this column alone, and check no other.
    """
    import pyarrow as pa

    with arrow_errors(f"{address}: no readable Arrow file"):
        check_regular(address)
        stream = open_binary(address) if is_remote(address) else pa.memory_map(address, "r")
        is_file = stream.read(len(_FILE_MARK)) == _FILE_MARK
        stream.seek(0)
        table = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(stream).read_all()
        wanted = table if column is None else table.select([column])
        for chunk in (chunk for cells in wanted.columns for chunk in cells.chunks):
            chunk.view(_with_bytes_for_text(chunk.type)).validate(full=True)
        return table if column is None else table.column(column)


def _with_bytes_for_text(kind: Any) -> Any:
    """The type with bytes in place of text, so that text of another encoding passes the check of offsets."""
    import pyarrow as pa

    types = pa.types
    for is_kind, bytes_kind in (
        (types.is_string, pa.binary),
        (types.is_large_string, pa.large_binary),
        (types.is_string_view, pa.binary_view),
    ):
        if is_kind(kind):
            return bytes_kind()
    if types.is_struct(kind):
        return pa.struct([(field.name, _with_bytes_for_text(field.type)) for field in kind])
    if types.is_list(kind) or types.is_large_list(kind):
        make = pa.list_ if types.is_list(kind) else pa.large_list
        return make(_with_bytes_for_text(kind.value_type))
    return kind
