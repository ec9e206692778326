"""What comes before the first step: a free folder, the data, the tokenizer."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from likewise.atomic_files import written_whole
from likewise.batches.samplers import batch_unit, most_rows
from likewise.data import Dataset, Splits, prepare
from likewise.encoders.tokenizer import TextTokenizer, train_tokenizer
from likewise.errors import ConfigError, DataError, TooManyBadRecords
from likewise.messages import first_names
from likewise.model.model import Model
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, default_settings, differences, read_settings
from likewise.training.replicas import first_before_others

__all__ = ["check_free", "prepare_data", "prepare_tokenizer", "with_batch_size"]


def check_free(run: RunFolder, settings: Settings[Any], resume: bool) -> Settings[Any]:
    """Refuse a folder that holds another run: none is ever overwritten.

    Returns:
        The settings; of a run that goes on, with what was decided when its data was first seen.
    """
    if not run.config.is_file():
        _check_nothing_else(run)
        _check_none_ignored(settings)
        return settings
    if not resume:
        raise ConfigError(
            f"{run.path} already holds a run; add --resume to go on with it, or name another --out."
        )
    old = read_settings(run.config)
    if old.method_name != settings.method_name:
        raise ConfigError(f"{run.path} is a run of {old.method_name}, not of {settings.method_name}.")
    if settings.training.batch_size is None:
        settings = _with_training(settings, batch_size=old.training.batch_size)
    if others := differences(old, settings):
        raise ConfigError(
            f"{run.path} has other settings than these: {'; '.join(others)}. A run is resumed with its own: "
            "leave out what differs, or train anew with another --out."
        )
    return settings


def _check_nothing_else(run: RunFolder) -> None:
    """Refuse a folder that is no run and holds more than a refused start leaves."""
    if not run.path.is_dir():
        return
    ours = {run.bad_records.name} if _is_list_of_bad_records(run) else set()
    if _is_summary(run):  # it is written first, so a tokenizer without it is somebody else's
        ours |= {run.data.name, run.tokenizer.name, run.network.name}
    # Hidden files are passed over: nothing of a run has such a name.
    others = sorted(path.name for path in run.path.iterdir() if path.name not in ours and path.name[0] != ".")
    if others:
        shown = first_names(others, most=3)
        raise ConfigError(f"{run.path} is no run (no config.toml) and holds {shown}; name another --out.")


def _is_summary(run: RunFolder) -> bool:
    try:
        found = json.loads(run.data.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "fingerprint" in found


def _is_list_of_bad_records(run: RunFolder) -> bool:
    try:
        lines = run.bad_records.read_text(encoding="utf-8").split("\n")
        return all(json.loads(line).keys() == {"id", "place", "reason"} for line in lines if line)
    except (OSError, ValueError, AttributeError):
        return False


def _check_none_ignored(settings: Settings[Any]) -> None:
    """Refuse options that nothing would read, where their values are not those that nobody named.

    Of new runs alone: one that began when they were ignored goes on, and can be measured.
    """
    training, text = settings.training, settings.text
    unsaid = default_settings(settings.method_type, settings.data.source)
    if training.optimizer != "adamw" and training.betas != unsaid.training.betas:
        raise ConfigError(
            f"training.betas are {training.betas}, and {training.optimizer} has no such averages; leave them "
            "out, or use --training.optimizer adamw."
        )
    if training.order != "classes" and training.examples_per_class != unsaid.training.examples_per_class:
        raise ConfigError(
            f"training.examples_per_class is {training.examples_per_class}, which --training.order "
            f"{training.order} does not look at; leave it out, or use --training.order classes."
        )
    if text.tokenizer is not None and text.vocabulary_size != unsaid.text.vocabulary_size:
        raise ConfigError(
            f"text.vocabulary_size is {text.vocabulary_size}, and text.tokenizer {text.tokenizer} has a "
            "vocabulary already; leave one of the two out."
        )


def with_batch_size(settings: Settings[Any], train: Dataset, world_size: int) -> Settings[Any]:
    """The settings with a batch size, where none was asked for."""
    options = settings.training
    if options.batch_size is not None:
        return settings
    unit, least = batch_unit(options.order, options.examples_per_class, world_size)
    most = most_rows(options.order, train.labels, len(train), options.examples_per_class)
    size = min(options.largest_batch_size, most) // unit * unit
    return _with_training(settings, batch_size=max(least, size))


def _with_training(settings: Settings[Any], **changes: Any) -> Settings[Any]:
    return dataclasses.replace(settings, training=dataclasses.replace(settings.training, **changes))


def prepare_data(settings: Settings[Any], run: RunFolder, fabric: Any, show: bool) -> Splits:
    """Read the data, on the first replica first (it may build the cache), and write down what was found."""
    needs = settings.method_type.needs
    size = settings.image.image_size if "image" in needs else None
    progress = show and fabric.is_global_zero
    try:
        splits = first_before_others(
            fabric, lambda: prepare(settings.data, image_size=size, needs=needs, progress=progress)
        )
    except TooManyBadRecords as error:
        run.write_bad_records(error.bad_records)  # a refusal is when one wants to read them
        raise TooManyBadRecords(f"{error}\nAll of them: {run.bad_records}", error.bad_records) from error
    began_with = run.read_json(run.data).get("fingerprint") if run.config.is_file() else None
    if began_with is not None and began_with != splits.summary["fingerprint"]:
        raise DataError(
            f"{settings.data.source} has changed since {run.path} began with it (its fingerprint is "
            f"{splits.summary['fingerprint']}, and was {began_with}); start another run."
        )
    fabric.barrier()  # all replicas have looked at the folder before one writes into it
    if fabric.is_global_zero:
        run.write_json(run.data, splits.summary)
        run.write_bad_records(splits.bad_records)
        for note in dict.fromkeys(splits.summary["notes"]) if show else ():
            print(f"note: {note}.", file=sys.stderr)
        if splits.validation is None and show:
            print("no held-out part: nothing can be measured; see --data.validation.", file=sys.stderr)
        if splits.summary["overlap"] is not None and show:
            print(f"WARNING: {splits.summary['overlap']}.", file=sys.stderr)
    return splits


def prepare_tokenizer(
    settings: Settings[Any], run: RunFolder, data: Dataset, fabric: Any, trained: Model | None
) -> TextTokenizer | None:
    """The tokenizer of the model that the training starts from, the one that is named, or one trained on the
    training part's captions.

    Either way the run keeps it: a run that goes on needs nothing but itself and its data.
    """
    if "text" not in settings.method_type.needs:
        return None

    def kept() -> TextTokenizer:
        # The others find what the first has kept. One left by a refused start is made anew.
        is_kept = run.tokenizer.is_file() and (run.config.is_file() or not fabric.is_global_zero)
        if not is_kept:
            tokenizer = _new_tokenizer(settings, data, trained)
            with written_whole(run.tokenizer) as beside:
                tokenizer.save(beside)
        return TextTokenizer.load(run.tokenizer, max_tokens=None)

    return first_before_others(fabric, kept)


def _new_tokenizer(settings: Settings[Any], data: Dataset, trained: Model | None) -> TextTokenizer:
    options, path = settings.text, settings.training.start_from
    if path is not None:
        if trained is None:
            raise ConfigError("the run's tokenizer.json is missing; without it the run cannot go on.")
        if trained.tokenizer is None:
            raise ConfigError(f"training.start_from: {path} reads no texts.")
        return trained.tokenizer
    named = options.tokenizer or options.pretrained
    if named is not None:
        return TextTokenizer.load(named, max_tokens=options.max_tokens)
    texts = (text for row in data.texts or [] for text in row)
    return train_tokenizer(texts, vocabulary_size=options.vocabulary_size, max_tokens=options.max_tokens)
