"""Small models behind the server's application, and images for requests."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image
from small_methods import build

from likewise.encoders.tokenizer import train_tokenizer
from likewise.model.model import Model
from likewise.serving.app import create_app
from likewise.serving.limits import Limits
from likewise.serving.server import http_server, listening

__all__ = ["client", "data_uri", "http", "scene_uri", "small_model"]

TEXTS = ["a red star", "is there a blue circle left of it?", "yes", "two", "a photo of a large pink heart."]


def small_model(method: str) -> Model:
    """An untrained model of a method, with a tokenizer of 32 tokens."""
    built, _ = build(method)
    tokenizer = train_tokenizer(TEXTS, vocabulary_size=300, max_tokens=32)
    return Model.trained(
        built.network.eval(), tokenizer=tokenizer, method=method, fit="crop", store_size=40, trained_on={}
    )


@contextmanager
def client(model: Model, **options: Any) -> Iterator[TestClient]:
    """A client of a server of the model."""
    app = create_app(model, name="small", **options)
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as opened:
        yield opened


def data_uri(data: bytes, kind: str = "png") -> str:
    """Bytes as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def scene_uri(seed: int = 0, *, size: tuple[int, int] = (48, 36)) -> str:
    """A PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return data_uri(stream.getvalue())


@contextmanager
def http(model: Model, limits: Limits, **options: Any) -> Iterator[tuple[str, Any]]:
    """A real server in a thread: its address, and the server."""
    app = create_app(model, name="small", limits=limits, **options)
    server = http_server(app, limits)
    with listening("127.0.0.1", 0) as (socket, address):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield address, server
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()
