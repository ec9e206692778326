"""One self-contained HTML file about a run: no script, no request, readable for years.

All text goes through the template's escaping; a content policy in the page forbids requests and scripts too.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from likewise.atomic_files import written_whole
from likewise.metrics.collapse import deviation
from likewise.metrics.inputs import as_matrix
from likewise.reporting.attention_maps import find_looks
from likewise.reporting.class_galleries import find_clusters, find_episodes
from likewise.reporting.confusions import find_confusions
from likewise.reporting.curves import training_charts
from likewise.reporting.embedding_map import MAP_ITEMS, draw_maps, legend_mark
from likewise.reporting.formatting import name_of
from likewise.reporting.galleries import (
    image_text,
    image_to_text_rows,
    neighbour_rows,
    text_neighbour_rows,
    text_to_image_rows,
)
from likewise.reporting.inputs import ReportInputs
from likewise.reporting.point_colors import Coloring, color_images, color_texts
from likewise.reporting.roc import find_roc
from likewise.reporting.summary import headlines, summary, warning
from likewise.reporting.tables import key_tables, reasons, result_tables

__all__ = ["write_report", "render_report"]

_MAX_BAD_RECORDS = 50

_MAX_KEYS = 25


@dataclass(frozen=True)
class _Section:
    """A part of the report: what it shows, or why it shows nothing."""

    content: dict[str, Any] | None = None
    missing: str = ""


def write_report(inputs: ReportInputs, path: str | Path) -> None:
    """Write the report of a run.

    Args:
        inputs: what it is made of.
        path: the HTML file; its folder is made, and a file that is there is replaced at once or not at all.

    Raises:
        IsADirectoryError: the path is a folder.
        ValueError: embeddings that hold a value that is not finite.
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
    template = environment.from_string(folder.joinpath("report.html").read_text(encoding="utf-8"))
    sections: dict[str, Callable[[ReportInputs], _Section]] = {
        "results": _results,
        "curves": _curves,
        "maps": _maps,
        "neighbours": _neighbours,
        "retrievals": _retrievals,
        "looks": _looks,
        "confusions": _confusions,
        "roc": _roc,
        "episodes": _episodes,
        "clusters": _clusters,
        "data": _data,
        "settings": _settings,
    }
    return template.render(
        title=inputs.title,
        summary=summary(inputs),
        warning=warning(inputs),
        headlines=headlines(inputs.results),
        shown_part=inputs.shown_part,
        # the style sheet is ours: the only text besides the drawings that is not escaped
        style=Markup(folder.joinpath("report.css").read_text(encoding="utf-8")),
        legend_mark=legend_mark,
        has_labels=inputs.image_embeddings is not None and inputs.has_labels(),
        **{name: make(inputs) for name, make in sections.items()},
    )


def _results(inputs: ReportInputs) -> _Section:
    tables = result_tables(inputs.results)
    return _Section({"tables": tables}) if tables else _Section(missing="The run has not been evaluated.")


def _curves(inputs: ReportInputs) -> _Section:
    charts = training_charts(inputs.metrics)
    return _Section({"charts": charts}) if charts else _Section(missing="Nothing was logged while training.")


def _maps(inputs: ReportInputs) -> _Section:
    if inputs.image_embeddings is not None:
        embeddings, what = inputs.image_embeddings, "images"
        coloring, name_of = color_images(inputs), lambda index: image_text(inputs, index)[:80]
    elif inputs.text_embeddings is not None and inputs.captions is not None:
        captions = inputs.captions
        embeddings, what = inputs.text_embeddings, "texts"
        coloring, name_of = color_texts(captions), lambda index: captions[index][:80]
    else:
        return _Section(missing="No embeddings were given.")
    if len(embeddings) < 5:
        return _Section(missing=f"{len(embeddings)} {what} are too few for a map.")
    if deviation(embeddings) < 1e-6:
        return _Section(missing=f"The embeddings of all {what} are the same: there is nothing to map.")
    return _Section(_map_content(embeddings, coloring, name_of, what))


def _map_content(
    embeddings: NDArray[np.float32], coloring: Coloring, name_of: Callable[[int], str], what: str
) -> dict[str, Any]:
    return {
        "charts": draw_maps(embeddings, coloring, name_of),
        "kinds": coloring.kinds,
        "basis": coloring.basis,
        "count": min(MAP_ITEMS, len(embeddings)),
        "total": len(embeddings),
        "what": what,
    }


