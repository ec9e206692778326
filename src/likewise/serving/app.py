"""The application: routes of a model and an index, behind the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.routing import Route

from likewise import __version__
from likewise.model.model import Model
from likewise.networks.abilities import ABILITIES
from likewise.search import Index
from likewise.serving.gate import Gate
from likewise.serving.index_search import IndexSearch
from likewise.serving.limits import Limits
from likewise.serving.metrics import Metrics
from likewise.serving.refusals import Refusal, add_handlers
from likewise.serving.routes import abilities, classes, embeddings, search, status
from likewise.serving.service import Service

__all__ = ["LOCAL_NAMES", "create_app"]

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""What a server of this machine alone is called."""


def create_app(
    model: Model,
    *,
    name: str,
    index: Index | None = None,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: frozenset[str] | None = LOCAL_NAMES,
) -> Gate:
    """The ASGI application.

    Args:
        model: from now on used by the application's thread alone.
        name: what clients call it.
        index: made by the same model, for /search.
        limits: of requests and batches.
        token: which requests must bring; None for everybody.
        hosts: names by which the server may be called; None for any.

    Raises:
        ModelError: another model made the index.
    """
    limits = limits or Limits()
    metrics = Metrics()
    service = Service(model, name=name, limits=limits, metrics=metrics)
    searches = None if index is None else IndexSearch(service, index)
    metrics.watch_queue(lambda: service.batcher.places_taken)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.batcher.start()
        yield
        service.batcher.close()
        service.inputs.close()

    # The interactive pages load scripts from elsewhere, so there are none.
    app = FastAPI(
        title="Likewise",
        version=__version__,
        description=f"A {model.config['method']} model and what it can do.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    add_handlers(app)
    embeddings.add_routes(app, service)
    classes.add_routes(app, service)
    abilities.add_routes(app, service)
    if searches is not None:
        search.add_routes(app, searches)
    status.add_routes(app, service, None if searches is None else searches.about())
    _explain_missing(app, service)
    if searches is None:
        _explain_no_index(app)
    if token is not None:
        _document_token(app)
    paths = frozenset(route.path for route in app.routes if isinstance(route, Route))
    return Gate(
        app,
        limits=limits,
        metrics=metrics,
        check_free=service.batcher.check_free,
        paths=paths,
        token=token,
        hosts=hosts,
    )


def _explain_missing(app: FastAPI, service: Service) -> None:
    """Routes of abilities that the model lacks say so, and what would have them."""
    there = {getattr(route, "path", None) for route in app.routes}
    for ability in ("caption", "answer", "match", "entail", "compare", "ground", "classify"):
        if f"/{ability}" not in there:
            _add_missing(app, service, ability)


def _add_missing(app: FastAPI, service: Service, ability: str) -> None:
    @app.post(f"/{ability}", include_in_schema=False)
    async def missing() -> None:
        service.needs(ability)
        raise Refusal(404, f"see {ABILITIES[ability].methods}", code="model_cannot")


def _explain_no_index(app: FastAPI) -> None:
    @app.post("/search", include_in_schema=False)
    async def missing() -> None:
        raise Refusal(404, "this server has no index; start it with --index", code="no_index")


def _document_token(app: FastAPI) -> None:
    described = app.openapi()
    described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    described["security"] = [{"token": []}]
