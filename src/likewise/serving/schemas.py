"""What requests hold. Unknown fields are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

__all__ = [
    "AnswerRequest",
    "CaptionRequest",
    "ClassifyRequest",
    "CompareRequest",
    "Embeddings",
    "EmbeddingsRequest",
    "EntailRequest",
    "Error",
    "ExplainRequest",
    "GroundRequest",
    "Hits",
    "Images",
    "MatchRequest",
    "Rows",
    "SearchRequest",
    "TermRequest",
]

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR42mN4YGAARAwQ"
    "CgAlzgUBfaFI+QAAAABJRU5ErkJggg=="
)
"""A red square of 2 x 2 pixels, for examples."""

_Strings = Annotated[StrictStr | list[StrictStr], Field(union_mode="smart")]
Images = Annotated[
    _Strings, Field(description="images as data URIs (data:image/png;base64,...): one or a list")
]
_Looks = Annotated[StrictBool, Field(description="also say where the model looked: maps, scaled to 1")]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # true is none
_Pixels = Annotated[_Number, Field(ge=-1e6, le=1e6)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")

    def listed(self, *names: str) -> list[list[str]]:
        """Fields as lists; a single text or image is a list of one."""
        values = [getattr(self, name) for name in names]
        return [[value] if isinstance(value, str) else value for value in values]


class EmbeddingsRequest(_Request):
    """As OpenAI's; images are inputs that begin with `data:`."""

    input: Annotated[_Strings, Field(examples=[["a dog on a beach", PIXEL]])]
    model: StrictStr | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[
        StrictInt | None, Field(description="only the model's own number: its vectors cannot be shortened")
    ] = None
    user: Annotated[StrictStr | None, Field(description="accepted and not read")] = None
    truncate: Annotated[
        StrictBool, Field(description="cut texts that are too long instead of refusing them")
    ] = False


class TermRequest(_Request):
    """One of `text`, `image` and `like`, with a weight; a negative weight searches for its opposite."""

    text: Annotated[StrictStr | None, Field(examples=["a dog"])] = None
    image: Annotated[StrictStr | None, Field(description="as a data URI")] = None
    like: Annotated[StrictStr | None, Field(description="an id of the index")] = None
    weight: Annotated[_Number, Field(ge=-100, le=100)] = 1.0


class SearchRequest(_Request):
    """A query of one or several terms."""

    query: Annotated[
        StrictStr | list[TermRequest],
        Field(
            description="a text, or terms whose weighted vectors are added",
            examples=[[{"text": "a red circle"}, {"text": "a square", "weight": -0.5}]],
        ),
    ]
    top: Annotated[StrictInt, Field(ge=1)] = 10
    filters: Annotated[
        dict[StrictStr, StrictStr],
        Field(description="column: value; applied before the search", examples=[{}]),
    ] = {}
    min_score: _Number | None = None
    thumbnails: Annotated[StrictBool, Field(description="with each hit's thumbnail as a data URI")] = False


class ClassifyRequest(_Request):
    """Classes of images: the model's own, or by their names alone (zero-shot)."""

    images: Annotated[Images, Field(examples=[PIXEL])]
    labels: Annotated[
        list[StrictStr] | None,
        Field(
            description="names of classes, of which the nearest is searched; the model's own when left out"
        ),
    ] = None
    template: Annotated[StrictStr, Field(description="a sentence with one {}, for zero-shot")] = (
        "a photo of a {}."
    )
    top: Annotated[StrictInt, Field(ge=1, le=1000)] = 5


class MatchRequest(_Request):
    """Do an image and a text belong together? As many of each, or one for all."""

    images: Annotated[Images, Field(examples=[PIXEL])]
    texts: Annotated[_Strings, Field(examples=["a red square"])]


class ExplainRequest(_Request):
    """The regions behind a match or a cosine with a text, or behind the caption that the model writes."""

    images: Annotated[Images, Field(examples=[PIXEL])]
    texts: Annotated[_Strings | None, Field(examples=["a red square"])] = None


class CaptionRequest(_Request):
    """Captions of images."""

    images: Annotated[Images, Field(examples=[PIXEL])]
    num_beams: Annotated[StrictInt, Field(ge=1, le=10)] = 3
    num_captions: Annotated[StrictInt, Field(ge=1, le=10)] = 1
    max_tokens: Annotated[StrictInt | None, Field(ge=1, le=512)] = None
    length_penalty: Annotated[_Number, Field(ge=0, le=10)] = 1.0
    no_repeat_ngram: Annotated[StrictInt, Field(ge=0, le=20)] = 0


class AnswerRequest(_Request):
    """Answers to questions about images."""

    images: Annotated[Images, Field(examples=[PIXEL])]
    questions: Annotated[_Strings, Field(examples=["what colour is it?"])]
    answers: Annotated[
        list[StrictStr] | None, Field(description="to choose from; those of the training data when left out")
    ] = None
    free: Annotated[StrictBool, Field(description="write the answer word by word instead")] = False
    score: Literal["sum", "mean"] = "sum"
    num_answers: Annotated[StrictInt, Field(ge=1, le=20)] = 5
    look: _Looks = False


class EntailRequest(_Request):
    """Is a statement true of an image?"""

    images: Annotated[Images, Field(examples=[PIXEL])]
    statements: Annotated[_Strings, Field(examples=["there is a red square"])]
    look: _Looks = False


class CompareRequest(_Request):
    """Is a statement true of two images?"""

    left: Annotated[Images, Field(examples=[PIXEL])]
    right: Annotated[Images, Field(examples=[PIXEL])]
    statements: Annotated[_Strings, Field(examples=["both show a square"])]
    look: _Looks = False


class GroundRequest(_Request):
    """Where is what a phrase names?"""

    images: Annotated[Images, Field(examples=[PIXEL])]
    phrases: Annotated[_Strings, Field(examples=["a red square"])]
    boxes: Annotated[
        list[Annotated[list[_Pixels], Field(min_length=4, max_length=4)]] | None,
        Field(description="x, y, width, height in pixels of the image; each gets a score", max_length=1000),
    ] = None


class _ErrorContent(BaseModel):
    message: str
    type: str
    param: str | None
    code: str


class Error(BaseModel):
    """The form of all errors."""

    error: _ErrorContent


class _Embedding(BaseModel):
    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Embeddings(BaseModel):
    """As OpenAI's; in base64 a vector is its little-endian float32 bytes."""

    object: Literal["list"]
    data: list[_Embedding]
    model: str
    usage: dict[str, int]


class Rows(BaseModel):
    """Results in the order of the inputs; one that cannot be read has an `error` in place of a `result`."""

    model: str
    results: list[dict[str, Any]]


class Hits(BaseModel):
    """Rows of the index, the best first.

    `percentile`: the share of random pairs that score lower.
    """

    model: str
    matching: Annotated[int, Field(description="rows of the index that the filters let through")]
    hits: list[dict[str, Any]]
