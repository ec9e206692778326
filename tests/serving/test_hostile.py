"""A real server and clients that mean it no good: no 500, memory bounded, and it serves on."""

from __future__ import annotations

import asyncio
import base64
import gc
import io
import json
import os
import random
import socket
import struct
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from served import data_uri, http, scene_uri

from likewise.model.model import Model
from likewise.search import Index
from likewise.serving.limits import Limits

LIMITS = Limits(
    max_body_mb=1, max_pixels=200_000, deadline_seconds=1.0, max_queue=40, max_connections=120, max_inputs=20
)
REQUESTS = 1000


def png_of_size(width: int, height: int, rows: int = 0) -> bytes:
    """A PNG that says it is so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(rows * (3 * width + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def many_frames() -> bytes:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (300, 300), (n, 0, 0)) for n in range(40)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return stream.getvalue()


GOOD = scene_uri(1)
PNG = base64.b64decode(GOOD.partition(",")[2])
BOMBS = [
    png_of_size(30_000, 30_000),
    png_of_size(4000, 4000, rows=4000),  # 48 MB of zeros in 47 KB
    png_of_size(400, 400, rows=4000),  # more pixels than it says
    png_of_size(1, 1 << 30),
    png_of_size(0, 0),
    many_frames(),
    b"BM"
    + struct.pack("<IHHI", 54, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 1 << 30, -(1 << 30), 1, 24, 0, 0, 0, 0, 0, 0),
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
]
WORDS: list[Any] = [
    "a red star",
    "",
    " " * 1000,
    "\u0000",
    "\ud800",
    "red " * 9000,
    "\u202e" * 50,
    "/etc/passwd",
    "http://127.0.0.1/",
    "data:",
    "data:image/png;base64,",
    "data:image/png;base64,@@@@",
    "data:text/html,<script>",
    "DATA:image/png;base64," + "A" * 5000,
    None,
    7,
    1e400,
    float("nan"),
    True,
    [],
    {},
    [["a"]],
    ["a"] * 30,
    ["a", 3],
]
FIELDS = (
    "input",
    "images",
    "texts",
    "phrases",
    "query",
    "labels",
    "boxes",
    "top",
    "filters",
    "dimensions",
    "model",
)
PATHS = ("/v1/embeddings", "/match", "/ground", "/classify", "/explain", "/search", "/caption")


def image(rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return data_uri(rng.choice(BOMBS))
    if kind == 1:
        return data_uri(PNG[: rng.randrange(len(PNG))])
    if kind == 2:
        damaged = bytearray(PNG)
        for _ in range(5):
            damaged[rng.randrange(len(PNG))] = rng.randrange(256)
        return data_uri(bytes(damaged))
    return data_uri(rng.randbytes(rng.randrange(300)), rng.choice(("png", "jpeg", "svg+xml", "webp")))


def value(rng: random.Random) -> Any:
    return rng.choice((lambda: image(rng), lambda: rng.choice(WORDS), lambda: GOOD, lambda: "a star"))()


def json_body(rng: random.Random) -> bytes:
    kind = rng.randrange(12)
    if kind == 0:
        return b"[" * rng.randrange(1, 90_000)
    if kind == 1:
        return b'{"input": ' + b"9" * rng.randrange(1, 100_000) + b"}"
    if kind == 2:
        return rng.randbytes(rng.randrange(200))
    if kind == 3:
        return b'{"input": "' + b"\xff\xfe" * 9 + b'"}'
    if kind == 4:
        return b'{"input": [' + b'"a",' * rng.randrange(1, 120_000) + b'"a"]}'
    fields = {name: value(rng) for name in rng.sample(FIELDS, rng.randrange(1, 4))}
    usual: dict[str, Any] = {
        "input": value(rng),
        "images": value(rng),
        "texts": value(rng),
        "query": value(rng),
    }
    usual["query"] = [
        {"text": value(rng)},
        {"image": value(rng), "weight": rng.choice((1, -1, 0, 1e300, "x"))},
    ]
    chosen = rng.sample(sorted(usual), rng.randrange(1, 3))
    return json.dumps(fields | {name: usual[name] for name in chosen}).encode(errors="surrogatepass")


def attack(rng: random.Random) -> tuple[bytes, str]:
    """Bytes to send, and how to go on: wait for the answer, leave, or stay silent."""
    body = json_body(rng)
    path = rng.choice(PATHS)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
    whole = head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    kind = rng.randrange(20)
    if kind == 0:
        return whole, "leave"
    if kind == 1:
        return whole[: rng.randrange(len(whole))], "leave"
    if kind == 2:
        return head + b"Content-Length: 999999999999\r\n\r\n", "wait"
    if kind == 3:
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"a" * 65_536 + b"\r\n", "leave"
    if kind == 4:
        chunks = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
        return head + b"Transfer-Encoding: chunked\r\n\r\n" + 20 * chunks + b"0\r\n\r\n", "wait"
    if kind == 5:
        return rng.randbytes(200) + b"\r\n\r\n", "wait"
    if kind == 6:
        return b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", "wait"
    if kind == 7:
        method = rng.choice(("GET", "PUT", "DELETE", "OPTIONS", "TRACE", "HEAD"))
        odd = rng.choice((*PATHS, "/", "/../../etc/passwd", "/%00", "/page/../x", "//", "/health", "*"))
        return f"{method} {odd} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), "wait"
    if kind == 8 and rng.random() < 0.3:
        return head + b"Content-Length: 50\r\n\r\n{", "silence"
    if kind in (10, 11):  # among them some that mean well
        good = json.dumps({"input": ["a star", GOOD]}).encode()
        return head.replace(path.encode(), b"/v1/embeddings") + (
            f"Content-Length: {len(good)}\r\n\r\n".encode() + good
        ), "wait"
    if kind == 9:
        return f"POST {path} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 2\r\n\r\n{{}}".encode(), "wait"
    return whole, "wait"


async def send(port: int, data: bytes, then: str) -> int:
    """The status of the answer; 0 where none came."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0
    try:
        writer.write(data)
        if then == "leave":
            await asyncio.sleep(0.002)
            return 0
        line = await asyncio.wait_for(reader.readline(), 20)
        return int(line.split()[1]) if line else 0
    except OSError:
        return 0
    finally:
        writer.close()


