"""What a record can carry: one entry a column; and what a method or a task needs of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from likewise.data.annotation_kinds import Boxes, WeightedTexts
from likewise.data.column_kinds import Classes, Kind, Names, Numbers, Texts
from likewise.data.stored_kinds import Images, Sounds
from likewise.data.tables.names import IMAGE_HEADERS

__all__ = [
    "COLUMNS",
    "COMPLETE",
    "MAIN",
    "OPTIONAL",
    "PHRASE",
    "QUESTION",
    "REQUIRED",
    "STATEMENT",
    "Column",
    "Need",
    "Needs",
    "all_columns",
    "column_names",
    "column_of",
    "columns_read",
    "required_of",
]


@dataclass(frozen=True)
class Column:
    """One thing that a record can carry.

    Attributes:
        name: in `Needs`, `Record.values`, `Dataset.columns` and `Batch`.
        kind: how it is parsed, stored and batched.
        headers: usual headers in tables with spaces between, the likeliest first.
        pair_headers: headers that mean this column in a table that has `text_2` too.
        help: what it is, for people.
        always: read wherever it is there. Other columns are read where a method or task needs them.
        batched: part of every batch of data that has it. Other columns are, where they are needed.
    """

    name: str
    kind: type[Kind]
    headers: str = ""
    pair_headers: str = ""
    help: str = ""
    always: bool = False
    batched: bool = True


COLUMNS = (
    Column("image", Images, " ".join(IMAGE_HEADERS), help="image: a path, or its bytes"),
    Column(
        "image_2",
        Images,
        "image_2 image2 image_b right_image image_right right second_image 图片2 图像2",
        help="second image of a pair",
    ),
    Column(
        "audio",
        Sounds,
        "audio audio_path audio_file audio_bytes sound sound_path sound_file wav wav_path flac mp3 ogg "
        "recording speech 音频 声音",
        help="sound: a path, or its bytes",
    ),
    Column(
        "text",
        Texts,
        "caption captions text texts sentence sentences description descriptions title alt_text alt txt raw "
        "report hypothesis question 标题 描述 文本 说明 statement statements questions 问题 句子 phrase",
        pair_headers="text_1 text1 sentence1 sentence_1 sentence_a caption1 premise anchor question1 query "
        "first_sentence 句子1 文本1 前提",
        help="captions, sentences, a question or a statement",
        always=True,
    ),
    Column(
        "text_2",
        Texts,
        "text_2 text2 sentence2 sentence_2 sentence_b caption2 hypothesis positive question2 second_sentence "
        "句子2 文本2 假设 entailment",
        help="second text of a pair",
    ),
    Column(
        "text_3",
        Texts,
        "text_3 text3 sentence3 sentence_3 negative hard_negative 句子3 文本3 contradiction",
        help="third text: the negative of a triplet",
    ),
    Column(
        "answer",
        WeightedTexts,
        "answer answers answer_text multiple_choice_answer reply 答案 回答",
        help="answers, with weights where several are given",
    ),
    Column(
        "score",
        Numbers,
        "score similarity similarity_score gold_score scores relatedness_score 分数 得分 相似度",
        help="a number, such as the similarity of two texts",
    ),
    Column(
        "boxes",
        Boxes,
        "boxes objects bboxes phrases regions annotations 框",
        help="phrases with their boxes in the image",
        batched=False,
    ),
    Column("split", Names, "split subset partition", help="part of the data", always=True, batched=False),
    Column(
        "label",
        Classes,
        "label labels class class_name category target fine_label cls 标签 类别",
        help="class",
        always=True,
    ),
    Column(
        "group",
        Classes,
        "group group_id image_id photo_id img_id",
        help="what counts as the same thing: never each other's negatives, never in both parts",
        always=True,
    ),
    Column("domain", Classes, "domain style 领域 风格", help="where it comes from", always=True),
    Column("id", Names, "id uid key record_id", help="the row's own name", always=True, batched=False),
)
"""Every column, in the order in which tables are searched for them. A new column is one entry here."""

MAIN = ("image", "audio")
"""Columns of files that tell rows apart and make groups; of a source with several of them, the first."""


def all_columns() -> tuple[Column, ...]:
    """Every column."""
    return COLUMNS


def column_names(*kinds: type[Kind]) -> tuple[str, ...]:
    """The names of all columns, or of those of these kinds."""
    return tuple(column.name for column in COLUMNS if not kinds or issubclass(column.kind, kinds))


def column_of(name: str) -> Column:
    """The column of that name. Raises KeyError."""
    return {column.name: column for column in COLUMNS}[name]


@dataclass(frozen=True)
class Need:
    """How a method or task depends on a column.

    Attributes:
        required: rows without the column are bad records; an optional column is read where it is there.
        domain: "source" or "target": required of that domain's rows only. None: of all rows.
        complete: an optional column of which no row may lack its value, where others of the source have one.
        headers: headers of tables, with spaces between, that mean this column here before any others do.
    """

    required: bool
    domain: str | None = None
    complete: bool = False
    headers: str = ""


REQUIRED = Need(True)
OPTIONAL = Need(False)
COMPLETE = Need(False, complete=True)
"""A source may lack the column. Where it has it, rows without are bad records."""
QUESTION = Need(True, headers="question questions 问题")
"""Of `text`, where a table may have captions too."""
STATEMENT = Need(True, headers="statement statements hypothesis")
"""Of `text`, where a table may have captions too."""
PHRASE = Need(False, headers="phrase")
"""Of `text`, where a table may have captions too."""


def required_of(domain: str) -> Need:
    """Required of the rows of one domain, "source" or "target"; optional in the other."""
    return Need(True, domain)


_PLURALS = {"images": "image", "sounds": "audio", "texts": "text", "labels": "label", "domains": "domain"}


class Needs:
    """The columns that a method or task reads, such as `Needs("image", label=OPTIONAL)`.

    Columns named alone are required. `further` says whether the table columns that play no role are read
    too, as `Record.further`. `by_row` says whether each row of a table stays a record of its own, in the
    table's order, with the paths of its files as they are written there in `Record.written`; otherwise rows
    of one image are one record.

    `"image" in needs` tells whether the column is read at all.
    """

    def __init__(self, *required: str, **columns: Need) -> None:
        self.columns = dict.fromkeys(required, REQUIRED) | columns
        self.further = False
        self.by_row = False

    def with_further(self) -> Needs:
        """The same needs, and all further columns of tables."""
        needs = Needs(**self.columns)
        needs.further = True
        return needs

    def row_by_row(self) -> Needs:
        """The same needs, of each row of a table."""
        needs = Needs(**self.columns)
        needs.further, needs.by_row = self.further, True
        return needs

    def headers_of(self, column: str) -> str:
        """The headers that mean a column here before any others do."""
        return self.columns.get(column, OPTIONAL).headers

    @classmethod
    def of(cls, needs: Needs | Iterable[str]) -> Needs:
        """Needs as they are, or of the names of required columns; "images" is read as "image"."""
        if isinstance(needs, Needs):
            return needs
        return cls(*sorted(_PLURALS.get(name, name) for name in needs))

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Needs) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(frozenset(self.columns.items()))

    def __str__(self) -> str:
        """Such as "image, label (of the source domain)"."""
        return ", ".join(
            name if need.domain is None else f"{name} (of the {need.domain} domain)"
            for name, need in self.columns.items()
            if need.required
        )

    def required(self, domain: str | None = None) -> frozenset[str]:
        """Columns required of every row; with a domain, those required of its rows too."""
        return frozenset(
            name for name, need in self.columns.items() if need.required and need.domain in (None, domain)
        )


def columns_read(needs: Needs | None) -> frozenset[str]:
    """The columns that are read of a source.

    Args:
        needs: of a method or task; images and the columns that are always read when None.
    """
    return frozenset(column.name for column in COLUMNS if column.always) | set(needs or ("image",))
