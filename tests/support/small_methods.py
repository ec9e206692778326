"""Every method, small, with its batches."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from small_runs import small_settings

from likewise.batches.loader import Loader
from likewise.batches.samplers import make_order
from likewise.batches.tokenized_texts import tokenize, tokenize_answers, training_answers, training_texts
from likewise.data import prepare
from likewise.encoders.audio import encoder as audio_module
from likewise.encoders.audio.encoder import stored_form
from likewise.encoders.tokenizer import train_tokenizer
from likewise.methods import base as method_module
from likewise.methods.base import BuildContext, Method, Step, TokenizerInfo
from likewise.methods.catalog import methods
from likewise.step_random import StepRandom

METHODS = sorted(methods())
STEP = Step(StepRandom(0, 0))
# What a method can also be: each goes through the same checks.
VARIANTS = {
    "moco v1": ("moco", {"version": "v1", "ema_momentum": 0.9}),
    "moco symmetric": ("moco", {"symmetric": True, "ema_momentum": 0.9}),
    "moco pushing between": ("moco", {"symmetric": True, "push_between": True, "ema_momentum": 0.9}),
    "moco v3": (
        "moco",
        {"version": "v3", "queue_size": None, "norm_rows": None, "hidden_dim": 32, "projection_dim": 16},
    ),
    "instance nce": ("instance", {"loss": "nce", "num_noise": 40}),
    "siamese of the batch": ("siamese", {"pairs": "batch"}),
    "triplet hard": ("triplet", {"mining": "hard", "embedding_dim": None}),
    "supcon of one view": ("supcon", {"num_views": 1, "embedding_dim": 16}),
    "multiview of three": ("multiview", {"channels": ("L", "a", "b")}),
    "align coral": ("align", {"distance": "coral"}),
    "align mean": ("align", {"distance": "mean"}),
    "cdan at random": ("cdan", {"bottleneck_dim": 1024, "random_dim": 32}),
    "fixmatch": ("mean-teacher", {"form": "fixmatch", "confidence": 0.3}),
    "simcse with words": ("simcse", {"mlm_weight": 0.5}),
    "tcl without words": ("tcl", {"mlm": 0.0}),
    "tcl without fusion": ("tcl", {"itm": 0.0, "mlm": 0.0}),
}
ALL = [*METHODS, *VARIANTS]
# Methods whose shapes hang on numbers: how many words the texts have (packed texts), and how many pairs of a
# class the batch has.
THEY_COUNT = {
    "captioning",
    "entailment",
    "nlvr",
    "simcse",
    "simcse with words",
    "tcl",
    "tcl without words",
    "tcl without fusion",
    "text-assignment",
    "triplet",
    "vqa",
}


def build(
    name: str, *, depth: int | None = None, rank: int = 0, world_size: int = 1
) -> tuple[Method, Loader]:
    """A small method and a process's part of its batches of 16; `depth` is that of its image encoder, where
    another is wanted."""
    method, options = VARIANTS.get(name, (name, {}))
    settings = small_settings(method)
    sounds = stored_form(settings.audio)
    splits = prepare(settings.data, image_size=32, needs=settings.method_type.needs, sounds=sounds)
    tokenizer, info, needs = None, None, settings.method_type.needs
    if "text" in settings.method_type.needs:
        texts = training_texts(splits.train, needs)
        tokenizer = train_tokenizer(texts, vocabulary_size=300, max_tokens=32)
        info = TokenizerInfo(tokenizer.size, tokenizer.mask_id, tokenizer.special_ids)
    context = dataclasses.replace(
        context_of(method, info),
        answers=training_answers(splits.train),
        classes=tuple(splits.train.label_names or ()),
    )
    if depth is not None:
        image = dataclasses.replace(settings.image, depth=depth)
        context = dataclasses.replace(context, image=image)
    torch.manual_seed(0)
    order = make_order(
        settings.training.order,
        splits.train.labels,
        num_rows=len(splits.train),
        batch_size=16,
        examples_per_class=4,
        world_size=world_size,
        seed=0,
        is_target=splits.train.is_target,
    )
    made = settings.method_type(dataclasses.replace(settings.method, **options), context)
    texts, answers = (read(splits.train, tokenizer, needs) for read in (tokenize, tokenize_answers))
    loader = Loader(
        splits.train,
        texts,
        order,
        seed=0,
        needs=needs,
        answers=answers,
        rank=rank,
        world_size=world_size,
    )
    return made, loader


def steps_of(method: Method, step: int) -> list[Step]:
    """What each phase of a step is told."""
    return [Step(StepRandom(0, step), phase=phase.name) for phase in method.phases]


def context_of(method: str, tokenizer: TokenizerInfo | None = None) -> BuildContext:
    settings = small_settings(method)
    # Processes draw other dropout masks than one alone would.
    text = None if tokenizer is None else dataclasses.replace(settings.text, dropout=0.0)
    return BuildContext(
        image=settings.sections().get("image"),
        audio=settings.sections().get("audio"),
        text=text,
        views={family: settings.sections()[family] for family in settings.method_type.view_families},
        tokenizer=tokenizer,
        num_rows=48,
    )


def float64_views(patch: pytest.MonkeyPatch) -> None:
    """Views come in float32; networks in float64 want float64."""
    for module, name in ((method_module, "random_view"), (audio_module, "random_sound_view")):
        made = getattr(module, name)
        patch.setattr(module, name, lambda *args, made=made, **options: made(*args, **options).double())
