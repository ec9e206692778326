"""The training program; read it from `train` downwards."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from likewise.batches.loader import Loader
from likewise.batches.samplers import make_order
from likewise.batches.tokenized_texts import GroupMates, tokenize, tokenize_answers
from likewise.data import Splits
from likewise.encoders.own import check_own, check_own_size, is_timm_name, own_encoders
from likewise.encoders.shared_options import TUNING_OPTIONS
from likewise.errors import ConfigError, DataError, Interrupted
from likewise.mechanisms.batch_norm import synchronize_batch_norm
from likewise.messages import flag, printed_line
from likewise.methods.base import Method
from likewise.methods.catalog import find_method, methods
from likewise.runs.folder import RunFolder
from likewise.runs.named_options import named_tables
from likewise.runs.settings import Settings, Tables, default_settings, joined, write_settings
from likewise.training.checkpoints import latest_checkpoint
from likewise.training.distributed import launch
from likewise.training.embed_module import EmbedModule
from likewise.training.fine_tuning.interpolation import check_start, keep_start
from likewise.training.fine_tuning.retained import Retained
from likewise.training.fine_tuning.tune import tune
from likewise.training.grad_cache import check_micro_batch_size
from likewise.training.optimizers import build_optimizer
from likewise.training.overview import overview
from likewise.training.progress import Display, check_loggers
from likewise.training.rank_checks import check_same_settings
from likewise.training.selection import LAST, selection_of
from likewise.training.session import Session
from likewise.training.setup import (
    build_method,
    check_free,
    cut_notes,
    prepare_data,
    prepare_tokenizer,
    with_batch_size,
)
from likewise.training.signals import stop_signal
from likewise.training.warm_start import open_trained, settings_of
from likewise.training.watch import exchange, watched

__all__ = ["prepare_run", "train"]

_OF_OWN = (*TUNING_OPTIONS, "image_size", "max_tokens", "tokenizer", "vocabulary_size")
"""Options of an encoder that a network of the user's own reads."""


def train(
    settings: Settings[Any] | None = None,
    out: str | Path | None = None,
    *,
    method: str | type[Method] | None = None,
    data: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    pretrained: str | Path | None = None,
    image_encoder: nn.Module | str | None = None,
    text_encoder: nn.Module | None = None,
    resume: bool = False,
    show: bool = True,
    **more: Any,
) -> RunFolder:
    """Train a method into a run folder: by settings, or by the names of a method and a source.

        train(method="clip", data="photos.csv", out="runs/x", training__steps=100)

    Args:
        settings: everything that decides the outcome.
        out: the run's folder; by default runs/METHOD, where the method is named.
        method: instead of settings: the method.
        data: instead of settings: the source.
        options: instead of settings: by dotted names, such as {"training.steps": 100}.
        pretrained: with a method: a whole model to fine-tune, as `--pretrained`.
        image_encoder: a network of your own as image encoder, see `likewise.encoders.own`; a copy is trained.
            Or the name of a model of timm, such as `timm:resnet18.a1_in1k`.
        text_encoder: the same of texts.
        resume: go on from the newest checkpoint in it; without any, start from the beginning.
        show: show progress on the terminal.
        **more: further options, with two underscores for the dot.

    Returns:
        The run: its model, metrics, results and bad records.

    Raises:
        ConfigError: the folder holds another run, another process trains into it, or the settings cannot
            work.
        DataError: the data cannot be read, or too many records are bad.
        NonFiniteLoss: a loss or gradient became NaN or infinite.
        Interrupted: a signal stopped the training; the state was saved.
    """
    given = None if isinstance(image_encoder, str) else image_encoder
    if settings is None:
        size = {} if given is None else {"image.image_size": check_own_size(given)}
        settings = _named_settings(method, data, {**size, **(options or {}), **more}, pretrained)
        out = out or Path("runs") / settings.method_name
    elif method is not None or data is not None or options or more or pretrained is not None:
        raise ConfigError("train takes settings, or a method, data and options; not both.")
    if out is None:
        raise ConfigError("train needs the run's folder: out.")
    settings = _with_own(settings, image=image_encoder, text=text_encoder)
    run, fabric = RunFolder(out), launch(settings.training)
    own = own_encoders(image=given, text=text_encoder)
    with own, watched(fabric), run.locked(fabric):
        session = prepare_run(settings, run, fabric, resume=resume, show=show)
        try:
            with session.display, stop_signal() as signal:
                session.loop(signal)
                session.finish()
        except Interrupted:
            # All ranks stop here together: as soon as one exits, torchrun kills the others, which may still
            # be closing their displays.
            exchange("")
            raise
    return run


def _with_own(settings: Settings[Any], **networks: Any) -> Settings[Any]:
    """The settings with the networks of the user's own in their sections."""
    sections = settings.sections()
    defaults = default_settings(settings.method_type, settings.data.source)
    for name, network in networks.items():
        if network is None:
            continue
        if name not in sections:
            raise ConfigError(f"{name}_encoder: {settings.method_name} reads no {name}s; leave it out.")
        named = name == "image" and is_timm_name(network)
        own, usual = network if named else check_own(name, network), getattr(defaults, name)
        for option in dataclasses.fields(usual):
            value = getattr(sections[name], option.name)
            if option.name == "image_size" and not named and value != network.image_size:
                raise ConfigError(
                    f"--image.image-size {value}: {own} reads images of {network.image_size} px; give this."
                )
            if option.name not in _OF_OWN and value != getattr(usual, option.name):
                raise ConfigError(
                    f"{flag(name, option.name)} {value}: {own}{'' if named else ', a network of your own,'} "
                    "does not read it; leave it out."
                )
        settings = settings.with_sections({name: dataclasses.replace(sections[name], own=own)})
    return settings


