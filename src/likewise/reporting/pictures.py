"""Pictures inside the page: thumbnails as data URIs."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["picture_uri"]

_LONGEST_SIDE = 160


def picture_uri(thumbnail: NDArray[np.uint8]) -> str:
    """A (3, s, s) RGB thumbnail as a `data:` address; larger than 160 pixels it is made smaller."""
    picture = Image.fromarray(np.ascontiguousarray(np.moveaxis(thumbnail, 0, -1)))
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    buffer = io.BytesIO()
    # full colour resolution: at this size halved chroma shows on drawings
    picture.save(buffer, format="JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
