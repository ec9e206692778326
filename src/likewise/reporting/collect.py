"""From a run's folder to its report."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

from likewise.data import DataConfig, Splits
from likewise.evaluation.context import Context
from likewise.messages import printed_line
from likewise.metrics import nearest
from likewise.metrics.relevance import images_and_texts
from likewise.model.grad_cam import can_explain, explain
from likewise.model.model import Model
from likewise.reporting.formatting import method_title
from likewise.reporting.inputs import ExplainedPair, ReportInputs
from likewise.reporting.page import write_report
from likewise.runs.folder import RunFolder
from likewise.runs.open import CHANGED, RunData, open_model
from likewise.runs.settings import read_settings

__all__ = ["collect_inputs", "report"]

_MAX_ROWS = 2000

# Pairs whose attention maps are shown: so many right ones, and so many wrong ones.
_NUM_EXPLAINED = 3


def report(
    run: str | Path, out: str | Path | None = None, *, device: str = "auto", data: DataConfig | None = None
) -> Path:
    """Write the report of a run.

    Args:
        run: the run's folder.
        out: the HTML file; report.html in the run's folder when None.
        device: computes the embeddings.
        data: where the run's own data is now; where training found it when None.

    Returns:
        The file.

    Raises:
        ConfigError: the folder is not a run.
        IsADirectoryError: `out` is a folder.
        DataError: the run's data cannot be read.
    """
    folder = RunFolder.existing(run)
    file = folder.report if out is None else Path(out)
    model = open_model(str(run), device)
    run_data = RunData(model, run)
    splits = run_data.open(run_data.own_config(data))
    if run_data.has_changed(splits):
        print(
            f"warning: {CHANGED.format(source=printed_line(splits.summary['source']))}, so the report's "
            "validation samples may have been trained on.",
            file=sys.stderr,
            flush=True,
        )
    write_report(collect_inputs(folder, model, splits), file)
    return file


def collect_inputs(run: RunFolder, model: Model, splits: Splits) -> ReportInputs:
    """Everything that the report of a run shows.

    Args:
        run: has metrics, results and settings.
        model: the run's model.
        splits: the run's data, prepared for the model.
    """
    settings = read_settings(run.config)
    sections = {name: dataclasses.asdict(section) for name, section in settings.sections().items()}
    known: dict[str, Any] = {
        "title": f"{method_title(settings.method_name)} on {_without_folder(settings.data.source)}",
        "method": settings.method_name,
        "settings": _without_folder(sections),
        "metrics": run.read_metrics(),
        "results": run.read_results(),
        "data_summary": _without_folder(splits.summary),
        "bad_records": [_without_folder(dataclasses.asdict(record)) for record in splits.bad_records],
    }
    if splits.validation is None:
        return ReportInputs(**known)
    context = Context(model, splits, max_rows=_MAX_ROWS)
    validation = context.validation
    if "encode_texts" in model.abilities and validation.texts is not None:
        known |= {
            "text_embeddings": context.texts,
            "captions": context.captions,
            "caption_image": context.caption_rows,
            "text_groups": validation.groups[context.caption_rows],
            "explanations": _explain_pairs(context) if can_explain(model) else (),
        }
    return ReportInputs(
        **known,
        image_embeddings=context.images,
        thumbnails=validation.images(np.arange(len(validation))).numpy(),
        image_groups=validation.groups,
        labels=validation.labels,
        label_names=validation.label_names,
        domains=validation.domains,
        domain_names=validation.domain_names,
    )


def _without_folder(value: Any) -> Any:
    """Absolute paths cut to their names, in nested values too: reports are shared."""
    if isinstance(value, dict):
        return {name: _without_folder(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folder(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _explain_pairs(context: Context) -> list[ExplainedPair]:
    """Captions with the image that ranks first for each: some right, some wrong."""
    first = np.asarray(nearest(context.texts, context.images, 1).indices)[:, 0]  # (M,)
    groups = context.validation.groups
    _, of_texts = images_and_texts(groups, groups[context.caption_rows], context.caption_ids)
    right = np.take_along_axis(of_texts.rows(0, len(first)).numpy(), first[:, None], axis=1)[:, 0]  # (M,)
    chosen: list[int] = []
    for wanted in (True, False):
        found = np.flatnonzero(right == wanted)
        # Evenly spaced: sources are often sorted.
        places = np.linspace(0, len(found) - 1, min(_NUM_EXPLAINED, len(found))).astype(np.int64)
        chosen += found[places].tolist()
    images = context.validation.images(first[chosen].tolist())
    captions = [context.captions[caption] for caption in chosen]
    return [
        ExplainedPair(caption=text, image=image.numpy(), right=bool(right[caption]), explanation=found)
        for caption, text, image, found in zip(
            chosen, captions, images, explain(context.model, images, captions), strict=True
        )
    ]
