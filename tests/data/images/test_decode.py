"""Unusual pixels: 16 bits with a transparent color, large images in strips."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from likewise.data.images import decode


def png(depth: int, color: int, rows: np.ndarray, transparent: tuple[int, ...]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    kind = np.uint8 if depth == 8 else ">u2"
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], depth, color, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.astype(kind).tobytes() for row in rows))
    parts = [
        chunk(b"IHDR", header),
        chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)),
        chunk(b"IDAT", pixels),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_color_is_white_at_any_depth(depth: int) -> None:
    full = 100 if depth == 8 else 100 * 257
    grey = np.full((32, 32), full)
    grey[:, :16] = 0
    rgb = np.full((32, 32, 3), full)
    rgb[:, :16] = (0, 0, 7)
    for data in (png(depth, 0, grey, (0,)), png(depth, 2, rgb, (0, 0, 7))):
        square, _ = decode.decode_square(data, size=32, fit="crop")
        assert square[:, 0, 0].tolist() == [255] * 3
        assert square[:, 0, 31].tolist() == [100] * 3
        opened = np.asarray(decode.upright_rgb(Image.open(io.BytesIO(data))))
        assert np.array_equal(opened.transpose(2, 0, 1), square)


@pytest.mark.parametrize("mode", ["I;16", "I", "F", "RGBA", "LA", "PA", "La"])
def test_strips_make_no_difference(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (37, 20, 4), dtype=np.uint8)
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    if mode in deep:
        image = Image.fromarray((noise[..., 0].astype(np.int64) * 200).astype(deep[mode]))
    else:
        image = Image.fromarray(noise).convert({"La": "LA"}.get(mode, mode)).convert(mode)
    whole = np.asarray(decode.to_rgb(image))
    monkeypatch.setattr(decode, "_STRIP_PIXELS", 100)
    assert np.array_equal(np.asarray(decode.to_rgb(image)), whole)
    assert len(list(decode._strips(image))) == 8
