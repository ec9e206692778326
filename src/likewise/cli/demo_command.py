"""`likewise demo`: everything in minutes, on generated data."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from likewise.cli.files.demo_index import answer_by_index
from likewise.errors import ConfigError, Interrupted
from likewise.evaluation.context import Context
from likewise.evaluation.registry import evaluate
from likewise.evaluation.tasks.retrieval import RetrievalOptions
from likewise.hardware import native_bfloat16
from likewise.messages import first_names
from likewise.methods.catalog import find_method
from likewise.model.explanations.grad_cam import explain
from likewise.model.explanations.phrases import unread_words
from likewise.model.model import load
from likewise.option_flags import parse_flags
from likewise.reporting import report
from likewise.reporting.sheets.answer_sheet import draw_answer
from likewise.reporting.sheets.explanation_sheet import draw_explanation
from likewise.runs.folder import RunFolder
from likewise.runs.open import RunData
from likewise.runs.settings import (
    Settings,
    Tables,
    build_settings,
    differences,
    preset_tables,
    read_settings,
)
from likewise.runs.unseen_rows import own_measured
from likewise.training.engine import train

__all__ = ["DemoCommand", "demo_settings", "run"]

_STEPS = 360
_SLOW_STEPS = 480  # of half the batch
_RERANKED = 16  # candidates of each search
_ANSWER, _WORDS = "query.png", "words.png"
_INDEX, _ANSWERS = "scenes.index", "answers.png"


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Train TCL on generated scenes, evaluate it on new ones with and without re-ranking, write the report,
    answer a query with images and attention maps, and search an index by words and images."""

    out: str = "runs/demo"
    """The run's folder."""

    query: str = "a small red circle above a large blue square"
    """The text that images are searched by."""

    steps: int | None = None
    """Training steps; the default takes four to eight minutes on two cores. The batch is half as large on
    processors without bfloat16."""

    again: bool = False
    """Remove an earlier demo and start over."""


def demo_settings(steps: int | None = None) -> Settings[Any]:
    """A small network that two cores train in a few minutes.

    A step costs three times as much in float32 as in bfloat16; the batch is half as large there, with a third
    more steps.
    """
    method = find_method("tcl")
    fast = torch.cuda.is_available() or native_bfloat16("cpu")
    training = {
        "batch_size": 128 if fast else 64,
        "steps": (_STEPS if fast else _SLOW_STEPS) if steps is None else steps,
        "evaluate_every": 120,
        "save_every": 120,
        "devices": 1,
    }
    own: Tables = {"data": {"source": "scenes:train=10000,validation=1000,seed=0"}, "training": training}
    return build_settings(method, preset_tables(method, "tiny"), own)


def run(arguments: Sequence[str]) -> None:
    """Train, evaluate, report, answer, and print where everything is."""
    options = parse_flags(DemoCommand, arguments, prog="likewise demo")
    if not options.query.strip():
        raise ConfigError("--query is empty; expected a text such as 'a red circle above a blue square'.")
    run, settings = RunFolder(options.out), demo_settings(options.steps)
    if run.config.is_file():
        _check_demo(run, settings, options.again)
    began, resume = time.perf_counter(), run.config.is_file()
    print(f"Training TCL on {settings.data.source}: images of shapes, with captions ...", flush=True)
    try:
        train(settings, run.path, resume=resume)
    except Interrupted as error:
        again = " without --again" if options.again else ""
        raise Interrupted(f"{error} Go on with the same command{again}.") from error
    seconds = time.perf_counter() - began
    print("Re-ranking the best of each search, pair by pair ...", flush=True)
    model = load(run.path)
    splits = RunData(model, run.path).open()
    assert splits.validation is not None
    assert model.tokenizer is not None
    reranking = RetrievalOptions(rerank=_RERANKED)
    figures = evaluate(Context(model, splits), "retrieval", reranking)
    run.add_results("retrieval", figures | own_measured(splits).beside("retrieval"))
    sheet, words = run.path / _ANSWER, run.path / _WORDS
    best = draw_answer(model, splits.validation, options.query, sheet, num_candidates=_RERANKED)
    image = splits.validation.images([best])
    remarks = draw_explanation(image[0].numpy(), explain(model, image, [options.query])[0], words)
    print("Building an index of the new scenes ...", flush=True)
    index, answers = run.path / _INDEX, run.path / _ANSWERS
    count, others = answer_by_index(
        model, settings.data.source, options.query, index=index, sheet=answers, model_path=run.path
    )
    page = report(run.path)
    _print_summary(run, sheet, words, page, options.query, seconds)
    print(
        f"\n{index} has {count:,} scenes; {answers} shows what it finds by a text, an image and both. Try:\n"
    )
    print(f'  likewise search {shlex.quote(str(index))} "a large green star - a circle" --sheet found.png')
    for remark in [*unread_words(model.tokenizer, options.query), *dict.fromkeys(remarks + others)]:
        print(f"\n{remark}")


def _check_demo(run: RunFolder, settings: Settings[Any], again: bool) -> None:
    """Let the demo in the folder go on, or remove it to start over; leave every other run alone."""
    old = read_settings(run.config)
    same_method = old.method_name == settings.method_name
    if not again and same_method and not differences(old, settings):
        return
    # A demo has a demo's settings, whatever its number of steps.
    training = dataclasses.replace(settings.training, steps=old.training.steps)
    is_demo = same_method and old.data == settings.data
    is_demo = is_demo and not differences(old, dataclasses.replace(settings, training=training))
    if not again:
        hint = "add --again to start the demo over, or " if is_demo else ""
        raise ConfigError(f"{run.path} holds another run; {hint}name another --out.")
    if not is_demo:
        raise ConfigError(f"--again would remove {run.path}, which is no demo; name another --out.")
    known = {*(path.name for path in vars(run).values()), _ANSWER, _WORDS, _INDEX, _ANSWERS}
    if others := sorted(path.name for path in run.path.iterdir() if path.name not in known):
        shown = first_names(others, most=3)
        raise ConfigError(f"--again would remove {shown} in {run.path}, of no demo; name another --out.")
    shutil.rmtree(run.path)


def _print_summary(run: RunFolder, sheet: Path, words: Path, page: Path, query: str, seconds: float) -> None:
    figures = run.read_results().own
    retrieval = figures["retrieval"]
    print(f"\nTrained in {seconds:.0f} s. Evaluated on new scenes; identical captions count as one.\n")
    for way, name in (("text to image", "text_to_image"), ("image to text", "image_to_text")):
        before, after = retrieval[f"{name}_r1"], retrieval[f"reranked_{name}_r1"]
        print(f"  {way}, first hit right: {before:.1%} by cosine, {after:.1%} after re-ranking")
    zero_shot = figures.get("zero-shot", {})
    if "accuracy" in zero_shot:
        print(
            f"  labels by their names alone (zero-shot): {zero_shot['accuracy']:.1%}, "
            f"by chance {zero_shot['chance_accuracy']:.1%}"
        )
    print()
    for what, where in (
        ("report", page),
        (f"answer to “{query}”", sheet),
        ("attention maps", words),
        ("model", run.model),
        ("figures", run.results),
        ("settings", run.config),
    ):
        print(f"  {what:<20} {where}")
    print("\nNext, with your own images and captions:\n")
    print("  likewise data captions.csv")
    print("  likewise train tcl --preset tiny --data captions.csv --out runs/first")
