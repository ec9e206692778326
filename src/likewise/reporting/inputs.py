"""What a report is made of: arrays and dicts, wherever they come from.

N images, M texts, D dimension, s side of the thumbnails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.model.grad_cam import Explanation

__all__ = ["ExplainedPair", "ReportInputs"]


@dataclass(frozen=True, kw_only=True)
class ExplainedPair:
    """A caption, the picture that the model found for it, and where its words look there."""

    caption: str
    picture: NDArray[np.uint8]
    """(3, s, s) RGB."""
    right: bool
    """Whether the picture is one that the caption belongs to."""
    explanation: Explanation


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """Everything a report can show. What is None or empty is left out of it, with a line that says so."""

    title: str
    """The report's heading, such as "CLIP on scenes"."""
    method: str | None = None
    """The method's name in the summary."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options, nested as in config.toml."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """Lines of metrics.jsonl, oldest first: `kind` ("train" or "evaluation"), `step`, figures by name."""
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Task to figures, as in results.json; a figure's chance level lies behind `chance_` and its name."""
    data_summary: Mapping[str, Any] = field(default_factory=dict)
    """What the data was: counts, columns, fingerprint; anything JSON can hold."""
    bad_records: Sequence[Mapping[str, Any]] = ()
    """What was set aside: `id`, `place`, `reason`."""
    shown_part: str = "validation"
    """Which part of the data the arrays below are."""
    image_embeddings: NDArray[np.float32] | None = None
    """(N, D)."""
    text_embeddings: NDArray[np.float32] | None = None
    """(M, D)."""
    thumbnails: NDArray[np.uint8] | None = None
    """(N, 3, s, s) RGB."""
    captions: Sequence[str] | None = None
    """M texts."""
    caption_image: NDArray[np.int64] | None = None
    """(M,) the image each text belongs to; the i-th to the i-th when None and N = M."""
    image_groups: NDArray[np.int64] | None = None
    """(N,) equal numbers are the same thing; each image its own when None."""
    text_groups: NDArray[np.int64] | None = None
    """(M,) equal to its images' groups; taken from `caption_image` when None."""
    labels: NDArray[np.int64] | None = None
    """(N,) class of each image, negative where none is known."""
    label_names: Sequence[str] | None = None
    """Names of the classes; their numbers when None."""
    domains: NDArray[np.int64] | None = None
    """(N,) domain of each image, negative where none is known; episodes stay inside one."""
    domain_names: Sequence[str] | None = None
    """Names of the domains; their numbers when None."""

    explanations: Sequence[ExplainedPair] = ()
    """Of models with a fusion encoder: pairs right and wrong, with the maps of their words."""

    def __post_init__(self) -> None:
        for name, count in (("thumbnails", self.num_images), ("labels", self.num_images)):
            _check_rows(name, getattr(self, name), count)
        _check_rows("image_groups", self.image_groups, self.num_images)
        _check_rows("domains", self.domains, self.num_images)
        for name in ("captions", "caption_image", "text_groups"):
            _check_rows(name, getattr(self, name), self.num_texts)
        if self.thumbnails is not None and (self.thumbnails.ndim != 4 or self.thumbnails.shape[1] != 3):
            raise ValueError(f"thumbnails: expected (N, 3, s, s), got {self.thumbnails.shape}")
        images, texts = self.image_embeddings, self.text_embeddings
        if images is not None and texts is not None and images.shape[1] != texts.shape[1]:
            raise ValueError(f"images have {images.shape[1]} dimensions, texts {texts.shape[1]}")
        if self.caption_image is not None and self.num_texts and self.num_images is not None:
            low, high = int(np.min(self.caption_image)), int(np.max(self.caption_image))
            if low < 0 or high >= self.num_images:
                raise ValueError(f"caption_image: {low} to {high} are not all among {self.num_images} images")
        if self.labels is not None and self.label_names is not None and len(self.labels):
            greatest = int(np.max(self.labels))
            if greatest >= len(self.label_names):
                raise ValueError(f"labels: class {greatest} has no name among {len(self.label_names)}")

    @property
    def num_images(self) -> int | None:
        """N, None without any image."""
        for rows in (self.image_embeddings, self.thumbnails):
            if rows is not None:
                return len(rows)
        return None

    @property
    def num_texts(self) -> int | None:
        """M, None without any text."""
        for rows in (self.text_embeddings, self.captions):
            if rows is not None:
                return len(rows)
        return None

    def image_of_text(self) -> NDArray[np.int64] | None:
        """(M,) the image each text belongs to, None when that is not known."""
        if self.caption_image is not None:
            return np.asarray(self.caption_image, dtype=np.int64)
        if self.num_texts is not None and self.num_texts == self.num_images:
            return np.arange(self.num_texts)
        return None

    def groups_of_images(self) -> NDArray[np.int64]:
        """(N,) groups; each image its own when none were given."""
        if self.image_groups is not None:
            return np.asarray(self.image_groups, dtype=np.int64)
        return np.arange(self.num_images or 0)

    def groups_of_texts(self) -> NDArray[np.int64] | None:
        """(M,) groups, of the texts' images when none were given; None when neither is known."""
        if self.text_groups is not None:
            return np.asarray(self.text_groups, dtype=np.int64)
        image_of_text = self.image_of_text()
        return None if image_of_text is None else self.groups_of_images()[image_of_text]

    def label_name(self, label: int) -> str:
        """The name of a class, its number when it has none, "unlabelled" below 0."""
        if label < 0:
            return "unlabelled"
        return f"class {label}" if self.label_names is None else str(self.label_names[label])

    def several_domains(self) -> NDArray[np.int64] | None:
        """(N,) domains where there are two or more, else None."""
        if self.domains is None or len(np.unique(self.domains[self.domains >= 0])) < 2:
            return None
        return np.asarray(self.domains, dtype=np.int64)

    def domain_name(self, index: int) -> str | None:
        """The name of an image's domain, its number when it has none; None when it is not known."""
        if self.domains is None or self.domains[index] < 0:
            return None
        domain = int(self.domains[index])
        return f"domain {domain}" if self.domain_names is None else str(self.domain_names[domain])

    def has_labels(self) -> bool:
        """Whether two images or more have a known class."""
        return self.labels is not None and int((np.asarray(self.labels) >= 0).sum()) >= 2


def _check_rows(name: str, rows: Sequence[Any] | NDArray[Any] | None, count: int | None) -> None:
    if rows is not None and len(rows) != count:
        raise ValueError(f"{name}: {len(rows)} rows where {count} are expected")
