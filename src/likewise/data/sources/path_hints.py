"""What to try where a table names image files that are not there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence

from likewise.data.files import is_remote
from likewise.data.sources.path_resolver import is_absolute
from likewise.data.tables.names import IMAGE_EXTENSIONS, without_caption_number

__all__ = ["path_hints"]

_MOST_PATHS, _MOST_FOLDERS = 3, 20
_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def path_hints(root: str, reasons: Mapping[str, str], *, all_refused: bool) -> list[str]:
    """Likely remedies, as sentences without a full stop.

    Args:
        root: the folder where paths start.
        reasons: the paths that were refused, each with why.
        all_refused: no path of the table was accepted.
    """
    hints = []
    if any(reason.startswith("a symbolic link") for reason in reasons.values()):
        hints.append("--data.follow-links reads images through links that lead outside the data's folder")
    starts = ("missing", "the path leads outside")
    lost = [path.replace("\\", "/") for path, reason in reasons.items() if reason.startswith(starts)]
    if not lost or is_remote(root):
        return hints
    sample = [without_caption_number(path.removeprefix("file://")) for path in lost[:_MOST_PATHS]]
    folders = _folders(root)
    found = next((place for path in sample if (place := _find(path, folders)) is not None), None)
    if found is None and not all_refused:
        return hints
    if found is None:
        former = os.path.dirname(sample[0]) if is_absolute(sample[0]) else root
        return [*hints, f"--data.image-root FOLDER names where the images lie, if it is not {former}"]
    folder, path, file = found
    if file != path:
        hints.append(f"there is no {path}, but {file}: correct the endings in the table")
    if folder != root or is_absolute(sample[0]):
        hints.append(f"{file} lies in {folder}: --data.image-root {shlex.quote(folder)}")
    return hints


def _find(path: str, folders: Sequence[str]) -> tuple[str, str, str] | None:
    """Where the file of a path lies: the folder, the path from there, and the file (another ending?)."""
    parts = path.split("/")
    ends = ["/".join(parts[place:]) for place in range(1, len(parts))] if is_absolute(path) else [path]
    for end in ends:
        stem = os.path.splitext(end)[0] if end.lower().endswith(IMAGE_EXTENSIONS) else end
        for file in (end, *(stem + ending for ending in _ENDINGS + tuple(map(str.upper, _ENDINGS)))):
            for folder in folders:
                if os.path.isfile(os.path.join(folder, file)):
                    return folder, end, file
    return None


def _folders(root: str) -> list[str]:
    """The root, the folder above it, and the folders in either."""
    above = os.path.dirname(os.path.abspath(root))
    return [root, *_within(root), above, *_within(above)]


def _within(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir())[:_MOST_FOLDERS]
    except OSError:
        return []
