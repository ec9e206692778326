"""`POST /search`: rows of the index by words and images."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from likewise.serving.index_search import IndexSearch
from likewise.serving.routes.documented import ERRORS
from likewise.serving.schemas import Hits, SearchRequest

__all__ = ["add_routes"]


def add_routes(app: FastAPI, searches: IndexSearch) -> None:
    """Add the route."""

    @app.post("/search", responses=ERRORS, response_model=Hits, tags=["search"])
    async def search(request: SearchRequest) -> Any:
        """The rows of the highest cosine with the query, best first; filters are applied before."""
        return await searches.search(request)