def memory_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_a_thousand_hostile_requests(tcl: Model, index: Index) -> None:
    rng = random.Random(0)
    attacks = [attack(rng) for _ in range(REQUESTS)]

    async def all_of(port: int, attacks: list[tuple[bytes, str]]) -> Counter[int]:
        slots = asyncio.Semaphore(30)

        async def one(data: bytes, then: str) -> int:
            async with slots:
                return await send(port, data, then)

        return Counter(await asyncio.gather(*(one(*each) for each in attacks)))

    with http(tcl, LIMITS, index=index) as (address, _):
        port = httpx.URL(address).port
        assert port is not None
        asyncio.run(all_of(port, attacks[:200]))  # buffers and threads are there now
        gc.collect()
        before = memory_mb()
        statuses = asyncio.run(all_of(port, attacks))
        gc.collect()
        grown = memory_mb() - before
        wrong = [status for status in statuses if status >= 500 and status != 503]
        assert not wrong, statuses
        assert {200, 400, 403, 408, 413, 422} <= set(statuses), statuses
        assert grown < 60, f"{grown:.0f} MB more"
        good = httpx.post(f"{address}v1/embeddings", json={"input": ["a star", GOOD]})
        assert good.status_code == 200
        counted = httpx.get(f"{address}metrics").text
        assert "likewise_queue_inputs 0.0" in counted
        assert 'status="500"' not in counted


def test_answers_do_not_wait_for_acknowledgements(tcl: Model) -> None:
    with http(tcl, LIMITS) as (address, server), httpx.Client(base_url=address) as asked:
        assert asked.get("/health").status_code == 200  # keeps its connection
        (connection,) = server.server_state.connections
        opened = connection.transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_slow_clients_and_too_many_connections_are_closed(tcl: Model) -> None:
    limits = Limits(deadline_seconds=0.5, max_connections=10)

    async def silent(port: int) -> tuple[float, list[bytes]]:
        started = time.monotonic()
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]
        for _, writer in opened:
            writer.write(b"POST /match HTTP/1.1\r\nHost:")
        ends = await asyncio.gather(*(reader.read() for reader, _ in opened), return_exceptions=True)
        for _, writer in opened:
            writer.close()
        return time.monotonic() - started, [end for end in ends if isinstance(end, bytes)]

    async def crowd(port: int) -> int:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
        ends = [asyncio.ensure_future(reader.read()) for reader, _ in opened]
        done, open_still = await asyncio.wait(ends, timeout=0.3)
        for one in open_still:
            one.cancel()
        for _, writer in opened:
            writer.close()
        await asyncio.gather(*ends, return_exceptions=True)
        return len(done)

    with http(tcl, limits) as (address, _):
        port = httpx.URL(address).port
        assert port is not None
        seconds, said = asyncio.run(silent(port))
        assert 0.4 < seconds < 10
        assert set(said) <= {b""}
        assert asyncio.run(crowd(port)) == 20
        time.sleep(0.1)
        assert httpx.get(f"{address}health").status_code == 200


def test_a_full_queue_answers_429_at_once_and_requests_at_hand_are_finished(tcl: Model) -> None:
    async def run(address: str, server: Any) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=address, timeout=30) as asked:
            body = {"input": ["a star"] * 4}
            answers = await asyncio.gather(*(asked.post("/v1/embeddings", json=body) for _ in range(12)))
            last = asyncio.ensure_future(asked.post("/v1/embeddings", json=body))
            await asyncio.sleep(0.02)
            server.should_exit = True
            return [*answers, await last]

    with http(tcl, Limits(max_queue=8, batch_wait_ms=40)) as (address, server):
        *answers, last = asyncio.run(run(address, server))
    statuses = Counter(answer.status_code for answer in answers)
    assert set(statuses) == {200, 429}
    assert statuses[200] >= 2
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 429)
    assert last.status_code == 200  # it had begun when the server was stopped
