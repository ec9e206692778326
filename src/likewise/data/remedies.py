"""How a user gives a column that their data lacks: only options that a source of this kind accepts."""

from __future__ import annotations

from collections.abc import Collection

from likewise.messages import flag

__all__ = ["FOLDER_OF_IMAGES", "FOLDER_OF_SOUNDS", "remedy"]

FOLDER_OF_IMAGES = "folder of images"
"""The kind of a source that is one."""

FOLDER_OF_SOUNDS = "folder of sounds"
"""The kind of a source that is one."""

_TARGET = "name a second source with --data.target"
_IN_FOLDERS = {
    "label": "put the images of each class into a subfolder",
    "split": "put the images of each part into a subfolder (train/, validation/)",
    "text": "put a NAME.txt beside each image, a caption a line, or give a table of images and captions",
    "audio": "put a NAME.wav beside each NAME.jpg, or give a folder of sounds or a table that names sounds",
}


def remedy(column: str, kind: str, roles_named: Collection[str]) -> str:
    """What to do where a source lacks a column.

    Args:
        column: its name, such as "label".
        kind: of the source; see `Source.kind`.
        roles_named: of the source; see `Source.roles_named`.

    Returns:
        An imperative, such as "give --data.label-column".
    """
    if column in roles_named:
        option = f"give {flag('data', f'{column}_column')}"
        return f"{option}, or {_TARGET}" if column == "domain" else option
    if column == "domain":
        return _TARGET
    if kind == FOLDER_OF_IMAGES and column in _IN_FOLDERS:
        return _IN_FOLDERS[column]
    if kind == FOLDER_OF_SOUNDS and column in _IN_FOLDERS and column != "audio":
        return _IN_FOLDERS[column].replace("image", "sound")
    if column in ("image", "audio"):
        files = "images" if column == "image" else "sounds"
        return f"give a folder of {files} or a table that names {files}"
    return f"give a table with a column {column}"
