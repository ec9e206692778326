"""Texts and images of requests, checked and made ready for the model.

An image comes as a data URI (`data:image/png;base64,...`). Nothing is fetched, and no path is read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from likewise.data.images.decode import decode_square
from likewise.data.text_encoding import is_text
from likewise.errors import RecordError
from likewise.model.model import Model
from likewise.serving.limits import Limits
from likewise.serving.refusals import Refusal

__all__ = ["Inputs", "Square", "is_data_uri"]

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""What browsers and cameras write; fewer decoders are fewer ways in."""

_HEADER = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.IGNORECASE)
_DECODERS = 2  # at a time: each may hold an image of `max_pixels`
_SHORT = 4000  # characters that are tokenized at once, without another thread


@dataclass(frozen=True, eq=False)
class Square:
    """A decoded image.

    Attributes:
        pixels: (S, S, 3) uint8, as training saw images.
        size: width and height of the image itself, upright.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]


def is_data_uri(text: str) -> bool:
    """Whether an input is meant as an image."""
    return text[:5].lower() == "data:"


class Inputs:
    """Reads what requests hold.

    Args:
        model: says how images become square, and tokenizes.
        limits: of requests.
    """

    def __init__(self, model: Model, limits: Limits) -> None:
        self._model, self._limits = model, limits
        self._uncut = None if model.tokenizer is None else model.tokenizer.uncut()
        encoder = model.network.encoder_of("image")
        self._side = 0
        if encoder is not None:
            self._fit: str = model.config["images"]["fit"]
            self._side = int(model.config["images"]["store_size"] or encoder.image_size)
        formats = Image.registered_extensions().values()  # loads Pillow's plugins
        self._formats = tuple(name for name in _FORMATS if name in set(formats))
        self._pool = ThreadPoolExecutor(_DECODERS, thread_name_prefix="decode")

    def close(self) -> None:
        """End the decoding threads."""
        self._pool.shutdown(cancel_futures=True)

    def check_count(self, count: int, param: str) -> None:
        """Refuse none, or too many inputs at once (413)."""
        if count < 1:
            raise Refusal(422, f"{param} is empty; give one or more", code="empty", param=param)
        if count > self._limits.max_inputs:
            raise Refusal(
                413,
                f"{count:,} inputs; a request may have {self._limits.max_inputs:,}. Send several requests",
                code="too_many",
                param=param,
            )

    async def tokens(
        self, texts: Sequence[str], param: str, *, cut: bool = False, places: Sequence[int] | None = None
    ) -> list[NDArray[np.int32]]:
        """Tokens of texts.

        Args:
            texts: N.
            param: the field they come from; a list's places are appended.
            cut: cut texts that are longer than the model reads, instead of refusing them.
            places: the texts' places in the field; 0 to N - 1 when None.

        Raises:
            Refusal: a text is empty, no Unicode, or too long.
        """
        names = [f"{param}[{place}]" for place in places or range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            self.check_text(text, name)
        if sum(map(len, texts)) <= _SHORT:
            return self._tokenized(texts, names, cut)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._tokenized, texts, names, cut)

    def check_text(self, text: str, param: str) -> None:
        """Refuse a text that is empty, no Unicode, or of too many characters."""
        if not text.strip():
            raise Refusal(422, "an empty text", code="empty", param=param)
        if len(text) > self._limits.max_characters:
            raise Refusal(
                422,
                f"a text of {len(text):,} characters; at most {self._limits.max_characters:,} are read",
                code="too_long",
                param=param,
            )
        if not is_text(text):
            raise Refusal(
                422, "not a valid Unicode text (a lone surrogate in it)", code="bad_text", param=param
            )

    def _tokenized(self, texts: Sequence[str], names: Sequence[str], cut: bool) -> list[NDArray[np.int32]]:
        assert self._model.tokenizer is not None
        assert self._uncut is not None
        if cut:
            return self._model.tokenizer.encode(texts)
        most = self._model.tokenizer.max_tokens
        rows = self._uncut.encode(texts)
        for name, row in zip(names, rows, strict=True):
            if len(row) > most:
                raise Refusal(
                    422,
                    f"a text of {len(row):,} tokens; this model reads {most:,}. Shorten it",
                    code="too_long",
                    param=name,
                )
        return rows

    async def squares(self, images: Sequence[str], param: str) -> list[Square | Refusal]:
        """Decoded images; a Refusal in the place of one that cannot be read."""
        loop = asyncio.get_running_loop()
        found = (
            loop.run_in_executor(self._pool, self._square, image, f"{param}[{place}]")
            for place, image in enumerate(images)
        )
        return list(await asyncio.gather(*found))

    def _square(self, uri: str, param: str) -> Square | Refusal:
        try:
            data = _bytes_of(uri)
            self._check_header(data)
            pixels, size = decode_square(data, size=self._side, fit=self._fit)
        except RecordError as error:
            return Refusal(422, f"the image is {error}", code="bad_image", param=param)
        except Refusal as refusal:
            return refusal.at(param)
        return Square(np.ascontiguousarray(pixels.transpose(1, 2, 0)), size)

    def _check_header(self, data: bytes) -> None:
        """Refuse other formats and large images before a pixel is decoded."""
        try:
            width, height = Image.open(io.BytesIO(data), formats=self._formats).size
        except UnidentifiedImageError:
            raise Refusal(
                422, f"not an image; expected one of {', '.join(self._formats)}", code="bad_image"
            ) from None
        except Exception as error:  # noqa: BLE001 - Pillow raises nearly anything on damaged input
            raise Refusal(422, f"a damaged image: {error}", code="bad_image") from None
        if width * height > self._limits.max_pixels:
            raise Refusal(
                422,
                f"an image of {width} x {height} pixels; at most {self._limits.max_pixels:,} are decoded",
                code="too_large",
            )


def _bytes_of(uri: str) -> bytes:
    header = _HEADER.match(uri[:100])
    if header is None:
        raise Refusal(
            422,
            "expected an image as data:image/png;base64,... (addresses are not fetched, and files not read)",
            code="bad_image",
        )
    try:
        return base64.b64decode(uri[header.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(422, f"not base64: {error}", code="bad_image") from None
