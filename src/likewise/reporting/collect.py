"""From a run's folder to its report."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from likewise.data import DataConfig, Splits
from likewise.data.columns import column_of
from likewise.data.config import AUDIO_OPTIONS, FILE_OPTIONS, IMAGE_OPTIONS
from likewise.encoders.decoders import Decoding
from likewise.errors import AbilityError
from likewise.evaluation.context import Context
from likewise.evaluation.tasks.captioning import CaptioningOptions
from likewise.hardware import native_bfloat16
from likewise.messages import printed_line, without_folders
from likewise.metrics import nearest
from likewise.metrics.relevance import images_and_texts
from likewise.model.explanations.caption_maps import explain_captions
from likewise.model.explanations.grad_cam import can_explain, explain
from likewise.model.model import Model
from likewise.reporting.examples.example_rows import task_examples
from likewise.reporting.examples.generated_captions import chosen_captions
from likewise.reporting.examples.sounds import sound_inputs
from likewise.reporting.formatting import method_title
from likewise.reporting.inputs import ExplainedPair, ReportInputs
from likewise.reporting.page import write_report
from likewise.runs.folder import RunFolder
from likewise.runs.open import CHANGED, RunData, open_model
from likewise.runs.settings import read_settings
from likewise.runs.training_options import TrainingConfig

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
    config = run_data.own_config(data)
    splits = run_data.open(config)
    if run_data.has_changed(splits):
        print(
            f"warning: {CHANGED.format(source=printed_line(splits.summary['source']))}, so the report's "
            "validation samples may have been trained on.",
            file=sys.stderr,
            flush=True,
        )
    if "ground" in model.abilities and _has_boxes(splits):  # training did not read them
        splits = replace(run_data.open(config, also=("boxes",)), summary=splits.summary)
    write_report(collect_inputs(folder, model, splits), file)
    return file


def _has_boxes(splits: Splits) -> bool:
    """Whether the source names a column of boxes."""
    headers = column_of("boxes").headers.split()
    named = {str(name).casefold() for name in splits.summary.get("columns_found", ())}
    return splits.summary["source"].startswith("scenes") or bool(named & set(headers))


def _trained_on(data: DataConfig) -> str:
    """Such as "on shapes" or, with two domains, "from mnist to usps"."""
    source, target = (without_folders(name) for name in (data.source, data.target))
    return f"on {source}" if target is None else f"from {source} to {target}"


def collect_inputs(run: RunFolder, model: Model, splits: Splits) -> ReportInputs:
    """Everything that the report of a run shows.

    Args:
        run: has metrics, results and settings.
        model: the run's model.
        splits: the run's data, prepared for the model.
    """
    settings = read_settings(run.config)
    sections = {name: dataclasses.asdict(section) for name, section in settings.sections().items()}
    results = run.read_results()
    known: dict[str, Any] = {
        "title": f"{method_title(settings.method_name)} {_trained_on(settings.data)}",
        "method": settings.method_name,
        "settings": without_folders(_without_image_options(sections)),
        "metrics": run.read_metrics(),
        "results": results.own,
        "others": without_folders(results.others),
        "data_summary": without_folders(splits.summary),
        "facts": _facts(model, settings.training),
        "bad_records": [without_folders(dataclasses.asdict(record)) for record in splits.bad_records],
    }
    if splits.validation is None:
        return ReportInputs(**known)
    context = Context(model, splits, max_rows=_MAX_ROWS)
    validation = context.validation
    if "encode_texts" in model.abilities and validation.texts is not None:
        known |= {
            "text_embeddings": context.texts,
            "captions": context.captions,
            "text_groups": validation.groups[context.caption_rows],
            "explanations": _explain_pairs(context) if can_explain(model) else (),
        }
    if "caption" in model.abilities and validation.texts is not None:
        known |= _generated(context)
    known["examples"] = task_examples(context)
    if model.encoding in model.abilities:
        known["image_embeddings"] = context.images
    if validation.has("audio"):
        known |= sound_inputs(model, validation)
    if {"encode_images", "encode_audio"} <= set(model.abilities) and validation.has("audio"):
        known["sound_embeddings"] = context.sounds
    if validation.pixels is not None:
        known["thumbnails"] = validation.images(np.arange(len(validation))).numpy()
    if "image_embeddings" not in known and "thumbnails" not in known:
        return ReportInputs(**known)
    if "captions" in known:
        known["caption_image"] = context.caption_rows
    return ReportInputs(
        **known,
        image_groups=validation.groups,
        labels=validation.labels,
        label_names=validation.label_names,
        domains=validation.domains,
        domain_names=validation.domain_names,
    )


def _without_image_options(sections: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The settings without the options that say how images or sounds are read, where none are."""
    files = FILE_OPTIONS if "audio" in sections else ()
    unread = {*AUDIO_OPTIONS} if "image" in sections else {*IMAGE_OPTIONS} - {*files}
    unread |= set() if "audio" in sections else {*AUDIO_OPTIONS}
    data = {name: value for name, value in sections["data"].items() if name not in unread}
    return sections | {"data": data}


def _facts(model: Model, training: TrainingConfig) -> dict[str, str]:
    """The size of the model, where it was trained and computed, and the versions of the libraries."""
    precision: str = training.precision
    if precision == "auto":
        precision = f"auto ({'bfloat16' if native_bfloat16(model.device.type) else 'float32'} on this device)"
    libraries = ("likewise", "torch", "transformers", "numpy")
    return {
        "Weights": f"{model.num_weights:,}",
        "Embedding dimension": str(model.dim),
        "Device of training": training.accelerator,
        "Device of this report": str(model.device),
        "Precision of training": precision,
        "Libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
    }


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


def _generated(context: Context) -> dict[str, Any]:
    """Captions as the evaluation generates them, and the attention maps of those that are shown."""
    decoding = Decoding(num_beams=CaptioningOptions.num_beams)
    captions = [found[0].text for found in context.model.caption_dataset(context.validation, decoding)]
    references = [list(texts) for texts in context.validation.texts or []]
    rows = [row for several in chosen_captions(captions, references).values() for row in several]
    try:
        maps = explain_captions(
            context.model, context.validation.images(rows), [captions[row] for row in rows]
        )
    except AbilityError:  # a decoder without attention
        maps = []
    return {
        "generated_captions": captions,
        "references": references,
        "caption_maps": dict(zip(rows, maps, strict=False)),
    }
