"""From a run's folder to what its report shows."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from likewise.data import Splits
from likewise.evaluation.context import Context
from likewise.metrics import nearest
from likewise.metrics.relevance import images_and_texts
from likewise.model.grad_cam import can_explain, explain
from likewise.model.model import Model
from likewise.reporting.formatting import method_name
from likewise.reporting.inputs import ExplainedPair, ReportInputs
from likewise.runs.folder import RunFolder
from likewise.runs.settings import read_settings

__all__ = ["gather_report_inputs"]

_MAX_ROWS = 2000

# Pairs of either kind whose words are mapped.
_EXPLAINED = 3


def gather_report_inputs(run: RunFolder, model: Model, splits: Splits) -> ReportInputs:
    """Everything that a report of this run shows.

    Args:
        run: its metrics, results and settings.
        model: its model.
        splits: its data, as the model sees it.
    """
    settings = read_settings(run.config)
    sections = {name: dataclasses.asdict(section) for name, section in settings.sections().items()}
    shared: dict[str, Any] = {
        "title": f"{method_name(settings.method_name)} on {settings.data.source}",
        "method": settings.method_name,
        "settings": sections,
        "metrics": run.read_metrics(),
        "results": run.read_json(run.results),
        "data_summary": splits.summary,
        "bad_records": [dataclasses.asdict(record) for record in splits.bad_records],
    }
    if splits.validation is None:
        return ReportInputs(**shared)
    embedded = Context(model, splits, max_rows=_MAX_ROWS)
    held_out = embedded.validation
    texts: dict[str, Any] = {}
    if "encode_texts" in model.abilities and held_out.texts is not None:
        texts = {
            "text_embeddings": embedded.texts,
            "captions": embedded.captions,
            "caption_image": embedded.caption_rows,
            "text_groups": held_out.groups[embedded.caption_rows],
        }
    return ReportInputs(
        **shared,
        **texts,
        explanations=_explained(embedded) if texts and can_explain(model) else (),
        image_embeddings=embedded.images,
        thumbnails=held_out.images(np.arange(len(held_out))).numpy(),
        image_groups=held_out.groups,
        labels=held_out.labels,
        label_names=held_out.label_names,
        domains=held_out.domains,
        domain_names=held_out.domain_names,
    )


def _explained(embedded: Context) -> list[ExplainedPair]:
    """Captions with the picture that comes first for them: some right, some wrong."""
    first = np.asarray(nearest(embedded.texts, embedded.images, 1).indices)[:, 0]  # (M,)
    groups = embedded.validation.groups
    _, of_texts = images_and_texts(groups, groups[embedded.caption_rows], embedded.caption_ids)
    right = np.take_along_axis(of_texts.rows(0, len(first)).numpy(), first[:, None], axis=1)[:, 0]  # (M,)
    pairs = []
    for wanted in (True, False):
        places = np.flatnonzero(right == wanted)
        # Spread over the whole part; sources are often sorted.
        chosen = places[np.linspace(0, len(places) - 1, min(_EXPLAINED, len(places))).astype(np.int64)]
        pairs += [(int(caption), int(first[caption])) for caption in chosen]
    pictures = embedded.validation.images([row for _, row in pairs])
    captions = [embedded.captions[caption] for caption, _ in pairs]
    return [
        ExplainedPair(caption=text, picture=picture.numpy(), right=bool(right[caption]), explanation=found)
        for (caption, _), text, picture, found in zip(
            pairs, captions, pictures, explain(embedded.model, pictures, captions), strict=True
        )
    ]
