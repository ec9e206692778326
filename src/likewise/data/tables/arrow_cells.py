"""Schemas and cells of Arrow data, read with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from likewise.data.files import is_remote, open_binary
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
    """Turn what pyarrow raises on unreadable data into a SourceError with this message."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{message}: {error}") from error


def binary_columns(schema: Any) -> frozenset[str]:
    """Columns of bytes, or of {bytes, path} structs as Hugging Face's Image feature stores them."""
    import pyarrow as pa

    def holds_bytes(kind: Any) -> bool:
        if pa.types.is_struct(kind):
            return any(kind.field(i).name == "bytes" for i in range(kind.num_fields))
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    return frozenset(field.name for field in schema if holds_bytes(field.type))


def class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Class names by column, from the features that Hugging Face writes into a schema."""
    raw = (metadata or {}).get(b"huggingface")
    return {} if raw is None else declared_names(json.loads(raw).get("info", {}).get("features", {}))


def declared_names(features: dict[str, Any]) -> dict[str, list[str]]:
    """Class names by column, from Hugging Face's description of the columns."""
    return {
        name: feature["names"]
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and feature.get("names")
    }


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


def open_arrow(address: str) -> Any:
    """An Arrow file (stream or file format) as a pyarrow table, memory-mapped if it is local."""
    import pyarrow as pa

    with arrow_errors(f"{address}: no readable Arrow file"):
        stream = open_binary(address) if is_remote(address) else pa.memory_map(address, "r")
        is_file = stream.read(len(_FILE_MARK)) == _FILE_MARK
        stream.seek(0)
        return (pa.ipc.open_file if is_file else pa.ipc.open_stream)(stream).read_all()
