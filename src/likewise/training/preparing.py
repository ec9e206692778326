"""What comes before the first step: a free folder, the data, the tokenizer."""

from __future__ import annotations

import sys
from typing import Any

from likewise.data import Dataset, Splits, prepare
from likewise.encoders.tokenizer import TextTokenizer, train_tokenizer
from likewise.errors import ConfigError, TooManyBadRecords
from likewise.training.run import RunFolder
from likewise.training.settings import Settings, read_settings

__all__ = ["check_free", "prepare_data", "prepare_tokenizer"]


def check_free(run: RunFolder, settings: Settings[Any], resume: bool) -> None:
    """Refuse a folder that holds another run: none is ever overwritten."""
    if not run.config.is_file():
        return
    if not resume:
        raise ConfigError(
            f"{run.path} already holds a run; add --resume to go on with it, or name another --out."
        )
    old = read_settings(run.config)
    if old.method_name != settings.method_name:
        raise ConfigError(f"{run.path} is a run of {old.method_name}, not of {settings.method_name}.")
    if old.sections() != settings.sections():
        raise ConfigError(f"{run.config} says other settings than these; a run is resumed with its own.")


def prepare_data(settings: Settings[Any], run: RunFolder, fabric: Any, show: bool) -> Splits:
    """Read the data, on the first replica first (it may build the cache), and write down what was found."""
    needs = settings.method_type.needs
    size = settings.image.image_size if "images" in needs else None
    try:
        with fabric.rank_zero_first():
            splits = prepare(
                settings.data, image_size=size, needs=needs, progress=show and fabric.is_global_zero
            )
    except TooManyBadRecords as error:
        run.write_bad_records(error.bad_records)  # a refusal is when one wants to read them
        raise TooManyBadRecords(f"{error}\nAll of them: {run.bad_records}", error.bad_records) from error
    if fabric.is_global_zero:
        run.write_json(run.data, splits.summary)
        run.write_bad_records(splits.bad_records)
        if splits.validation is None and show:
            print("no held-out part: nothing can be measured; see --data.validation.", file=sys.stderr)
    fabric.barrier()  # all replicas have looked whether the folder is free before one writes into it
    return splits


def prepare_tokenizer(
    settings: Settings[Any], run: RunFolder, data: Dataset, fabric: Any
) -> TextTokenizer | None:
    """The tokenizer that is named, or one trained on the training part's captions and kept with the run."""
    if "texts" not in settings.method_type.needs:
        return None
    options = settings.text
    named = options.tokenizer or options.pretrained
    if named is not None:
        return TextTokenizer.load(named, max_tokens=options.max_tokens)
    with fabric.rank_zero_first():
        if not run.tokenizer.is_file():
            texts = (text for row in data.texts or [] for text in row)
            trained = train_tokenizer(
                texts, vocabulary_size=options.vocabulary_size, max_tokens=options.max_tokens
            )
            beside = run.tokenizer.with_suffix(".writing")
            trained.save(beside)
            beside.replace(run.tokenizer)
        return TextTokenizer.load(run.tokenizer, max_tokens=options.max_tokens)
