"""From the path in a cell to a file within the data's root, or the reason why there is none."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable

from likewise.data.files import is_folder, is_remote, join, list_tree, normalised
from likewise.data.images.refs import FileImage
from likewise.data.tables.names import looks_like_file, without_caption_number
from likewise.errors import RecordError

__all__ = ["PathResolver", "find_image_root", "is_absolute"]

_DRIVE = re.compile("[A-Za-z]:/|//")
_USUAL_FOLDERS = ("images", "image", "imgs", "img", "photos", "pictures", "data")


class PathResolver:
    """Finds the files that a table names.

    A path must stay within the root, by its text and through symbolic links. Only if every path of the table
    is absolute and the user set no root may files lie anywhere.

    Args:
        root: folder or address where relative paths start.
        anywhere: absolute paths may lie outside the root.
        follow_links: symbolic links may lead outside the root.
        moved: absolute paths outside the root stand for files in it: the data lay elsewhere, or on a Windows
            machine, when they were written.
    """

    def __init__(
        self, root: str, *, anywhere: bool = False, follow_links: bool = False, moved: bool = False
    ) -> None:
        self.root = normalised(root or ".")
        self._anywhere = anywhere
        self._follow_links = follow_links
        self._moved = moved
        self._former_root: str | None = None
        self._real_root = os.path.realpath(self.root)
        self._real_folders: dict[str, str] = {}
        self._listing: dict[str, FileImage] | None = None

    def resolve(self, raw: str) -> FileImage:
        """The file a cell names. Raises RecordError with the reason why there is none."""
        raw = raw.strip().removeprefix("file://")
        if not raw:
            raise RecordError("no image: the path is empty")
        if "\x00" in raw:
            raise RecordError("the path holds a zero byte")
        if is_remote(raw):
            raise RecordError("an address on the network; images are not fetched, download them first")
        if is_remote(self.root):
            return self._remote(raw)
        given = raw
        if "\\" in raw and os.sep == "/":
            raw = raw.replace("\\", "/")  # written on Windows
        path = os.path.normpath(os.path.join(self.root, raw))
        if self._moved and is_absolute(raw) and not (_within(path, self.root) and os.path.lexists(path)):
            path = self._moved_path(raw) or path
        elif _DRIVE.match(raw) and not os.path.lexists(path):
            raise RecordError(f"missing: there is no file {given}")
        if not (_within(path, self.root) or (self._anywhere and os.path.isabs(raw))):
            raise RecordError(f"the path leads outside the data's root: {raw}")
        return self._stat(path)

    def _moved_path(self, raw: str) -> str | None:
        """An absolute path below the former root, moved to the root; None for other paths.

        The first path that is found tells the former root: what stands before its longest end that is there.
        """
        parts = raw.split("/")
        ends = ["/".join(parts[place:]) for place in range(1, len(parts))]
        if self._former_root is not None:
            ends = [raw[len(self._former_root) :]] if raw.startswith(self._former_root) else []
        for end in ends:
            path = os.path.normpath(os.path.join(self.root, end.lstrip("/")))
            if self._former_root is not None or os.path.isfile(path):
                self._former_root = raw[: len(raw) - len(end)]
                return path
        return None

    def _stat(self, path: str) -> FileImage:
        try:
            found = os.lstat(path)
            if not self._anywhere and not self._follow_links:
                is_link = stat.S_ISLNK(found.st_mode)
                real = os.path.realpath(path) if is_link else self._real_folder(os.path.dirname(path))
                if not _within(real, self._real_root):
                    raise RecordError(
                        f"a symbolic link leads outside the data's root: to {real}, see --data.follow-links"
                    )
            if stat.S_ISLNK(found.st_mode):
                found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise RecordError(f"missing: there is no file {path}") from None
        except OSError as error:  # a name too long, a loop of links, a closed folder
            raise RecordError(f"the file cannot be reached: {error.strerror}: {path}") from None
        except UnicodeEncodeError:
            raise RecordError(f"the path is no valid text in this system's encoding: {path}") from None
        if not stat.S_ISREG(found.st_mode):
            raise RecordError(f"not a file: {path}")
        return FileImage(path, found.st_size, str(found.st_mtime_ns))

    def _real_folder(self, folder: str) -> str:
        """A cached realpath: it costs a system call a path part, and thousands of images share a folder."""
        if folder not in self._real_folders:
            self._real_folders[folder] = os.path.realpath(folder)
        return self._real_folders[folder]

    def _remote(self, raw: str) -> FileImage:
        if raw.startswith("/") or ".." in raw.replace("\\", "/").split("/"):
            raise RecordError(f"the path leads outside the data's root: {raw}")
        if self._listing is None:  # one listing, instead of a request an image
            entries, _ = list_tree(self.root)
            self._listing = {e.address: FileImage(e.address, e.num_bytes, e.version) for e in entries}
        address = join(self.root, raw.removeprefix("./"))
        if address not in self._listing:
            raise RecordError(f"missing: there is no file {address}")
        return self._listing[address]


def is_absolute(path: str) -> bool:
    """Whether a path with slashes is absolute, here or on Windows."""
    return os.path.isabs(path) or _DRIVE.match(path) is not None


def _within(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)


def find_image_root(folder: str, paths: Iterable[str]) -> str:
    """Where relative paths start: the table's folder, or a subfolder such as images/ that has the files."""
    if is_remote(folder):
        return folder
    sample = [path for path in paths if looks_like_file(path) and not os.path.isabs(path)][:20]
    sample = [without_caption_number(path) for path in sample]
    usual = [name for name in sorted(os.listdir(folder or ".")) if name.lower() in _USUAL_FOLDERS]
    candidates = [folder, *(path for name in usual if is_folder(path := os.path.join(folder, name)))]
    return max(candidates, key=lambda c: sum(os.path.isfile(os.path.join(c, path)) for path in sample))
