"""A text file of sentences, one a line."""

from __future__ import annotations

from likewise.data.cells import clean_text
from likewise.data.config import DataConfig
from likewise.data.files import name_of, read_whole
from likewise.data.record import BadRecord, Problem, Record, Source
from likewise.data.text_encoding import decoded, split_lines
from likewise.errors import RecordError

__all__ = ["source_of_sentences"]


def source_of_sentences(addresses: list[str], config: DataConfig, splits: dict[str, str]) -> Source:
    """Each line that is not blank is a record; .gz, .bz2, .xz and .zst are unpacked."""
    source = Source(
        kind="text file of sentences",
        address=config.source,
        records=[],
        columns={"text": "line"},
        columns_found=["line"],
        unread={"image_root": "sentences have no images", "text_separator": "each line is one sentence"},
        splits_from="files" if splits else None,
    )
    for address in addresses:
        name, split = name_of(address), splits.get(address)
        text = decoded(read_whole(address, decompress=True), config.encoding)
        for number, line in enumerate(split_lines(text), start=1):
            if not line.strip():
                continue  # a blank line separates paragraphs; it is not an empty sentence
            place = f"{name}:{number}"
            try:
                texts = (clean_text(line, config),)
            except RecordError as error:
                source.problems.append(Problem("row", BadRecord(place, place, str(error)), split))
                continue
            source.records.append(Record(id=place, place=place, text=texts, split=split))
    return source
