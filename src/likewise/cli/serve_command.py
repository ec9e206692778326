"""`likewise serve RUN [--index photos.index]`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import tyro

from likewise.errors import ConfigError
from likewise.messages import printed_line
from likewise.option_flags import parse_flags
from likewise.serving.limits import Limits

__all__ = ["ServeCommand", "run"]

_TOKEN = "LIKEWISE_TOKEN"  # the variable, not a token
_NEEDED = ("fastapi", "uvicorn", "prometheus_client")
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, kw_only=True)
class ServeCommand:
    """Serve a trained model, and an index, over HTTP, with a page for the browser."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    index: str | None = None
    """An index of `likewise index`, made by the same model: for /search and the page."""

    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all of this machine's, which others can reach."""

    port: int = 8080
    """Port to listen at; 0 for any that is free."""

    token: str | None = None
    """What requests must bring as `Authorization: Bearer TOKEN`; also read from LIKEWISE_TOKEN, which other
    users of the machine cannot see."""

    name: str | None = None
    """What clients call the model; the last part of RUN when not given."""

    allowed_hosts: tuple[str, ...] = ()
    """Host names by which the server may be called besides localhost, such as that of a proxy; with another
    --host than localhost any, when none is given."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    limits: Limits = field(default_factory=Limits)
    """What is accepted, and how much at a time."""


def run(arguments: Sequence[str]) -> None:
    """Open the model and serve until stopped."""
    options = parse_flags(ServeCommand, arguments, prog="likewise serve")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"likewise serve needs {' and '.join(missing)}; install the extra: pip install 'likewise[serve]'."
        )
    if not 0 <= options.port <= 65535:
        raise ConfigError(f"--port is {options.port}; expected 0 to 65535.")
    token = os.environ.get(_TOKEN) if options.token is None else options.token
    if token is not None and (not token.strip() or not token.isascii()):
        raise ConfigError(f"the token (--token, {_TOKEN}) is empty or not plain ASCII.")

    from likewise.runs.open import open_model
    from likewise.search import open_index
    from likewise.serving.app import LOCAL_NAMES, create_app
    from likewise.serving.server import listening, serve

    index = None if options.index is None else open_index(options.index)
    model = open_model(options.run, options.device)
    local = options.host in _LOOPBACK
    hosts = LOCAL_NAMES.union(options.allowed_hosts) if local or options.allowed_hosts else None
    name = options.name or Path(options.run).resolve().name
    app = create_app(
        model,
        name=name,
        index=index,
        limits=options.limits,
        token=token,
        hosts=hosts,
    )
    if not local and token is None:
        print(
            f"warning: others can reach {options.host}, and there is no token: they can use the model and "
            f"see the index (--token or {_TOKEN})",
            file=sys.stderr,
        )
    with listening(options.host, options.port) as (socket, address):
        print(printed_line(f"serving {name} at {address} (Ctrl-C stops)"), flush=True)
        serve(app, socket, options.limits)