def _neighbours(inputs: ReportInputs) -> _Section:
    if inputs.image_embeddings is not None:
        if inputs.thumbnails is None:
            return _Section(missing="No pictures were given.")
        if len(inputs.image_embeddings) < 2:
            return _Section(missing="A single image has no neighbours.")
        return _Section({"rows": neighbour_rows(inputs), "pictures": True, "basis": _basis(inputs)})
    if inputs.text_embeddings is not None and inputs.captions is not None and len(inputs.captions) >= 2:
        return _Section({"rows": text_neighbour_rows(inputs), "pictures": False})
    return _Section(missing="No embeddings were given, or of a single item.")


def _basis(inputs: ReportInputs) -> str:
    """What makes a neighbour right."""
    if inputs.has_labels():
        return "Right means of the same class."
    groups = inputs.groups_of_images()
    return "Right means of the same group." if len(np.unique(groups)) < len(groups) else ""


def _retrievals(inputs: ReportInputs) -> _Section:
    if inputs.image_embeddings is None or inputs.text_embeddings is None or inputs.captions is None:
        return _Section(missing="It needs images and captions, and a model of both.")
    text_groups = inputs.groups_of_texts()
    if text_groups is None or not np.isin(text_groups, inputs.groups_of_images()).any():
        return _Section(missing="It is not known which caption belongs to which image.")
    if inputs.thumbnails is None:
        return _Section(missing="No pictures were given.")
    text_best, text_worst = text_to_image_rows(inputs)
    image_best, image_worst = image_to_text_rows(inputs)
    return _Section(
        {
            "text_best": text_best,
            "text_worst": text_worst,
            "image_best": image_best,
            "image_worst": image_worst,
            "num_images": len(inputs.image_embeddings),
            "num_texts": len(inputs.text_embeddings),
        }
    )


def _looks(inputs: ReportInputs) -> _Section:
    rows = find_looks(inputs)
    return (
        _Section({"rows": rows})
        if rows
        else _Section(missing="It needs a model whose fusion encoder has two layers or more.")
    )


def _confusions(inputs: ReportInputs) -> _Section:
    return _of_classes(inputs, lambda: {"found": find_confusions(inputs)})


def _roc(inputs: ReportInputs) -> _Section:
    return _of_classes(inputs, lambda: {"found": find_roc(inputs)})


def _episodes(inputs: ReportInputs) -> _Section:
    if inputs.thumbnails is None:
        return _Section(missing="No pictures were given.")
    return _of_classes(inputs, lambda: {"tables": find_episodes(inputs)})


def _clusters(inputs: ReportInputs) -> _Section:
    if inputs.thumbnails is None:
        return _Section(missing="No pictures were given.")

    def make() -> dict[str, Any]:
        pure, mixed = find_clusters(inputs)
        return {"pure": pure, "mixed": mixed}

    return _of_classes(inputs, make)


def _of_classes(inputs: ReportInputs, make: Callable[[], dict[str, Any]]) -> _Section:
    """A section that needs labels, and perhaps more of them than there are."""
    if inputs.image_embeddings is None or not inputs.has_labels():
        return _Section(missing="The data has no class labels.")
    try:
        return _Section(make())
    except ValueError as error:  # the pure functions' word for data that they cannot measure
        reason = str(error).rstrip(".")
        return _Section(missing=f"{reason[0].upper()}{reason[1:]}.")


def _data(inputs: ReportInputs) -> _Section:
    if not inputs.data_summary and not inputs.bad_records:
        return _Section(missing="No description of the data was given.")
    shown = [
        {name: str(record.get(name, "")) for name in ("id", "place", "reason")}
        for record in inputs.bad_records[:_MAX_BAD_RECORDS]
    ]
    return _Section(
        {
            "tables": key_tables(_in_words(inputs.data_summary), "Overview", _MAX_KEYS),
            "fingerprint": _fingerprint(inputs.data_summary.get("fingerprint")),
            "num_bad": len(inputs.bad_records),
            "reasons": reasons(inputs.bad_records),
            "bad": shown,
        }
    )


def _fingerprint(value: Any) -> str | None:
    """The data's fingerprint, or those of its parts."""
    if isinstance(value, Mapping):
        return ", ".join(f"{part} {mark}" for part, mark in value.items()) or None
    return None if value is None else str(value)


def _in_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values under names in words; names of classes and columns, deeper in, stay as they are."""
    return {name_of(name): value for name, value in values.items()}


def _settings(inputs: ReportInputs) -> _Section:
    tables = key_tables(inputs.settings, "General")
    return _Section({"tables": tables}) if tables else _Section(missing="No settings were given.")
