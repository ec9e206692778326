"""The HTTP server: uvicorn, with bounds on connections that send nothing."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from likewise.errors import ConfigError
from likewise.serving.limits import Limits

__all__ = ["http_server", "listening", "serve"]

_BACKLOG = 256


@contextmanager
def listening(host: str, port: int) -> Iterator[tuple[socket.socket, str]]:
    """An open socket, and the address for a browser.

    Args:
        host: address to listen at.
        port: 0 for any that is free.

    Raises:
        ConfigError: nothing can listen there; the message says why.
    """
    try:
        (family, *_, place), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        opened = socket.create_server(place[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"--host {host} --port {port}: {error.strerror or error}; choose another port (0 for any)."
        ) from error
    with opened:
        shown = f"[{host}]" if ":" in host else host
        yield opened, f"http://{shown}:{opened.getsockname()[1]}/"


def serve(app: Any, listener: socket.socket, limits: Limits) -> None:
    """Serve until SIGINT or SIGTERM, and then answer the requests at hand; in the main thread.

    Args:
        app: of `create_app`.
        listener: an open socket.
        limits: of connections.
    """
    # uvicorn raises a signal again when all is done, for the handlers that were there before.
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with suppress(KeyboardInterrupt):
            http_server(app, limits).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)


def http_server(app: Any, limits: Limits) -> uvicorn.Server:
    """The server; it ends when its `should_exit` is set, after the requests at hand."""

    class Protocol(_BoundedProtocol):
        max_connections = limits.max_connections
        header_seconds = limits.deadline_seconds

    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(limits.deadline_seconds) + 1,
    )
    return uvicorn.Server(config)


class _BoundedProtocol(H11Protocol):
    """Closes connections that are too many, or that take too long to say what they want."""

    max_connections: int
    header_seconds: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._waiting: asyncio.TimerHandle | None = None
        # An answer's head and body are written apart. asyncio only sees to this itself for sockets that name
        # their protocol, and without it the body waits for the client's delayed acknowledgement: 40 ms.
        if (open_socket := transport.get_extra_info("socket")) is not None:
            open_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > self.max_connections:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.scope is not None:
            self.scope["state"]["abort"] = self.transport.abort
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """A request's first lines must be whole within `header_seconds`."""
        if self.conn.their_state is not h11.IDLE:
            self._stop_watching()
        elif self._waiting is None:
            self._waiting = self.loop.call_later(self.header_seconds, self.transport.abort)

    def _stop_watching(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
