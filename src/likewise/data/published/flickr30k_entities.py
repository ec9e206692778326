"""Flickr30K Entities: a folder of sentences with marked phrases and of boxes in XML.

Plummer et al. 2015, arXiv 1505.04870. `Sentences/ID.txt` has lines such as `[/EN#1/people A man] sits .`;
`Annotations/ID.xml` has objects with the numbers of their phrases and a box; train.txt, val.txt and test.txt
list the photos of each part. The photos are fetched apart; they are looked for in a folder flickr30k-images
beside these, or where `--data.image-root` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from likewise.data.files import Entry, folder_of, name_of, normalised, read_whole, stem_of
from likewise.data.tables.table import Table
from likewise.data.tables.text_tables import table_of_rows
from likewise.data.text_encoding import decoded, split_lines
from likewise.errors import SourceError

__all__ = ["entities_table", "is_entities"]

_MARK = re.compile(r"\[/EN#(\d+)/\S* ([^\]]*)\]")
_PARTS = ("train.txt", "val.txt", "test.txt")
_PHOTOS = ("flickr30k-images", "flickr30k_images", "images")
_NOT_VISUAL = "0"


def is_entities(folder: str, entries: Sequence[Entry]) -> bool:
    """Whether a folder holds the sentences and the boxes of Flickr30K Entities."""
    root = normalised(folder)
    found = {folder_of(entry.address).removeprefix(f"{root}/") for entry in entries}
    return {"Sentences", "Annotations"} <= found


def entities_table(folder: str, entries: Sequence[Entry]) -> Table:
    """A row a photo: its sentences without marks, its phrases with their boxes, its part.

    Raises:
        SourceError: there is no sentence file.
    """
    root = normalised(folder)
    files: dict[str, dict[str, str]] = {"Sentences": {}, "Annotations": {}}
    parts: dict[str, str] = {}
    folders = {folder_of(entry.address) for entry in entries}
    photos = next((f"{root}/{name}" for name in _PHOTOS if f"{root}/{name}" in folders), root)
    for entry in entries:
        place = folder_of(entry.address).removeprefix(f"{root}/")
        if place in files:
            files[place][stem_of(entry.address)] = entry.address
        elif folder_of(entry.address) == root and name_of(entry.address) in _PARTS:
            part = stem_of(entry.address)
            parts |= dict.fromkeys(_text(entry.address).split(), part)
    rows: list[tuple[int, dict[str, Any]]] = []
    bad: list[tuple[int, str]] = []
    for number, (photo, address) in enumerate(sorted(files["Sentences"].items()), start=1):
        sentences = [line.strip() for line in split_lines(_text(address)) if line.strip()]
        try:
            boxes = _boxes(files["Annotations"].get(photo))
        except ValueError as error:
            bad.append((number, f"the boxes of photo {photo} cannot be read: {error}"))
            continue
        marked = [mark for line in sentences for mark in _MARK.findall(line) if mark[0] != _NOT_VISUAL]
        phrases = [{"phrase": phrase, "box": box} for id_, phrase in marked for box in boxes.get(id_, ())]
        row = {
            "image": f"{photo}.jpg",
            "captions": [_MARK.sub(r"\2", line) for line in sentences],
            "boxes": list({(one["phrase"], tuple(one["box"])): one for one in phrases}.values()),
        }
        rows.append((number, row | ({"split": parts.get(photo)} if parts else {})))
    if not rows:
        raise SourceError(f"{folder}: no file of its Sentences can be used: {bad[:1]}")
    return table_of_rows(f"{root}/Sentences", "Flickr30K Entities", rows, bad, folder=photos)


def _text(address: str) -> str:
    return decoded(read_whole(address), "utf-8")


def _boxes(address: str | None) -> dict[str, list[list[float]]]:
    """For each phrase's number its boxes: x, y, width, height in pixels.

    Raises:
        ValueError: the file is no such XML.
    """
    found: dict[str, list[list[float]]] = {}
    if address is None:
        return found
    text = _text(address)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # entities can expand without end
        raise ValueError("it declares entities")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"no valid XML: {error}") from error
    for one in root.iter("object"):
        box = one.find("bndbox")
        if box is None:
            continue  # a scene, or a thing without a box
        sides = [float(box.findtext(name) or "") for name in ("xmin", "ymin", "xmax", "ymax")]
        left, top, right, bottom = sides
        for name in one.findall("name"):
            found.setdefault((name.text or "").strip(), []).append([left, top, right - left, bottom - top])
    return found
