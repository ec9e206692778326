"""One route for each ability: those that the model lacks are not there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI

from likewise.encoders.decoders import Decoding
from likewise.model.inputs import aligned
from likewise.serving.batcher import Work
from likewise.serving.refusals import Refusal
from likewise.serving.routes.documented import ERRORS
from likewise.serving.schemas import (
    AnswerRequest,
    CaptionRequest,
    CompareRequest,
    EntailRequest,
    ExplainRequest,
    GroundRequest,
    MatchRequest,
    Rows,
)
from likewise.serving.service import Service

__all__ = ["ROUTES", "add_routes"]

ROUTES = ("caption", "answer", "match", "entail", "compare", "ground", "explain")
"""Names of the routes of this file, which are those of abilities but for the last."""


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the routes of the model's abilities."""
    works = service.works
    documented: dict[str, Any] = {"responses": ERRORS, "response_model": Rows, "tags": ["images"]}

    async def rows(work: Work, images: dict[str, list[str]], texts: dict[str, list[str]], *more: Any) -> Any:
        return {"model": service.name, "results": await _judged(service, work, images, texts, *more)}

    if service.can("caption"):

        @app.post("/caption", **documented)
        async def caption(request: CaptionRequest) -> Any:
            """Captions of images, best first."""
            (images,) = request.listed("images")
            options = request.model_dump(exclude={"images"})
            return await rows(works.captions(Decoding(**options)), {"images": images}, {})

    if service.can("answer"):

        @app.post("/answer", **documented)
        async def answer(request: AnswerRequest) -> Any:
            """Answers to questions about images, likeliest first."""
            images, questions = request.listed("images", "questions")
            choices = request.answers
            if choices is not None:
                service.inputs.check_count(len(choices), "answers")
                await service.inputs.tokens(choices, "answers")
            if choices is not None and request.free:
                raise Refusal(422, "answers and free contradict one another", code="invalid", param="free")
            work = works.answers(
                None if choices is None else tuple(choices),
                free=request.free,
                score=request.score,
                num_answers=request.num_answers,
                looks=request.look,
            )
            return await rows(work, {"images": images}, {"questions": questions})

    if service.can("match"):

        @app.post("/match", **documented)
        async def match(request: MatchRequest) -> Any:
            """The probability that an image and a text belong together."""
            images, texts = request.listed("images", "texts")
            answer = await rows(works.match, {"images": images}, {"texts": texts})
            for row in answer["results"]:
                if "result" in row:
                    row["result"] = {"probability": row["result"]}
            return answer

    if service.can("entail"):

        @app.post("/entail", **documented)
        async def entail(request: EntailRequest) -> Any:
            """Verdicts on statements about images."""
            images, statements = request.listed("images", "statements")
            work = works.judge("entail", looks=request.look)
            return await rows(work, {"images": images}, {"statements": statements})

    if service.can("compare"):

        @app.post("/compare", **documented)
        async def compare(request: CompareRequest) -> Any:
            """Verdicts on statements about two images."""
            left, right, statements = request.listed("left", "right", "statements")
            work = works.judge("compare", looks=request.look)
            return await rows(work, {"left": left, "right": right}, {"statements": statements})

    if service.can("ground"):

        @app.post("/ground", **documented)
        async def ground(request: GroundRequest) -> Any:
            """Regions that phrases name."""
            images, phrases = request.listed("images", "phrases")
            boxes = request.boxes or []
            if any(min(box[2:]) <= 0 for box in boxes):
                raise Refusal(422, "a box's width and height must be above 0", code="invalid", param="boxes")
            return await rows(works.ground, {"images": images}, {"phrases": phrases}, boxes)

    if service.explains():

        @app.post("/explain", **documented)
        async def explain(request: ExplainRequest) -> Any:
            """The regions behind a match or cosine with a text, or behind a caption, also word by word."""
            (images,) = request.listed("images")
            texts = None if request.texts is None else request.listed("texts")[0]
            service.check_explains(of_texts=texts is not None)
            if texts is None:
                return await rows(works.explain, {"images": images}, {}, None)
            return await rows(works.explain, {"images": images}, {"texts": texts})


async def _judged(
    service: Service,
    work: Work,
    images: dict[str, list[str]],
    texts: dict[str, list[str]],
    *more: Any,
) -> list[dict[str, Any]]:
    """Results of rows of images and texts, of which one each may stand for all.

    Args:
        service: computes.
        work: takes the images, texts and `more` of a row.
        images: by field.
        texts: by field.
        more: goes with every row.
    """
    given = images | texts
    for name, listed in given.items():
        service.inputs.check_count(len(listed), name)
    places = aligned(**{name: range(len(listed)) for name, listed in given.items()})
    count = len(places[0])
    with service.batcher.places(count):
        for name, listed in texts.items():
            await service.inputs.tokens(listed, name)
        decoded = [await service.inputs.squares(listed, name) for name, listed in images.items()]
        columns: list[Sequence[Any]] = [*decoded, *texts.values()]
        parts = [[column[place] for place in rows] for column, rows in zip(columns, places, strict=True)]
        return await service.for_each(work, *parts, *([one] * count for one in more))
