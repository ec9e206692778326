"""Published JSON files as rows: COCO captions, VQA v2, NLVR2 and SNLI-VE.

A form is recognised by its keys. Images are named as their authors name the files; `--data.image-root` says
where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

__all__ = ["Published", "published_rows"]

Row = dict[str, Any]
_Convert = Callable[[Row], Row]
_Numbered = list[tuple[int, Any]]


class Published(NamedTuple):
    """The rows of a published file.

    Attributes:
        name: of the form.
        rows: each with its line or its number in the file's list.
        bad: number and reason of each that is not as the form has it.
    """

    name: str
    rows: list[tuple[int, Row]]
    bad: list[tuple[int, str]]


def published_rows(items: _Numbered) -> Published | None:
    """The rows of a JSON file of a known form; None where it is of none.

    Args:
        items: the values of the file with their lines; one for a file that is a single object.
    """
    found = _of_object(items[0][1]) if len(items) == 1 else None
    found = found or _of_lines(items)
    if found is None:
        return None
    name, entries, convert = found
    rows, bad = [], []
    for number, entry in entries:
        try:
            rows.append((number, convert(entry)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            bad.append((number, f"not as {name} has it: {said}"))
    return Published(name, rows, bad)


def _of_object(value: Any) -> tuple[str, _Numbered, _Convert] | None:
    """COCO captions, and the questions or annotations of VQA v2."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("questions"), list):
        prefix = _coco_prefix(value)
        return "VQA v2 questions", _numbered(value["questions"]), lambda item: _question(item, prefix)
    entries = value.get("annotations")
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], dict):
        return None
    if "question_id" in entries[0]:
        return "VQA v2 annotations", _numbered(entries), _annotation
    if "caption" in entries[0] and isinstance(value.get("images"), list):
        names = {image.get("id"): image.get("file_name") for image in value["images"]}
        return "COCO captions", _numbered(entries), lambda item: _caption(item, names)
    return None


def _of_lines(items: _Numbered) -> tuple[str, _Numbered, _Convert] | None:
    """NLVR2 and SNLI-VE, an object a line."""
    first = next((item for _, item in items), None)
    keys: Sequence[str] = list(first) if isinstance(first, dict) else ()
    if {"identifier", "sentence"} <= set(keys):
        return "NLVR2", items, _statement
    if {"Flickr30K_ID", "sentence2"} <= set(keys):
        return "SNLI-VE", items, _hypothesis
    return None


def _numbered(entries: list[Any]) -> _Numbered:
    return list(enumerate(entries, start=1))


def _coco_prefix(value: Row) -> str | None:
    """What the names of COCO's files begin with, such as COCO_train2014_; None for other images."""
    part = value.get("data_subtype")
    if value.get("data_type", "mscoco") != "mscoco" or not isinstance(part, str):
        return None
    return f"COCO_{part.replace('test-dev', 'test')}_"  # whose photos are some of the test part's


def _question(item: Row, prefix: str | None) -> Row:
    row = {name: item[name] for name in ("question", "question_id", "image_id")}
    return row if prefix is None else {"image": f"{prefix}{int(item['image_id']):012d}.jpg"} | row


def _annotation(item: Row) -> Row:
    """The answers of all annotators: how many gave each is its weight."""
    return {
        "question_id": item["question_id"],
        "answers": [given["answer"] for given in item["answers"]],
        "question_type": item.get("question_type"),
        "answer_type": item.get("answer_type"),
    }


def _caption(item: Row, names: dict[Any, Any]) -> Row:
    name = names.get(item["image_id"])
    if not isinstance(name, str):
        raise ValueError(f"its image {item['image_id']!r} is not among the images")
    return {"image": name, "caption": item["caption"]}


def _statement(item: Row) -> Row:
    """`train-10171-0-1`: part, set of images, pair of the set, sentence of the pair."""
    pair, _, _ = item["identifier"].rpartition("-")
    folder = f"{item['directory']}/" if item.get("directory") is not None else ""
    label = item.get("label")
    return {
        "left_image": f"{folder}{pair}-img0.png",
        "right_image": f"{folder}{pair}-img1.png",
        "statement": item["sentence"],
        "label": None if label is None else str(label).lower(),
        "group": pair.rpartition("-")[0],
        "id": item["identifier"],
    }


def _hypothesis(item: Row) -> Row:
    """A gold label of "-" means that the annotators did not agree."""
    label = item.get("gold_label")
    return {
        "image": f"{item['Flickr30K_ID']}.jpg",
        "hypothesis": item["sentence2"],
        "label": None if label == "-" else label,
        "id": item.get("pairID"),
    }
