"""`/v1/models`, `/health`, `/metrics`, and the page's files."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response

from likewise.serving.routes.documented import READ_ERRORS
from likewise.serving.service import Service

__all__ = ["add_routes"]

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}


def add_routes(app: FastAPI, service: Service, about_index: dict[str, Any] | None) -> None:
    """Add the routes.

    Args:
        app: the application, whose other routes are there.
        service: has the model.
        about_index: what clients may know of the index; None without one.
    """
    about = _about_model(service) | {
        "routes": sorted({getattr(route, "path", "") for route in app.routes} - {"", "/openapi.json"}),
        "index": about_index,
    }

    @app.get("/v1/models", responses=READ_ERRORS, tags=["server"])
    async def models() -> dict[str, Any]:
        """The model, what it can do, and the routes that this server has."""
        return {"object": "list", "data": [about]}

    @app.get("/health", tags=["server"], responses={503: {"description": "the model's thread has ended"}})
    async def health() -> Response:
        """Whether requests are served."""
        alive = service.batcher.is_alive
        return JSONResponse({"status": "ok" if alive else "failed"}, 200 if alive else 503)

    @app.get(
        "/metrics",
        tags=["server"],
        response_class=Response,
        responses={**READ_ERRORS, 200: {"content": {"text/plain": {}}}},
    )
    async def metrics() -> Response:
        """Counts and times for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    folder = files("likewise.serving") / "page"
    for path, (name, kind) in _PAGE.items():
        _add_file(app, path, (folder / name).read_bytes(), kind)


def _add_file(app: FastAPI, path: str, content: bytes, kind: str) -> None:
    @app.get(path, include_in_schema=False)
    async def file() -> Response:
        return Response(content, media_type=kind)


def _about_model(service: Service) -> dict[str, Any]:
    model = service.model
    encoder = model.network.encoder_of("image")
    images = None
    if encoder is not None:
        images = {"size": encoder.image_size, "fit": model.config["images"]["fit"]}
    return {
        "id": service.name,
        "object": "model",
        "created": 0,
        "owned_by": "likewise",
        "method": str(model.config["method"]),
        "abilities": model.abilities,
        "dimension": model.dim,
        "images": images,
        "max_tokens": None if model.tokenizer is None else model.tokenizer.max_tokens,
        "classes": list(model.classes) if service.can("classify") else None,
        "limits": {
            "inputs": service.limits.max_inputs,
            "body_bytes": service.limits.max_body_bytes,
            "pixels": service.limits.max_pixels,
            "top": service.limits.max_top,
        },
    }
