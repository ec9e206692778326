"""One part of the data, in columns, ready to be cut into batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from likewise.data.images.decode import decode_upright
from likewise.data.images.stores import Pixels
from likewise.data.record import ImageRef
from likewise.errors import SourceError

__all__ = ["Dataset"]

T = TypeVar("T")
S = TypeVar("S", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """N records side by side. Parts that the data does not have are None.

    Attributes:
        ids: N names, unique within the source.
        groups: (N,) int64; equal numbers mean the same thing.
        texts: the texts of each record.
        labels: (N,) int64 into `label_names`, -1 where a record has none.
        label_names: the classes, the same list in every part.
        domains: (N,) int64 into `domain_names`.
        domain_names: the domains.
        refs: the ways to the encoded images.
        content: (N,) uint64 hashes of the encoded images (of the pixels where they are drawn in memory).
        pixels: the stored squares, and `rows` (N,) int64, each record's row in them.
    """

    ids: list[str]
    groups: NDArray[np.int64]
    texts: list[tuple[str, ...]] | None = None
    labels: NDArray[np.int64] | None = None
    label_names: list[str] | None = None
    domains: NDArray[np.int64] | None = None
    domain_names: list[str] | None = None
    refs: list[ImageRef] | None = None
    content: NDArray[np.uint64] | None = None
    pixels: Pixels | None = None
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def store_size(self) -> int | None:
        """S, the side of the stored squares in pixels."""
        return None if self.pixels is None else self.pixels.size

    @cached_property
    def fingerprint(self) -> str:
        """A name for this data, the same on every machine: of its parts in order, and what is one group.

        Groups that follow from images or texts, and domains where there are none, leave no trace in it.
        """
        images = None if self.content is None else self.content.tolist()
        parts = [self.ids, images, self.texts, _named(self.labels, self.label_names)]
        groups = _renumbered(self.groups.tolist())
        texts = self.texts or [()] * len(self)
        own = images or [text or id_ for text, id_ in zip(texts, self.ids, strict=True)]
        if groups != _renumbered(own):
            parts.append({"groups": groups})
        if self.domains is not None:
            parts.append({"domains": _named(self.domains, self.domain_names)})
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()

    def images(self, indices: Sequence[int] | NDArray[np.int64] | Tensor) -> Tensor:
        """Stored pictures.

        Args:
            indices: n places in this dataset, in any order, repeats allowed.

        Returns:
            (n, 3, S, S) uint8, upright RGB, contiguous.
        """
        if self.pixels is None or self.rows is None:
            raise SourceError("this data was prepared without images")
        wanted = self.rows[np.asarray(indices, dtype=np.int64)]
        size = self.pixels.size
        out = torch.empty((len(wanted), 3, size, size), dtype=torch.uint8)
        self.pixels.take(wanted, out.numpy())
        return out

    def original(self, index: int) -> Image.Image:
        """The picture as it came, upright RGB; of drawn data the stored square."""
        if self.refs is not None:
            return decode_upright(self.refs[index].read())
        return Image.fromarray(self.images([index])[0].permute(1, 2, 0).contiguous().numpy())

    def joined(self, other: Dataset) -> Dataset:
        """The records of this part, then those of another part of the same source."""
        if other.pixels is not self.pixels or other.label_names != self.label_names:
            raise ValueError("only parts of one source can be joined")
        return replace(
            self,
            ids=self.ids + other.ids,
            groups=np.concatenate([self.groups, other.groups]),
            texts=_listed(self.texts, other.texts),
            labels=_stacked(self.labels, other.labels),
            domains=_stacked(self.domains, other.domains),
            refs=_listed(self.refs, other.refs),
            content=_stacked(self.content, other.content),
            rows=_stacked(self.rows, other.rows),
        )

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """The records at these places, in this order. Pictures are shared, not copied."""
        chosen = np.asarray(indices, dtype=np.int64)
        places = [int(i) for i in chosen]
        return replace(
            self,
            ids=[self.ids[i] for i in places],
            groups=self.groups[chosen],
            texts=None if self.texts is None else [self.texts[i] for i in places],
            labels=None if self.labels is None else self.labels[chosen],
            domains=None if self.domains is None else self.domains[chosen],
            refs=None if self.refs is None else [self.refs[i] for i in places],
            content=None if self.content is None else self.content[chosen],
            rows=None if self.rows is None else self.rows[chosen],
        )


def _named(numbers: NDArray[np.int64] | None, names: list[str] | None) -> list[str | None] | None:
    """The names that numbers stand for, None for -1."""
    if numbers is None:
        return None
    return [(names or [])[i] if i >= 0 else None for i in numbers]


def _renumbered(values: Sequence[Hashable]) -> list[int]:
    """Equal values by the number of the first of them: which ones are equal, whatever they are called."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(value, len(first)) for value in values]


def _listed(first: list[T] | None, second: list[T] | None) -> list[T] | None:
    return None if first is None or second is None else first + second


def _stacked(first: NDArray[S] | None, second: NDArray[S] | None) -> NDArray[S] | None:
    return None if first is None or second is None else np.concatenate([first, second])
