"""What the server accepts, and how much at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields

from likewise.errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of requests, of the queue and of batches. All must be above 0."""

    max_body_mb: float = 32.0
    """Megabytes of a request's body; larger ones get 413."""

    max_inputs: int = 256
    """Texts or images of one request; more get 413."""

    max_characters: int = 20_000
    """Characters of a text; longer ones get 422."""

    max_pixels: int = 25_000_000
    """Pixels of an image, as stored; larger ones get 422."""

    max_top: int = 200
    """Hits of one search."""

    max_queue: int = 1024
    """Inputs being handled or waiting, over all requests. Requests beyond it get 429 with Retry-After."""

    max_connections: int = 1000
    """Open connections; those beyond are closed at once."""

    deadline_seconds: float = 30.0
    """Time for a request once it has come, after which it gets 503; and time for its body to come (408)."""

    batch_wait_ms: float = 5.0
    """How long an input waits for others to be computed with."""

    max_batch_images: int = 32
    """Images of a batch."""

    max_batch_tokens: int | None = None
    """Tokens of a batch of texts, with padding. Chosen by the device when not given."""

    max_batch_texts: int = 256
    """Texts of a batch."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            zero_is_fine = field.name == "batch_wait_ms"  # computes at once
            if value is not None and not (value > 0 or (zero_is_fine and value == 0)):
                raise ConfigError(
                    f"--limits.{field.name.replace('_', '-')} is {value}; expected a number above 0."
                )

    @property
    def max_body_bytes(self) -> int:
        """`max_body_mb` in bytes."""
        return int(self.max_body_mb * 1_000_000)
