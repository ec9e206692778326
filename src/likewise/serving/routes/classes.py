"""`POST /classify`: the model's own classes, or any by their names."""

from __future__ import annotations

from typing import Any

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray

from likewise.metrics.prompts import prompts
from likewise.serving.refusals import Refusal
from likewise.serving.routes.documented import ERRORS
from likewise.serving.schemas import ClassifyRequest, Rows
from likewise.serving.service import Service

__all__ = ["add_routes"]


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the route, if the model classifies or embeds images and texts."""
    by_names = service.can("encode_images", "encode_texts")
    if not (service.can("classify") or by_names):
        return

    @app.post("/classify", responses=ERRORS, response_model=Rows, tags=["images"])
    async def classify(request: ClassifyRequest) -> Any:
        """The likeliest classes: with a `probability` of the model's own, with a cosine `score` of others."""
        (images,) = request.listed("images")
        service.inputs.check_count(len(images), "images")
        if request.labels is not None:
            return await _zero_shot(service, request, images, request.labels)
        service.needs("classify")
        with service.batcher.places(len(images)):
            squares = await service.inputs.squares(images, "images")
            rows = await service.for_each(service.works.classes, squares)
        names = list(service.model.classes)
        for row in rows:
            if "result" in row:
                row["result"] = _ranked(row["result"], names, "probability", request.top)
        return {"model": service.name, "results": rows}


async def _zero_shot(service: Service, request: ClassifyRequest, images: list[str], labels: list[str]) -> Any:
    service.needs("encode_images")
    service.needs("encode_texts")
    service.inputs.check_count(len(labels), "labels")
    for place, label in enumerate(labels):
        service.inputs.check_text(label, f"labels[{place}]")
    try:
        captions = [caption for (caption,) in prompts(labels, [request.template])]
    except ValueError as error:
        raise Refusal(422, str(error), code="invalid", param="template") from None
    with service.batcher.places(len(images) + len(labels)):
        squares = await service.inputs.squares(images, "images")
        texts, _ = await service.vectors_of_texts(captions, "labels")
        rows = await service.for_each(service.works.images, squares)
    for row in rows:
        if "result" in row:
            row["result"] = _ranked(np.clip(texts @ row["result"], -1, 1), labels, "score", request.top)
    return {"model": service.name, "results": rows}


def _ranked(values: NDArray[np.float32], names: list[str], figure: str, top: int) -> dict[str, Any]:
    best = np.argsort(-values, kind="stable")[:top]
    return {"classes": [{"label": names[place], figure: float(values[place])} for place in best]}
