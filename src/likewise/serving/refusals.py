"""Errors of the server: one JSON form, that of OpenAI's API.

{"error": {"message": "...", "type": "invalid_request_error", "param": "input[3]", "code": "bad_image"}}
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from likewise.errors import AbilityError, LikewiseError
from likewise.messages import printable

__all__ = ["Refusal", "add_handlers", "error_content"]

_MOST_OF_MESSAGE = 500
_SHOWN_ERRORS = 3
_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Refusal(Exception):
    """A request, or one input of it, that is not served.

    Args:
        status: of HTTP.
        message: what was wrong, and what to try.
        code: a word for programs.
        param: the field that is at fault.
        retry_after: seconds after which the same request may be served.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.param, self.retry_after = param, retry_after

    def at(self, param: str) -> Refusal:
        """The same, of a field."""
        return Refusal(self.status, self.message, code=self.code, param=param, retry_after=self.retry_after)

    def response(self) -> JSONResponse:
        """As HTTP has it."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse({"error": error_content(self)}, self.status, headers)


def error_content(refusal: Refusal) -> dict[str, Any]:
    """What stands under `error`."""
    server = "server_error" if refusal.status >= 500 else "invalid_request_error"
    return {
        "message": _unicode(printable(refusal.message, most=_MOST_OF_MESSAGE)),
        "type": _KINDS.get(refusal.status, server),
        "param": None if refusal.param is None else _unicode(printable(refusal.param, most=100)),
        "code": refusal.code,
    }


def refusal_of(error: LikewiseError) -> Refusal:
    """An error of the library, as it is told to clients."""
    if isinstance(error, AbilityError):
        return Refusal(404, str(error), code="model_cannot")
    return Refusal(422, str(error), code="bad_input")


def add_handlers(app: FastAPI) -> None:
    """Give every error of the application this form."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> JSONResponse:
        return error.response()

    @app.exception_handler(LikewiseError)
    async def library(_: Request, error: LikewiseError) -> JSONResponse:
        return refusal_of(error).response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> JSONResponse:
        response = Refusal(error.status_code, str(error.detail), code="http").response()
        response.headers.update(error.headers or {})  # such as Allow
        return response

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return _validation_refusal(error).response()

    @app.exception_handler(Exception)
    async def unexpected(_: Request, error: Exception) -> JSONResponse:
        return Refusal(500, "an error of the server; its log says which", code="internal").response()


def _validation_refusal(error: RequestValidationError) -> Refusal:
    found = error.errors()
    if any(one["type"] == "json_invalid" for one in found):
        return Refusal(400, "the body is no valid JSON", code="bad_json")
    told = [f"{_place(one['loc'])}: {one['msg']}" for one in found[:_SHOWN_ERRORS]]
    more = f"; and {len(found) - _SHOWN_ERRORS} more" if len(found) > _SHOWN_ERRORS else ""
    message = "; ".join(told) + more
    return Refusal(422, message, code="invalid", param=_place(found[0]["loc"]) if found else None)


def _place(location: Any) -> str:
    """("body", "input", 3) as input[3]."""
    parts = [part for part in location if part not in ("body", "query")]
    named = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return named.removeprefix(".") or "body"


def _unicode(text: str) -> str:
    """Without halves of characters, which JSON may hold and UTF-8 may not."""
    return text.encode(errors="replace").decode()
