"""Everything a report shows, as plain arrays and dicts.

N images, M texts, D embedding width, S side of the thumbnails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.model.explanations.explanation import Explanation

__all__ = ["ExplainedPair", "ReportInputs", "TaskExample"]


@dataclass(frozen=True, kw_only=True)
class ExplainedPair:
    """A caption, the image that ranks first for it, and the attention maps of its words."""

    caption: str
    image: NDArray[np.uint8]
    """(3, S, S) RGB."""
    right: bool
    """Whether the caption belongs to the image."""
    explanation: Explanation


@dataclass(frozen=True, kw_only=True)
class TaskExample:
    """What a model said of a text and one or two images."""

    text: str
    """The question, statement or phrase."""
    images: Sequence[NDArray[np.uint8]]
    """(3, S, S) RGB each."""
    said: str
    """What the model says, such as "yes (87 %)"."""
    true: str
    """What is right."""
    right: bool
    """Whether the model is."""
    maps: Sequence[NDArray[np.float32]] = ()
    """(g, g) of each image, where the model looked; none where that is not known."""


@dataclass(frozen=True, kw_only=True)
class ReportInputs:
    """Everything a report can show. A section whose inputs are None or empty says why it is left out."""

    title: str
    """Heading of the report, such as "CLIP on scenes"."""
    method: str | None = None
    """Name of the method."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Options, nested as in config.toml."""
    metrics: Sequence[Mapping[str, Any]] = ()
    """Lines of metrics.jsonl, oldest first: `kind` ("train" or "evaluation"), `step`, figures by name."""
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Figures on the run's own validation data by task, as in results.json."""
    others: Sequence[Mapping[str, Any]] = ()
    """Figures on other data: the entries of `others` in results.json."""
    data_summary: Mapping[str, Any] = field(default_factory=dict)
    """Counts, columns and fingerprint of the data; any JSON value."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """The model's size, devices, precision, versions of libraries."""
    bad_records: Sequence[Mapping[str, Any]] = ()
    """Records set aside: `id`, `place`, `reason`."""
    shown_part: str = "validation"
    """Part of the data that the arrays below come from."""
    image_embeddings: NDArray[np.float32] | None = None
    """(N, D)."""
    sound_embeddings: NDArray[np.float32] | None = None
    """(N, D) of the images' sounds, where the model embeds both."""
    text_embeddings: NDArray[np.float32] | None = None
    """(M, D)."""
    thumbnails: NDArray[np.uint8] | None = None
    """(N, 3, S, S) RGB."""
    sounds: NDArray[np.int16] | None = None
    """(N, L) the images' sounds; or sounds in place of images, whose thumbnails are their spectrograms."""
    sound_rate: int = 0
    """Samples a second of them."""
    captions: Sequence[str] | None = None
    """M texts."""
    caption_image: NDArray[np.int64] | None = None
    """(M,) image of each text; text i belongs to image i when None and N = M."""
    image_groups: NDArray[np.int64] | None = None
    """(N,) equal for images of the same thing; each image is its own group when None."""
    text_groups: NDArray[np.int64] | None = None
    """(M,) groups of the texts; those of their images when None."""
    labels: NDArray[np.int64] | None = None
    """(N,) class of each image, negative where unknown."""
    label_names: Sequence[str] | None = None
    """Names of the classes; their numbers when None."""
    domains: NDArray[np.int64] | None = None
    """(N,) domain of each image, negative where unknown; few-shot episodes stay inside one."""
    domain_names: Sequence[str] | None = None
    """Names of the domains; their numbers when None."""
    generated_captions: Sequence[str] | None = None
    """N captions that the model wrote."""
    references: Sequence[Sequence[str]] | None = None
    """The captions that people wrote of each of the N images."""
    caption_maps: Mapping[int, Explanation] = field(default_factory=dict)
    """Where the model looked when it wrote the captions of some images, by their rows."""
    explanations: Sequence[ExplainedPair] = ()
    """Of models with a fusion encoder: right and wrong pairs with their attention maps."""
    examples: Mapping[str, Sequence[TaskExample]] = field(default_factory=dict)
    """By the title of a task on images and texts: some that the model got right, some that it got wrong."""

    def __post_init__(self) -> None:
        for name in ("caption_image", "image_groups", "text_groups", "labels", "domains"):
            if getattr(self, name) is not None:  # lists and tensors are welcome too
                object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.int64))
        for count, names in (
            (
                self.num_images,
                (
                    "thumbnails",
                    "sounds",
                    "sound_embeddings",
                    "labels",
                    "image_groups",
                    "domains",
                    "generated_captions",
                    "references",
                ),
            ),
            (self.num_texts, ("captions", "caption_image", "text_groups")),
        ):
            for name in names:
                rows = getattr(self, name)
                if rows is not None and len(rows) != count:
                    raise ValueError(f"{name}: {len(rows)} rows where {count} are expected")
        if self.thumbnails is not None and (self.thumbnails.ndim != 4 or self.thumbnails.shape[1] != 3):
            raise ValueError(f"thumbnails: expected (N, 3, S, S), got {self.thumbnails.shape}")
        images, texts = self.image_embeddings, self.text_embeddings
        if images is not None and texts is not None and images.shape[1] != texts.shape[1]:
            raise ValueError(f"images have {images.shape[1]} dimensions, texts {texts.shape[1]}")
        if self.caption_image is not None and self.num_texts and self.num_images:
            low, high = int(np.min(self.caption_image)), int(np.max(self.caption_image))
            if low < 0 or high >= self.num_images:
                raise ValueError(f"caption_image: {low} to {high} are not all among {self.num_images} images")
        if self.labels is not None and self.label_names is not None and len(self.labels):
            greatest = int(np.max(self.labels))
            if greatest >= len(self.label_names):
                raise ValueError(f"labels: class {greatest} has no name among {len(self.label_names)}")

    @property
    def num_images(self) -> int:
        """N, 0 without images."""
        return _num_rows(self.image_embeddings, self.thumbnails)

    @property
    def num_texts(self) -> int:
        """M, 0 without texts."""
        return _num_rows(self.text_embeddings, self.captions)

    @property
    def has_labels(self) -> bool:
        """Whether two or more images have a known class."""
        return self.labels is not None and int((self.labels >= 0).sum()) >= 2

    def labelled_embeddings(self) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(N, D) embeddings and (N,) classes of the images.

        Raises:
            ValueError: fewer than two images have a known class.
        """
        if self.image_embeddings is None or self.labels is None or not self.has_labels:
            raise ValueError("The data has no class labels.")
        return self.image_embeddings, self.labels

    def shown_thumbnails(self) -> NDArray[np.uint8]:
        """(N, 3, S, S) RGB.

        Raises:
            ValueError: there are none.
        """
        if self.thumbnails is None:
            raise ValueError("No images were given.")
        return self.thumbnails

    def image_of_text(self) -> NDArray[np.int64] | None:
        """(M,) the image of each text, None where unknown."""
        if self.caption_image is None and self.num_texts == self.num_images:
            return np.arange(self.num_texts)
        return self.caption_image

    def groups_of_images(self) -> NDArray[np.int64]:
        """(N,) groups; each image its own when none were given."""
        return np.arange(self.num_images) if self.image_groups is None else self.image_groups

    def groups_of_texts(self) -> NDArray[np.int64] | None:
        """(M,) groups, of the texts' images when none were given; None where neither is known."""
        if self.text_groups is not None:
            return self.text_groups
        image_of_text = self.image_of_text()
        return None if image_of_text is None else self.groups_of_images()[image_of_text]

    def label_name(self, label: int) -> str:
        """Name of a class, its number where it has none, "unlabelled" below 0."""
        if label < 0:
            return "unlabelled"
        return f"class {label}" if self.label_names is None else str(self.label_names[label])

    def image_name(self, row: int) -> str:
        """What an image shows: its class, else its first caption, else its number."""
        if self.labels is not None and self.has_labels:
            return self.label_name(int(self.labels[row]))
        image_of_text = self.image_of_text()
        if self.captions is not None and image_of_text is not None:
            own = np.flatnonzero(image_of_text == row)
            if len(own):
                return self.captions[int(own[0])]
        return f"{'image' if self.sounds is None else 'sound'} {row}"

    def several_domains(self) -> NDArray[np.int64] | None:
        """(N,) domains where there are two or more, else None."""
        if self.domains is None or len(np.unique(self.domains[self.domains >= 0])) < 2:
            return None
        return self.domains

    def domain_name(self, row: int) -> str | None:
        """Name of an image's domain, its number where it has none; None where it is unknown."""
        if self.domains is None or self.domains[row] < 0:
            return None
        domain = int(self.domains[row])
        return f"domain {domain}" if self.domain_names is None else str(self.domain_names[domain])


def _num_rows(*arrays: Sequence[Any] | NDArray[Any] | None) -> int:
    """Rows of the first array that was given."""
    return next((len(rows) for rows in arrays if rows is not None), 0)
