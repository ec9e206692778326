"""Parts of embeddings, written by one of several processes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from likewise.cli.files.image_records import say_set_aside
from likewise.data import DataConfig
from likewise.data.record import BadRecord
from likewise.errors import ConfigError
from likewise.messages import plain_warnings, printed_line
from likewise.option_flags import check_counts
from likewise.runs.open import OWN_DATA, RunData, open_model
from likewise.search.embedder import model_fingerprint
from likewise.search.rows.listing import What, list_entries
from likewise.search.rows.part_folder import embed_parts
from likewise.search.rows.parts import PartHeader
from likewise.search.rows.processes import this_process

__all__ = ["write_parts"]

_BATCH = 256


def write_parts(options: Any, folder: Path) -> None:
    """Embed this process's share of a source into a folder.

    Args:
        options: of `likewise embed`.
        folder: gets the parts.

    Raises:
        ConfigError: an option has no effect, or the folder cannot be written.
    """
    check_counts(options, "rows_a_part")
    if options.part != "all":
        raise ConfigError(f"--part {options.part} has no effect with --out {options.out}; leave it out.")
    process = this_process()
    device = options.device
    if device == "auto" and process.count > 1:
        device = _own_device(process.local)
    model = open_model(options.model, device)
    what: What = options.what or ("audio" if model.column == "audio" else "images")
    model.needs(f"encode_{what}")
    data: DataConfig = options.data
    if data.source == OWN_DATA:
        data = RunData(model, options.model).own_config(data)
    listing = list_entries(data, what)
    header = PartHeader(
        fingerprint=model_fingerprint(model),
        dimension=model.dim,
        what=what,
        thumbnail_side=max(0, options.thumbnails) if what == "images" else 0,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {options.out} cannot be written ({error.strerror}).") from error
    bad: list[BadRecord] = []
    with plain_warnings():
        written = [
            was_there
            for _, was_there in embed_parts(
                model,
                listing,
                folder,
                header,
                process=process.number,
                num_processes=process.count,
                rows_a_part=options.rows_a_part,
                batch_size=_BATCH,
                bad=bad,
            )
        ]
    if process.number == 0:
        bad += listing.bad
        for note in listing.notes:
            print(printed_line(f"note: {note}."), file=sys.stderr)
    say_set_aside(bad, what)
    print(
        f"process {process.number + 1} of {process.count}: wrote {written.count(False):,} parts into "
        f"{printed_line(folder)}, {written.count(True):,} were there"
    )


def _own_device(local: int) -> str:
    """The GPU of a process by its number on the machine, or the processor."""
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{local % count}" if count else "cpu"