def _named_settings(
    method: str | type[Method] | None,
    data: str | Path | None,
    options: Mapping[str, Any],
    pretrained: str | Path | None,
) -> Settings[Any]:
    if method is None:
        raise ConfigError(f"train needs settings, or a method: one of {', '.join(methods())}.")
    kind = find_method(method) if isinstance(method, str) else method
    source: Tables = {} if data is None else {"data": {"source": data}}
    tables = joined(named_tables(kind, options), source)
    return settings_of(kind, tables, pretrained=None if pretrained is None else str(pretrained))


def prepare_run(
    settings: Settings[Any], run: RunFolder, fabric: Any, *, resume: bool = False, show: bool = True
) -> Session:
    """Everything before the first step.

    Args: as `train`; `fabric` is from `likewise.training.distributed.launch`.

    Raises:
        LikewiseError: as `train`.
    """
    check_loggers(settings.training.loggers)
    check_same_settings(settings, resume, fabric)
    settings = check_free(run, settings, resume)
    splits = prepare_data(settings, run, fabric, show)
    settings = with_batch_size(settings, splits.train, fabric.world_size)
    session = _build_session(settings, run, splits, fabric, show)
    # Written last, when nothing can fail any more: a rejected start leaves a folder that can be used again.
    if fabric.is_global_zero and not run.config.is_file():
        write_settings(settings, run.config)
    session.display.start(overview(settings, splits, session.method, fabric, total_steps=session.total_steps))
    if resume:
        session.restore()
    return session


def _build_session(
    settings: Settings[Any], run: RunFolder, splits: Splits, fabric: Any, show: bool
) -> Session:
    """Batches, tokenizer, networks, optimizer and display."""
    options, train = settings.training, splits.train
    assert options.batch_size is not None, "prepare_run decides it"
    order = make_order(  # first, because it rejects too few rows
        options.order,
        train.labels,
        num_rows=len(train),
        batch_size=options.batch_size,
        examples_per_class=options.examples_per_class,
        world_size=fabric.world_size,
        seed=options.seed,
        is_target=train.is_target,
        source_share=options.source_share,
        groups=train.groups,
    )
    trained = open_trained(settings, run)
    tokenizer = prepare_tokenizer(settings, run, train, fabric, trained)
    needs = settings.method_type.needs
    if settings.method_type.pairs_texts and len(set(train.groups.tolist())) < 2:
        raise DataError(
            f"all {len(train)} rows mean the same (equal texts, or one group), and {settings.method_name} "
            "learns by telling rows apart; give rows that differ."
        )
    texts = tokenize(train, tokenizer, needs)
    for note in cut_notes(texts, tokenizer) if show and fabric.is_global_zero else ():
        print(printed_line(f"note: {note}."), file=sys.stderr)
    pairs = settings.method_type.pairs_texts and "text_2" not in texts
    method = build_method(settings, run, tokenizer, train, trained, fabric)
    loader = Loader(
        train,
        texts,
        order,
        seed=options.seed,
        needs=needs,
        mates=GroupMates.find(texts["text"], train.groups) if pairs else None,
        answers=tokenize_answers(train, tokenizer, needs),
        texts_per_row=method.texts_per_row,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    check_micro_batch_size(method, options.micro_batch_size, options.batch_size // fabric.world_size)
    if fabric.world_size > 1 and options.sync_batch_norm and not method.local_batch_norm:
        synchronize_batch_norm(method, fabric.device)
    resumes = latest_checkpoint(run.checkpoints) is not None
    if not resumes:
        check_start(options.interpolate, trained, method.network)
        if options.interpolate < 1 and fabric.is_global_zero:
            keep_start(run, method.network)
    factors = tune(method, settings)
    module, optimizer = fabric.setup(EmbedModule(method), build_optimizer(method, options, factors))
    total_steps = options.steps or max(1, round(options.epochs * loader.steps_per_epoch))
    session = Session(
        settings=settings,
        run=run,
        splits=splits,
        fabric=fabric,
        method=method,
        module=module,
        optimizer=optimizer,
        tokenizer=tokenizer,
        loader=loader,
        display=Display(
            run,
            options,
            batch_size=options.batch_size,
            total_steps=total_steps,
            show=show and fabric.is_global_zero,
        ),
        total_steps=total_steps,
    )
    if settings.data.retain is not None and fabric.is_global_zero:
        session.retained = Retained(settings.data.retain, run, session.model(), rows=options.evaluation_rows)
        if not resumes:
            session.display.note(0, session.retained.measure_start(session.model()))
    usual = settings.method_type.training_defaults.get("select", LAST)
    session.selection = selection_of(
        options.select, run, session.model(), splits, asked=options.select != usual
    )
    if session.selection is None and options.select != LAST:
        session.display.warn(0, f"{options.select} cannot be measured here, so the last weights are kept")
    if session.selection is not None and session.selection.oracle:
        session.display.warn(
            0,
            f"{options.select} reads the target's labels: the model is a bound, and no honest choice",
        )
    return session
