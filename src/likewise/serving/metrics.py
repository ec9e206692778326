"""What the server counts, in the text form of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "likewise_requests", "Requests by route and status", ["route", "status"], registry=self._registry
        )
        self._seconds = Histogram(
            "likewise_request_seconds",
            "Seconds from a request's arrival to the end of its answer",
            ["route"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._batches = Histogram(
            "likewise_batch_inputs", "Inputs of a batch", ["work"], buckets=_SIZES, registry=self._registry
        )
        self._computing = Counter(
            "likewise_compute_seconds", "Seconds of computing", ["work"], registry=self._registry
        )
        self._dropped = Counter(
            "likewise_dropped_inputs",
            "Inputs dropped from the queue: their client left, or their deadline passed",
            registry=self._registry,
        )
        self._queue = Gauge(
            "likewise_queue_inputs", "Inputs that are handled or waiting", registry=self._registry
        )

    def watch_queue(self, places_taken: Callable[[], float]) -> None:
        """Show a number as the queue's length."""
        self._queue.set_function(places_taken)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request has been answered; status 499 where the client left before."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def batch(self, work: Hashable, inputs: int, seconds: float) -> None:
        """A batch was computed."""
        name = str(work[0] if isinstance(work, tuple) else work)
        self._batches.labels(name).observe(inputs)
        self._computing.labels(name).inc(seconds)

    def dropped(self, inputs: int) -> None:
        """Inputs were dropped, as nobody waits for them."""
        self._dropped.inc(inputs)

    def text(self) -> bytes:
        """All of them."""
        return generate_latest(self._registry)
