"""The smallest settings that train every method in a second, and what tests do with such a training."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from likewise.errors import Interrupted
from likewise.methods.base import Method, Progress
from likewise.methods.catalog import find_method, methods
from likewise.runs.settings import Settings, default_settings

SOURCE = "scenes:train=48,validation=16,seed=3,size=32"

TARGET = "scenes:train=48,validation=16,seed=3,size=32,style=sketch"

SOUNDS = "sounds:train=48,validation=16,seed=3,rate=8000,size=32"

RESNET = {"architecture": "resnet", "width": 8, "depth": 10}
VIT = {"width": 32, "depth": 2}
AUDIO = {"width": 8, "depth": 10, "sample_rate": 8000, "mels": 32, "seconds": 1.5, "hop_ms": 40.0}
WITH_TEXTS = ("clip", "tcl", "captioning", "simcse", "vqa", "entailment", "nlvr", "text-assignment")
# What scenes are for: those of other methods have captions and labels.
TASKS = {"vqa": "questions", "entailment": "statements", "nlvr": "pairs"}
OF_TWO_DOMAINS = (
    *("source-only", "oracle", "align", "dann", "cdan", "adda", "mcd", "mean-teacher"),
    *("cross-task", "cross-view"),
)

# Narrow heads; a queue that the batch does not divide, and a twin that follows within a few steps.
METHOD_OPTIONS: dict[str, dict[str, Any]] = {
    "byol": {"hidden_dim": 32, "projection_dim": 16},
    "simsiam": {"projection_dim": 32, "predictor_dim": 16},
    "moco": {"queue_size": 23, "ema_momentum": 0.9, "norm_rows": 8},
    "instance": {"projection_dim": 32},
    "simcse": {"dropout": 0.0},
    "captioning": {"decoder_width": 32, "dropout": 0.0},
    **{name: {"bottleneck_dim": 16} for name in OF_TWO_DOMAINS},
    **{name: {"bottleneck_dim": 16, "discriminator_dim": 16} for name in ("dann", "cdan", "adda")},
    "mean-teacher": {"bottleneck_dim": 16, "confidence": 0.3, "ema_momentum": 0.9},
    "mcd": {"bottleneck_dim": 16, "encoder_updates": 2},
    "vqa": {"distillation": 0.4, "ema_momentum": 0.9},
    "entailment": {"distillation": 0.4, "ema_momentum": 0.9},
    "nlvr": {"distillation": 0.4, "ema_momentum": 0.9},
    "tcl": {"queue_size": 23, "fusion_depth": 2, "embedding_dim": 16, "negatives": "all"},
}


def small_settings(method: str, **training: Any) -> Settings[Any]:
    """A narrow ViT or ResNet at 32 px, a two-layer text network, batches of 16."""
    source = f"{SOURCE},task={TASKS[method]}" if method in TASKS else SOURCE
    source = SOUNDS if "audio" in find_method(method).needs else source
    settings = default_settings(find_method(method), source, image_size=32)
    text = {"vocabulary_size": 300}
    if "width" not in settings.method_type.unread_options.get("text", ()):
        text |= {"width": 32, "depth": 3 if method == "tcl" else 2, "heads": 2}
    options = {
        "steps": 6,
        "batch_size": 16,
        "log_every": 1,
        "evaluate_every": 0,
        "loggers": (),
        "save_every": 2,
    }
    target = TARGET if method in OF_TWO_DOMAINS else None
    return dataclasses.replace(
        settings,
        data=dataclasses.replace(settings.data, target=target),
        image=dataclasses.replace(settings.image, **(VIT if method in WITH_TEXTS else RESNET)),
        audio=dataclasses.replace(settings.audio, **AUDIO),
        text=dataclasses.replace(settings.text, **text),
        method=dataclasses.replace(settings.method, **METHOD_OPTIONS.get(method, {})),
        training=dataclasses.replace(settings.training, **(options | {"precision": "float32"} | training)),
    )


@contextlib.contextmanager
def stopped_after(steps: int, method: str) -> Iterator[pytest.ExceptionInfo[Interrupted]]:
    """Inside, a training of the method gets SIGTERM after so many steps, and must stop there."""
    kind = methods()[method]
    after_step = kind.after_step

    def stop(self: Method, progress: Progress) -> None:
        after_step(self, progress)
        if progress.step == steps:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "after_step", stop)
        with pytest.raises(Interrupted, match=f"after step {steps}") as stopped:
            yield stopped


def logged(run: Path, name: str) -> list[float]:
    """A number of each training step that a run wrote down."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line[name] for line in lines if line["kind"] == "train"]
