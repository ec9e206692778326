"""What every request passes first: who asks, how much it sends, how long it may take.

A pure ASGI layer around the application: it reads the whole body before the application begins, so that a
slow client holds no place in the queue, and cancels the application when the client leaves.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from starlette.responses import JSONResponse

from likewise.serving.limits import Limits
from likewise.serving.metrics import Metrics
from likewise.serving.refusals import Refusal

__all__ = ["OPEN_PATHS", "Gate"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger("likewise.serving")

OPEN_PATHS = ("/", "/page.css", "/page.js", "/health", "/openapi.json")
"""Need no token: they show nothing of the data."""

_LEFT = 499  # of nginx: the client closed the connection
_BODIES = 4  # times the largest body: what all requests together may hold
_MOST_PARTS = 100_000  # of a JSON body: a part takes many times the memory of its character
_DRAIN_SECONDS, _DRAIN_PAUSE = 5.0, 0.25

_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' "
     b"data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]  # fmt: skip


class Gate:
    """The layer.

    Args:
        app: the application.
        limits: of requests.
        metrics: counts requests.
        check_free: raises a Refusal while the queue has no place; asked before a body is understood, which
            takes longer than refusing it.
        paths: of the application's routes, the labels of what is counted.
        token: which requests must bring as `Authorization: Bearer ...`; None for everybody.
        hosts: names by which the server may be called, None for any. A page of another site that points its
            own name at this machine would otherwise be let in (DNS rebinding).
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        limits: Limits,
        metrics: Metrics,
        check_free: Callable[[], None],
        paths: frozenset[str],
        token: str | None,
        hosts: frozenset[str] | None,
    ) -> None:
        self._app, self._limits, self._metrics, self._paths = app, limits, metrics, paths
        self._check_free = check_free
        self._token = None if token is None else token.encode()
        self._hosts = hosts
        self._held_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await _Exchange(scope, receive, send).run(self)

    async def admitted(self, exchange: _Exchange) -> None:
        """Check the request, read its body, and answer it."""
        try:
            self._check_sender(exchange)
            _check_kind(exchange)
            body = await self._body(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)
            return
        try:
            await self._answer(exchange, body)
        finally:
            self._held_bytes -= len(body)

    def count(self, exchange: _Exchange) -> None:
        """Count an answered request."""
        route = exchange.path if exchange.path in self._paths else "other"
        status = exchange.status or _LEFT
        self._metrics.request(route, status, time.monotonic() - exchange.started)

    def _check_sender(self, exchange: _Exchange) -> None:
        host, origin = exchange.header(b"host"), exchange.header(b"origin")
        if self._hosts is not None and _name(host) not in self._hosts:
            raise Refusal(403, "this server is not called by that name", code="wrong_host")
        if origin and origin.split("://")[-1] != host:
            raise Refusal(403, "pages of other sites may not ask this server", code="wrong_origin")
        if self._token is not None and exchange.path not in OPEN_PATHS:
            kind, _, given = exchange.header(b"authorization").partition(" ")
            # latin-1 is how headers were read; the bytes are as they came.
            same = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
            if kind.lower() != "bearer" or not same:
                raise Refusal(401, "needs a token: Authorization: Bearer TOKEN", code="no_token")

    async def _body(self, exchange: _Exchange) -> bytes:
        """The whole body, whose bytes are held until the request ends."""
        most, body = self._limits.max_body_bytes, bytearray()
        held = 0
        try:
            declared = exchange.header(b"content-length")
            if declared.isdecimal() and int(declared[:20]) > most:
                raise _too_large(most)
            until = time.monotonic() + self._limits.deadline_seconds
            async for part in exchange.parts(until):
                body += part
                if len(body) > most:
                    raise _too_large(most)
                self._held_bytes += len(part)
                held += len(part)
                if self._held_bytes > _BODIES * most:
                    raise Refusal(
                        429, "other requests send too much; try again later", code="busy", retry_after=1
                    )
            if exchange.scope["method"] == "POST":
                self._check_free()
            if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_PARTS:
                raise Refusal(
                    413, f"a body of more than {_MOST_PARTS:,} parts; send less at a time", code="too_many"
                )
        except BaseException:
            self._held_bytes -= held
            raise
        return bytes(body)

    async def _answer(self, exchange: _Exchange, body: bytes) -> None:
        """Run the application; end it when the client leaves or the deadline passes."""
        answering = asyncio.ensure_future(self._app(exchange.scope, exchange.replay(body), exchange.send))
        leaving = asyncio.ensure_future(exchange.left())
        try:
            await asyncio.wait(
                {answering, leaving},
                timeout=self._limits.deadline_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            late = not answering.done() and not leaving.done()
        finally:
            for task in (answering, leaving):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await answering
        if late and exchange.status is None:
            await exchange.refuse(
                Refusal(503, "took longer than the deadline; try again later", code="late", retry_after=2)
            )
        elif late:
            exchange.abort()  # a client that reads too slowly


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self._send = scope, receive, send
        self.path: str = scope["path"]
        self.started = time.monotonic()
        self.status: int | None = None
        self._more = True
        self._close = False

    async def run(self, gate: Gate) -> None:
        try:
            await gate.admitted(self)
        except _Left:
            pass
        except Exception:
            _log.exception("%s failed", self.path)
            if self.status is None:
                await self.refuse(Refusal(500, "an error of the server; its log says which", code="internal"))
            else:
                raise
        finally:
            gate.count(self)

    def header(self, name: bytes) -> str:
        """A header's value; empty where there is none."""
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    async def parts(self, until: float, pause: float = math.inf) -> Any:
        """The body's parts as they come; Refusal if they do not until a time, or one takes so long."""
        while self._more:
            wait = min(until - time.monotonic(), pause)
            try:
                message = await asyncio.wait_for(self.receive(), max(wait, 0.001))
            except asyncio.TimeoutError:
                raise Refusal(408, "the body did not come in time", code="slow") from None
            if message["type"] == "http.disconnect":
                raise _Left
            self._more = message.get("more_body", False)
            yield message.get("body", b"")

    async def left(self) -> None:
        """Wait until the client closes the connection."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    def replay(self, body: bytes) -> Receive:
        """What the application receives: the body, and then nothing more."""
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> MutableMapping[str, Any]:
            if messages:
                return messages.pop()
            await asyncio.Event().wait()  # its task is cancelled when the client leaves
            raise AssertionError

        return receive

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Pass on what the application sends, with the headers that all answers have."""
        if message["type"] == "http.response.start":
            self.status = int(message["status"])
            close = [(b"connection", b"close")] if self._close else []
            message = {**message, "headers": [*message.get("headers", []), *_HEADERS, *close]}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with an error; what is left of the body is read a while, so that the answer is."""
        if self._more:
            self._close = True
            with suppress(Refusal):
                async for _ in self.parts(time.monotonic() + _DRAIN_SECONDS, _DRAIN_PAUSE):
                    pass
        response: JSONResponse = refusal.response()
        await response(self.scope, self.receive, self.send)

    def abort(self) -> None:
        """Close the connection at once, whatever waits to be sent."""
        end = self.scope.get("state", {}).get("abort")
        if end is not None:
            end()


def _check_kind(exchange: _Exchange) -> None:
    """Refuse bodies that are not called JSON; browsers send such ones without asking (cross-site forms)."""
    kind = exchange.header(b"content-type").partition(";")[0].strip().lower()
    if exchange.scope["method"] == "POST" and kind != "application/json":
        raise Refusal(415, "expected Content-Type: application/json", code="content_type")


class _Left(Exception):
    """The client closed the connection."""


def _name(host: str) -> str:
    """A Host header without its port."""
    return host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"a body of more than {most:,} bytes; send less at a time", code="too_large")
