"""The report of a run: one self-contained HTML file, without scripts and requests.

The template escapes all text; a content policy in the page forbids requests and scripts as well.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from likewise.atomic_files import written_whole
from likewise.methods.on_sounds import in_sounds
from likewise.metrics.inputs import as_matrix
from likewise.reporting.confusions import find_confusions
from likewise.reporting.curves import training_charts
from likewise.reporting.embedding_map import find_maps, legend_mark
from likewise.reporting.examples.attention_maps import find_attention_maps
from likewise.reporting.examples.class_galleries import find_clusters, find_episodes
from likewise.reporting.examples.galleries import find_neighbours, find_retrievals
from likewise.reporting.examples.generated_captions import find_captions
from likewise.reporting.examples.task_examples import find_examples
from likewise.reporting.examples.text_pairs import find_text_pairs
from likewise.reporting.formatting import title_of
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.roc import find_roc
from likewise.reporting.sound_words import template_in_sounds
from likewise.reporting.summary import Headline, headlines, reads_images, reads_sounds, summary, warning
from likewise.reporting.tables import key_tables, reasons, result_tables
from likewise.reporting.transfer import find_transfer

__all__ = ["render_report", "write_report"]

# Sections by the name of their content, with the words of their links.
_TITLES = {
    "results": "Results",
    "curves": "Training",
    "transfer": "Domains",
    "map": "Map",
    "neighbours": "Neighbours",
    "text_pairs": "Pairs",
    "retrievals": "Retrievals",
    "captions": "Captions",
    "attention": "Attention maps",
    "examples": "Examples",
    "confusions": "Confusions",
    "roc": "Verification",
    "episodes": "Episodes",
    "clusters": "Clusters",
    "data": "Data",
    "settings": "Settings",
}

_OF_IMAGES = ("retrievals", "attention", "confusions", "roc", "episodes", "clusters")
"""Sections on images, which a report of texts alone does not even miss."""

_MAX_BAD_RECORDS = 50
_MAX_KEYS = 25


def write_report(inputs: ReportInputs, path: str | Path) -> None:
    """Write a report.

    Args:
        inputs: what it shows.
        path: the HTML file; an existing file is replaced whole or not at all.

    Raises:
        IsADirectoryError: the path is a folder.
        ValueError: an embedding that is not finite.
    """
    path = Path(path)
    if path.is_dir():  # before all the work
        raise IsADirectoryError(errno.EISDIR, "expected a file, and this is a folder", str(path))
    page = render_report(inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        beside.write_text(page, encoding="utf-8")


def render_report(inputs: ReportInputs) -> str:
    """The report as HTML; see `write_report`."""
    for name in ("image_embeddings", "text_embeddings"):
        if getattr(inputs, name) is not None:
            as_matrix(getattr(inputs, name), name)
    folder = files("likewise.reporting")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    source = folder.joinpath("report.html").read_text(encoding="utf-8")
    of_sounds = reads_sounds(inputs)
    template = environment.from_string(template_in_sounds(source) if of_sounds else source)
    sections: dict[str, Callable[[ReportInputs], Any]] = {
        "results": _results,
        "curves": _curves,
        "transfer": find_transfer,
        "map": find_maps,
        "neighbours": find_neighbours,
        "text_pairs": find_text_pairs,
        "retrievals": find_retrievals,
        "captions": find_captions,
        "attention": find_attention_maps,
        "examples": find_examples,
        "confusions": find_confusions,
        "roc": find_roc,
        "episodes": find_episodes,
        "clusters": find_clusters,
        "data": _data,
        "settings": _settings,
    }
    contents = {name: _content(find, inputs) for name, find in sections.items()}
    unsuitable = ("text_pairs",) if reads_images(inputs) else _OF_IMAGES
    left_out: dict[str, list[str]] = {}
    for name, content in contents.items():
        if isinstance(content, str) and name not in unsuitable:
            left_out.setdefault(content, []).append(_TITLES[name])
    return template.render(
        title=inputs.title,
        summary=in_sounds(summary(inputs)) if of_sounds else summary(inputs),
        warning=warning(inputs),
        headlines=_headlines(inputs),
        shown_part=inputs.shown_part,
        # The style sheet is ours, so it is not escaped.
        style=Markup(folder.joinpath("report.css").read_text(encoding="utf-8")),
        legend_mark=legend_mark,
        left_out=left_out,
        links=[(name, _TITLES[name]) for name in _TITLES if not isinstance(contents[name], str)],
        has_neighbours="accuracy" in inputs.results.get("neighbours", {}),
        **contents,
    )


def _content(find: Callable[[ReportInputs], Any], inputs: ReportInputs) -> Any:
    """A section's content; where the inputs lack something, the reason as a sentence."""
    try:
        return find(inputs)
    except ValueError as error:  # data that cannot be measured
        reason = str(error).rstrip(".")
        return f"{reason[0].upper()}{reason[1:]}."


def _headlines(inputs: ReportInputs) -> list[Headline]:
    found = headlines(inputs.results, inputs.method)
    return [replace(one, name=in_sounds(one.name)) for one in found] if reads_sounds(inputs) else found


def _results(inputs: ReportInputs) -> Any:
    tables = result_tables(inputs.results, inputs.others)
    if reads_sounds(inputs):
        tables = [
            replace(
                table,
                rows=[replace(row, name=in_sounds(row.name)) for row in table.rows],
                counts=in_sounds(table.counts),
            )
            for table in tables
        ]
    return tables or "The run has not been evaluated."


def _curves(inputs: ReportInputs) -> Any:
    charts = training_charts(inputs.metrics)
    if reads_sounds(inputs):
        charts = [Markup(template_in_sounds(chart)) for chart in charts]
    return charts or "Nothing was logged while training."


def _settings(inputs: ReportInputs) -> Any:
    tables = key_tables(inputs.settings, "General")
    if not tables and not inputs.facts:
        return "No settings were given."
    return {"tables": tables, "facts": key_tables(inputs.facts, "Model and software")}


def _data(inputs: ReportInputs) -> Any:
    if not inputs.data_summary and not inputs.bad_records:
        return "No description of the data was given."
    fingerprint = inputs.data_summary.get("fingerprint")
    if isinstance(fingerprint, Mapping):  # of each part
        fingerprint = ", ".join(f"{part} {mark}" for part, mark in fingerprint.items()) or None
    # Only the first level has names in words: deeper ones are names of classes and columns.
    unsuitable = () if reads_images(inputs) else ("fit", "store_size", "picture_sizes")
    values = {title_of(name): value for name, value in inputs.data_summary.items() if name not in unsuitable}
    return {
        "tables": key_tables(values, "Overview", _MAX_KEYS),
        "fingerprint": fingerprint,
        "num_bad": len(inputs.bad_records),
        "reasons": reasons(inputs.bad_records),
        "bad": [
            {name: str(record.get(name, "")) for name in ("id", "place", "reason")}
            for record in inputs.bad_records[:_MAX_BAD_RECORDS]
        ],
    }
