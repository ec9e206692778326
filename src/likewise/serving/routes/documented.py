"""What the OpenAPI description says of every route's errors."""

from __future__ import annotations

from typing import Any

from likewise.serving.schemas import Error

__all__ = ["ERRORS", "READ_ERRORS"]

_MEANINGS = {
    400: "the body is no JSON",
    401: "no token, or a wrong one",
    403: "called by another host name, or by a page of another site",
    404: "no such model, or the model cannot do it",
    408: "the body did not come in time",
    415: "not called application/json",
    413: "too much in one request",
    422: "an input that cannot be served; `param` says which",
    429: "the queue is full; Retry-After says when to try again",
    503: "not in time, or shutting down",
}

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": meaning} for status, meaning in _MEANINGS.items()
}
"""Of routes that take a body."""

READ_ERRORS: dict[int | str, dict[str, Any]] = {status: ERRORS[status] for status in (401, 403)}
"""Of routes that take none."""
