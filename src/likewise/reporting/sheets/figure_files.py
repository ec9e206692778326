"""Files of figures that show images side by side."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from likewise.atomic_files import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save_figure"]


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure without axes, whole or not at all.

    Matplotlib's warnings of characters that the font lacks are left out: `find_font` remarks on them.
    """
    for axis in figure.axes:
        axis.axis("off")
    with warnings.catch_warnings(), written_whole(path) as beside:
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from", category=UserWarning)
        figure.savefig(beside, dpi=110, format=path.suffix[1:])
