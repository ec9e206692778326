"""`likewise index SOURCE --model RUN --out photos.index`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from likewise.cli.files.image_records import say_set_aside
from likewise.data import DataConfig
from likewise.errors import ConfigError
from likewise.messages import plain_warnings, printed_line
from likewise.option_flags import check_counts, parse_flags, source_first
from likewise.runs.open import open_model
from likewise.search.approximate import Choice
from likewise.search.build import IndexOptions, Update, update_index

__all__ = ["IndexCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class IndexCommand:
    """Embed images (or sounds, or texts) into an index that can be searched. On an index that is there: embed
    what is new or has changed, drop what is gone; killed at any instant, it stays as it was."""

    data: DataConfig
    """How the source is read; SOURCE may stand first instead of --data SOURCE."""

    model: str
    """A run's folder, a model folder or a hub name."""

    out: str
    """The folder of the index, such as photos.index."""

    what: Literal["images", "texts", "audio"] | None = None
    """Images, texts or sounds (audio); images or sounds where the model reads them."""

    dtype: Literal["float32", "float16"] | None = None
    """Of the vectors on the disk; that of the index there, or float32. float16 takes half the space and costs
    a little precision."""

    thumbnails: int | None = None
    """Longer side of the thumbnails in pixels, 0 for none; that of the index there, or 192, when not
    given. Another one embeds everything again."""

    approximate: Choice = "auto"
    """Search approximately, by faiss (pip install 'likewise[index]'); auto: above 300,000 rows. Its recall is
    measured and shown. Searches with a filter stay exact."""

    least_recall: float = 0.95
    """Share of the ten best rows that an approximate search must find."""

    lance: str | None = None
    """Copy the index into LanceDB at this address too (a folder, s3://bucket/photos, ...), to be searched as
    lance:ADDRESS; needs pip install 'likewise[lance]'."""

    batch_size: int = 256
    """Images or texts a forward pass."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    quiet: bool = False
    """Show no progress."""


def run(arguments: Sequence[str]) -> None:
    """Build or update, and say what was done."""
    options = parse_flags(IndexCommand, source_first(arguments), prog="likewise index")
    check_counts(options, "batch_size")
    if options.thumbnails is not None and options.thumbnails < 0:
        raise ConfigError(f"--thumbnails is {options.thumbnails}; expected a side in pixels, or 0 for none.")
    if not 0 < options.least_recall <= 1:
        raise ConfigError(f"--least-recall is {options.least_recall}; expected above 0, and at most 1.")
    model = open_model(options.model, options.device)
    with plain_warnings():
        update = update_index(
            model,
            options.data,
            options.out,
            IndexOptions(
                what=options.what,
                dtype=options.dtype,
                thumbnail_side=options.thumbnails,
                batch_size=options.batch_size,
                approximate=options.approximate,
                least_recall=options.least_recall,
            ),
            progress=not options.quiet and sys.stderr.isatty(),
            model_path=os.path.abspath(options.model) if os.path.exists(options.model) else options.model,
        )
    _say(update)
    if options.lance is not None:
        from likewise.search.lance import write_lance

        write_lance(update.index, options.lance)
        print(printed_line(f"copied it to {options.lance}"))


def _say(update: Update) -> None:
    index = update.index
    say_set_aside(update.bad, index.manifest.noun)
    for note in update.notes:
        print(printed_line(f"note: {note}."), file=sys.stderr)
    print(
        f"{index.size:,} {index.manifest.noun} of {index.dimension} dimensions ({index.manifest.dtype}): "
        f"{update.added:,} embedded, {update.kept:,} kept, {update.dropped:,} dropped"
    )
    print(printed_line(f"wrote {index.folder} ({_num_bytes(index.folder) / 1e6:,.1f} MB)"))


def _num_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
