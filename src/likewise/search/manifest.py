"""`index.json`: what an index is, and which files hold it. Replacing it switches to another generation."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from likewise.atomic_files import failure_to_read, sync_folder, written_whole
from likewise.errors import DataError

__all__ = ["FORMAT", "MANIFEST", "NOUNS", "Manifest", "read_manifest", "write_manifest"]

_NUMBERS = re.compile(r"\[[-\d.e,\s]+\]")  # lists of numbers stand on one line
FORMAT = 1
MANIFEST = "index.json"
NOUNS = {"images": "images", "texts": "texts", "audio": "sounds"}
"""Words for what rows are, by the name that options have for it."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The content of `index.json`.

    Attributes:
        format: its version; newer ones are rejected.
        generation: grows with every update; the files of a generation are named by it.
        what: "images", "texts" or "audio".
        count: N rows.
        dimension: D.
        dtype: of the vectors, "float32" or "float16".
        normalisation: of the vectors; always "unit length".
        model: the model's fingerprint, method, abilities, and where it was.
        source: where the rows come from.
        thumbnail_side: the longer side of thumbnails in pixels; 0 for none.
        calibration: scores of random pairs; see `likewise.search.calibration`.
        approximate: the approximate index and its measured recall; None where there is none.
    """

    format: int = FORMAT
    generation: int
    what: str
    count: int
    dimension: int
    dtype: str
    normalisation: str = "unit length"
    model: dict[str, Any]
    source: str
    thumbnail_side: int
    calibration: dict[str, Any] = field(default_factory=dict)
    approximate: dict[str, Any] | None = None

    @property
    def noun(self) -> str:
        """What the rows are, in words."""
        return NOUNS[self.what]

    def file(self, folder: Path, name: str) -> Path:
        """A file of this generation, such as `vectors.npy`."""
        stem, _, suffix = name.partition(".")
        return folder / f"{stem}-{self.generation}.{suffix}"


def read_manifest(folder: Path) -> Manifest:
    """Read and check it.

    Raises:
        DataError: there is no index, or none that this version can read.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "holds no index (no index.json)" if folder.is_dir() else "does not exist"
        raise DataError(
            f"{folder} {what}; likewise index SOURCE --model RUN --out {folder} builds one."
        ) from None
    except OSError as error:
        raise DataError(f"{failure_to_read(path, error)}.") from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); build the index again.") from error
    version = found.get("format") if isinstance(found, dict) else None
    if not isinstance(version, int):
        raise DataError(f"{path} is no index of likewise.")
    if version > FORMAT:
        raise DataError(f"{path} has format {version}, of a newer likewise; update to open it.")
    known = {each.name for each in fields(Manifest)}
    try:
        manifest = Manifest(**{name: value for name, value in found.items() if name in known})
    except TypeError as error:
        raise DataError(f"{path} lacks a part ({error}); build the index again.") from error
    if manifest.dtype not in ("float32", "float16") or not isinstance(manifest.model, dict):
        raise DataError(f"{path} is damaged: vectors of {manifest.dtype!r}; build the index again.")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Switch to a generation whose files are on the disk."""
    with written_whole(folder / MANIFEST) as beside, beside.open("w", encoding="utf-8") as file:
        text = json.dumps(asdict(manifest), indent=2, ensure_ascii=False)
        file.write(_NUMBERS.sub(lambda found: " ".join(found[0].split()), text) + "\n")
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)
