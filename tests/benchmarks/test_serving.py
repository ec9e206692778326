"""The clients of the benchmark of serving: whole requests, answers counted, retries after a full queue."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from served import http, small_model

from likewise.serving.limits import Limits

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import serving


def test_clients_are_answered_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_WARM_UP_SECONDS", 0.1)
    requests = serving.requests_of("images", 5)
    with http(small_model("simclr"), Limits(max_queue=3)) as (address, _):
        port = urlsplit(address).port
        few = asyncio.run(serving.load(port, requests, 2, 0.3))
        many = asyncio.run(serving.load(port, requests, 30, 0.3))
    assert {status for *_, status in few} == {200}
    assert all(0 < latency < 10 for _, latency, _ in few)
    assert set(Counter(status for *_, status in many)) == {200, 429}
