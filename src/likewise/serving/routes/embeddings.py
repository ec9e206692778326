"""`POST /v1/embeddings`, in the form of OpenAI's API."""

from __future__ import annotations

import base64
import json

import numpy as np
from fastapi import FastAPI
from numpy.typing import NDArray
from starlette.responses import Response

from likewise.serving.refusals import Refusal
from likewise.serving.routes.documented import ERRORS
from likewise.serving.schemas import Embeddings, EmbeddingsRequest
from likewise.serving.service import Service

__all__ = ["add_routes"]


def add_routes(app: FastAPI, service: Service) -> None:
    """Add the route, if the model embeds anything."""
    if not (service.can("encode_texts") or service.can("encode_images")):
        return

    @app.post("/v1/embeddings", responses=ERRORS, response_model=Embeddings, tags=["embeddings"])
    async def embeddings(request: EmbeddingsRequest) -> Response:
        """Unit vectors of texts and images, in the order of the inputs."""
        service.check_model(request.model)
        (given,) = request.listed("input")
        service.inputs.check_count(len(given), "input")
        _check_dimensions(request.dimensions, service.model.dim)
        with service.batcher.places(len(given)):
            vectors, num_tokens = await service.vectors(given, "input", cut=request.truncate)
        written = _base64 if request.encoding_format == "base64" else _floats
        data = ",".join(
            f'{{"object":"embedding","index":{place},"embedding":{written(vector)}}}'
            for place, vector in enumerate(vectors)
        )
        usage = json.dumps({"prompt_tokens": num_tokens, "total_tokens": num_tokens})
        name = json.dumps(service.name)
        return Response(
            f'{{"object":"list","data":[{data}],"model":{name},"usage":{usage}}}',
            media_type="application/json",
        )


def _check_dimensions(dimensions: int | None, own: int) -> None:
    if dimensions not in (None, own):
        raise Refusal(
            422,
            f"the model's vectors have {own} dimensions, and it was not trained to be used with fewer. "
            "Leave dimensions out",
            code="dimensions",
            param="dimensions",
        )


def _floats(vector: NDArray[np.float32]) -> str:
    # Nine significant digits give every float32 back, and are written faster than Python's floats.
    return "[" + ",".join([f"{number:.9g}" for number in vector.tolist()]) + "]"


def _base64(vector: NDArray[np.float32]) -> str:
    return '"' + base64.b64encode(vector.astype("<f4").tobytes()).decode() + '"'
