"""What comes before the first step: a free folder, the data, the tokenizer, the method."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any

import torch

from likewise.atomic_files import written_whole
from likewise.batches.samplers import batch_unit, most_rows
from likewise.batches.tokenized_texts import TokenTable, training_answers, training_texts
from likewise.data import Dataset, Splits, prepare
from likewise.data.columns import Needs
from likewise.data.config import AUDIO_OPTIONS, FILE_OPTIONS, IMAGE_OPTIONS
from likewise.data.images.grey import grey_notes
from likewise.encoders.audio.encoder import stored_form
from likewise.encoders.pretrained import cannot_load
from likewise.encoders.pretrained_text import load_text_tokenizer
from likewise.encoders.tokenizer import TextTokenizer, train_tokenizer
from likewise.errors import ConfigError, DataError, TooManyBadRecords
from likewise.messages import first_names, flag, printed_line
from likewise.methods.base import BuildContext, Method, TokenizerInfo
from likewise.model.model import Model
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, default_settings, differences, read_settings
from likewise.training.distributed import run_rank_zero_first
from likewise.training.fine_tuning.tune import plain_layers
from likewise.training.rank_checks import check_same_data
from likewise.training.warm_start import load_trained_weights, trained_spec

__all__ = ["build_method", "check_free", "cut_notes", "prepare_data", "prepare_tokenizer", "with_batch_size"]


def check_free(run: RunFolder, settings: Settings[Any], resume: bool) -> Settings[Any]:
    """Check that the folder is free, or holds this run and is to be resumed: no run is ever overwritten.

    Returns:
        The settings; of a resumed run, with the batch size that was chosen at its start.
    """
    if not run.config.is_file():
        if others := run.foreign_files():
            shown = first_names(others, most=3)
            raise ConfigError(f"{run.path} is no run (no config.toml) and holds {shown}; name another --out.")
        _check_used(settings)
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


def _check_used(settings: Settings[Any]) -> None:
    """Reject non-default options that have no effect.

    Only for new runs: one that began when they were ignored can be resumed and measured.
    """
    training, text = settings.training, settings.text
    defaults = default_settings(settings.method_type, settings.data.source)
    for section, names in settings.method_type.unread_options.items():
        for name in names:
            value = getattr(getattr(settings, section), name)
            if value != getattr(getattr(defaults, section), name):
                raise ConfigError(
                    f"{flag(section, name)} is {value}, which {settings.method_name} does not read; leave it "
                    "out."
                )
    if training.optimizer != "adamw" and training.betas != defaults.training.betas:
        raise ConfigError(
            f"--training.betas are {training.betas}, and {training.optimizer} has no such averages; leave "
            "them out, or use --training.optimizer adamw."
        )
    if training.order != "classes" and training.examples_per_class != defaults.training.examples_per_class:
        raise ConfigError(
            f"--training.examples-per-class is {training.examples_per_class}, which --training.order "
            f"{training.order} ignores; leave it out, or use --training.order classes."
        )
    if not training.order.startswith("domain") and training.source_share != defaults.training.source_share:
        raise ConfigError(
            f"--training.source-share is {training.source_share}, which --training.order {training.order} "
            "ignores; leave it out, or use --training.order domains."
        )
    needs = settings.method_type.needs
    shared = FILE_OPTIONS if "audio" in needs else ()
    of_images = set(IMAGE_OPTIONS) - set(shared)
    for column, options, words in (("image", of_images, "images"), ("audio", AUDIO_OPTIONS, "sounds")):
        given = [] if column in needs else settings.data.given(*sorted(options))
        if given:
            raise ConfigError(
                f"{flag('data', given[0])}: {settings.method_name} reads no {words}; leave it out."
            )
    if text.tokenizer is not None and text.vocabulary_size != defaults.text.vocabulary_size:
        raise ConfigError(
            f"--text.vocabulary-size is {text.vocabulary_size}, and --text.tokenizer {text.tokenizer} has a "
            "vocabulary already; leave one of the two out."
        )


def with_batch_size(settings: Settings[Any], train: Dataset, world_size: int) -> Settings[Any]:
    """The settings with a batch size, if none was given."""
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
    """Read the data, on rank 0 first (it may build the cache), and write a summary into the run."""
    needs = settings.method_type.needs
    size = settings.image.image_size if "image" in needs else None
    sounds = stored_form(settings.audio) if "audio" in needs else None
    progress = show and fabric.is_global_zero
    try:
        splits = run_rank_zero_first(
            fabric,
            lambda: prepare(settings.data, image_size=size, needs=needs, progress=progress, sounds=sounds),
        )
    except TooManyBadRecords as error:
        run.claim()
        run.write_bad_records(error.bad_records)  # this is when users want to read them
        raise TooManyBadRecords(f"{error}\nAll of them: {run.bad_records}", error.bad_records) from error
    fingerprint = splits.summary["fingerprint"]
    began_with = run.read_json(run.data).get("fingerprint") if run.config.is_file() else None
    if began_with not in (None, fingerprint):
        raise DataError(
            f"{settings.data.source} has changed since {run.path} began with it (its fingerprint is "
            f"{fingerprint}, and was {began_with}); start another run."
        )
    check_same_data(splits)  # also waits until all ranks have read the folder, before one writes into it
    if fabric.is_global_zero:
        run.claim()
        run.write_json(run.data, splits.summary)
        run.write_bad_records(splits.bad_records)
    if progress:
        grey = grey_notes(splits.train) if settings.method_type.compares_color else []
        for note in dict.fromkeys(splits.summary["notes"] + grey):
            print(printed_line(f"note: {note}."), file=sys.stderr)
        if splits.summary["overlap"] is not None:
            print(printed_line(f"WARNING: {splits.summary['overlap']}."), file=sys.stderr)
    return splits


def prepare_tokenizer(
    settings: Settings[Any], run: RunFolder, data: Dataset, fabric: Any, trained: Model | None
) -> TextTokenizer | None:
    """The tokenizer of the model that training starts from, the configured one, or one trained on the
    captions of the training split; None for methods that read no texts.

    The run keeps it: a resumed run needs nothing but itself and its data.
    """
    if "text" not in settings.method_type.needs:
        return None

    def read_or_make() -> TextTokenizer:
        # Other ranks read what rank 0 has written. One left by a rejected start is made anew.
        if not run.tokenizer.is_file() or (fabric.is_global_zero and not run.config.is_file()):
            tokenizer = _new_tokenizer(settings, data, trained)
            with written_whole(run.tokenizer) as beside:
                tokenizer.save(beside)
        return TextTokenizer.load(run.tokenizer, max_tokens=None)

    return run_rank_zero_first(fabric, read_or_make)


def _new_tokenizer(settings: Settings[Any], data: Dataset, trained: Model | None) -> TextTokenizer:
    options, path = settings.text, settings.training.start_from
    if path is not None:
        if trained is None:
            raise ConfigError("the run's tokenizer.json is missing; without it the run cannot go on.")
        if trained.tokenizer is not None:
            return trained.tokenizer
    if options.tokenizer is not None:
        return TextTokenizer.load(options.tokenizer, max_tokens=options.max_tokens)
    if options.pretrained is not None:
        try:
            return load_text_tokenizer(options.pretrained, max_tokens=options.max_tokens)
        except ConfigError as error:
            raise cannot_load(options.pretrained, "text", error.__cause__ or error) from error
    texts = training_texts(data, settings.method_type.needs)
    return train_tokenizer(texts, vocabulary_size=options.vocabulary_size, max_tokens=options.max_tokens)


def cut_notes(tables: Mapping[str, TokenTable], tokenizer: TextTokenizer | None) -> list[str]:
    """Notes on training texts of which only the beginning is read, with the first of them."""
    if tokenizer is None:
        return []
    notes, longest, uncut = [], tokenizer.max_tokens, tokenizer.uncut()
    for table in tables.values():
        full = [table.captions[place] for place in table.places_of_length(longest)]
        cut = [text for text, tokens in zip(full, uncut.encode(full), strict=True) if len(tokens) > longest]
        if cut:
            named = first_names([f"{text[:60]!r}" for text in cut], most=3)
            notes.append(
                f"{len(cut):,} of {len(table.captions):,} texts are longer than {flag('text', 'max_tokens')} "
                f"{longest}, and their ends are not read: {named}"
            )
    return notes


def build_method(
    settings: Settings[Any],
    run: RunFolder,
    tokenizer: TextTokenizer | None,
    data: Dataset,
    trained: Model | None,
    fabric: Any,
) -> Method:
    """The method with its first weights: random, pre-trained, or those of the model that training starts
    from."""
    sections, method_type = settings.sections(), settings.method_type
    info = None
    if tokenizer is not None:
        info = TokenizerInfo(tokenizer.size, tokenizer.mask_id, tokenizer.special_ids, tokenizer.max_tokens)
    torch.manual_seed(settings.training.seed)
    context = BuildContext(
        image=sections.get("image"),
        audio=sections.get("audio"),
        text=sections.get("text"),
        views={family: sections[family] for family in method_type.view_families},
        tokenizer=info,
        num_rows=len(data),
        answers=training_answers(data) if "answer" in method_type.needs else (),
        classes=_classes_read(method_type.needs, data),
        trained=trained_spec(settings, run, trained, fabric),
    )
    with plain_layers(settings):
        method = method_type(settings.method, context)
    if trained is not None and settings.training.start_from is not None:
        load_trained_weights(method, trained, settings.training.start_from)
    return method


def _classes_read(needs: Needs, train: Dataset) -> tuple[str, ...]:
    """Names of the classes of the labels that training reads; of the source domain's where only those are."""
    if "label" not in needs or train.label_names is None:
        return ()
    own = needs.columns["label"].domain == "source"
    return tuple(train.label_names[: train.num_source_classes] if own else train.label_names)
