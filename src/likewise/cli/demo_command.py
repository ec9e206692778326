"""`likewise demo`: the whole path in minutes, on data that is drawn on the spot."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from likewise.cli.explain_command import left_out
from likewise.errors import ConfigError, Interrupted
from likewise.evaluation.context import Context
from likewise.evaluation.registry import evaluate
from likewise.evaluation.tasks.retrieval import RetrievalOptions
from likewise.hardware import native_bfloat16
from likewise.messages import first_names
from likewise.methods.catalog import find_method
from likewise.model.grad_cam import explain
from likewise.model.model import load
from likewise.option_flags import parse_flags
from likewise.reporting import report
from likewise.reporting.sheets.answer_sheet import draw_answer
from likewise.reporting.sheets.explanation_sheet import draw_explanation
from likewise.runs.folder import RunFolder
from likewise.runs.open import open_splits
from likewise.runs.settings import (
    Settings,
    differences,
    parse_settings,
    preset_arguments,
    read_settings,
)
from likewise.training.engine import train

__all__ = ["DemoCommand", "demo_settings", "run"]

_STEPS = 360
_JUDGED = 16  # candidates of each search that are judged again
_ANSWER, _WORDS = "query.png", "words.png"


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Train TCL on generated scenes, measure it on scenes it never saw before and after re-ranking, write the
    report, answer a query, show where its words look."""

    out: str = "runs/demo"
    """The run's folder."""

    query: str = "a small red circle above a large blue square"
    """The text to be answered with pictures."""

    steps: int | None = None
    """Training steps; the default takes four to seven minutes on two cores, of half as many rows each where
    the processor does not multiply bfloat16 itself."""

    again: bool = False
    """Start over where a demo is already."""


def demo_settings(steps: int | None = None) -> Settings[Any]:
    """A small network that two cores train in a few minutes.

    In float32 a step costs three times as much as in bfloat16; it has half as many rows there.
    """
    method = find_method("tcl")
    fast = torch.cuda.is_available() or native_bfloat16("cpu")
    flags = {
        "data": "scenes:train=10000,validation=1000,seed=0",
        "training.batch-size": 128 if fast else 64,
        "training.steps": _STEPS if steps is None else steps,
        "training.evaluate-every": 120,
        "training.save-every": 120,
        "training.devices": 1,
    }
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    settings, _ = parse_settings(method, [*preset_arguments(method, "tiny"), *words], prog="likewise demo")
    return settings


def run(arguments: Sequence[str]) -> None:
    """Train, measure, report, answer, and say where everything is."""
    options = parse_flags(DemoCommand, arguments, prog="likewise demo")
    if not options.query.strip():
        raise ConfigError("--query is empty; expected a text such as 'a red circle above a blue square'.")
    folder = Path(options.out)
    settings = demo_settings(options.steps)
    if options.again and (folder / "config.toml").is_file():
        _remove_old_demo(folder, settings)
    if (folder / "config.toml").is_file():
        _check_same_demo(folder, settings)
    began = time.perf_counter()
    print(
        f"Training TCL on {settings.data.source}: pictures of shapes and sentences about them ...",
        flush=True,
    )
    try:
        result = train(settings, folder, resume=(folder / "config.toml").is_file())
    except Interrupted as error:
        again = " without --again" if options.again else ""
        raise Interrupted(f"{error} Go on with the same command{again}.") from error
    trained = time.perf_counter()
    print("Judging the best of each search again, pair by pair ...", flush=True)
    model = load(result.path)
    splits = open_splits(model, str(result.path))
    assert splits.validation is not None
    result.add_results(
        "retrieval", evaluate(Context(model, splits), "retrieval", RetrievalOptions(rerank=_JUDGED))
    )
    sheet, words = folder / _ANSWER, folder / _WORDS
    best = draw_answer(model, splits.validation, options.query, sheet, num_candidates=_JUDGED)
    picture = splits.validation.images([best])
    remarks = draw_explanation(picture[0].numpy(), explain(model, picture, [options.query])[0], words)
    remarks = left_out(model, options.query) + remarks
    page = report(folder)
    _say(result, sheet, words, page, options.query, trained - began)
    for remark in remarks:
        print(f"\n{remark}")


def _check_same_demo(folder: Path, settings: Settings[Any]) -> None:
    """A demo goes on where it stopped; another run is left alone."""
    old = read_settings(folder / "config.toml")
    if old.method_name != settings.method_name or differences(old, settings):
        again = "add --again to start the demo over, or " if _is_demo(folder, settings) else ""
        raise ConfigError(f"{folder} holds another run; {again}name another --out.")


def _remove_old_demo(folder: Path, settings: Settings[Any]) -> None:
    """Start over, but never over a run of the user's own."""
    if not _is_demo(folder, settings):
        raise ConfigError(f"--again would remove {folder}, which is no demo; name another --out.")
    if others := sorted(path.name for path in folder.iterdir() if path.name not in _written(folder)):
        shown = first_names(others, most=3)
        raise ConfigError(f"--again would remove {shown} in {folder}, of no demo; name another --out.")
    shutil.rmtree(folder)


def _is_demo(folder: Path, settings: Settings[Any]) -> bool:
    """Whether a run has a demo's settings, but for its length."""
    old = read_settings(folder / "config.toml")
    if old.method_name != settings.method_name or old.data != settings.data:
        return False
    as_long = dataclasses.replace(settings.training, steps=old.training.steps)
    return not differences(old, dataclasses.replace(settings, training=as_long))


def _written(folder: Path) -> set[str]:
    """What a demo leaves in its folder."""
    run = RunFolder(folder)
    paths = (path for path in vars(run).values() if path != run.path)
    return {*(path.name for path in paths), ".lock", _ANSWER, _WORDS}


def _say(result: RunFolder, sheet: Path, words: Path, page: Path, query: str, seconds: float) -> None:
    figures = result.read_json(result.results)
    retrieval = figures["retrieval"]
    print(f"\nTrained in {seconds:.0f} s. Measured on scenes it never saw; equal captions count as equal.\n")
    for way, name in (("text to image", "text_to_image"), ("image to text", "image_to_text")):
        before, after = retrieval[f"{name}_r1"], retrieval[f"reranked_{name}_r1"]
        print(f"  {way}, right at first: {before:.1%} by cosine, {after:.1%} after re-ranking")
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
        ("where its words look", words),
        ("model", result.model),
        ("figures", result.results),
        ("settings", result.config),
    ):
        print(f"  {what:<20} {where}")
    print("\nNext, with your own pictures and captions:\n")
    print("  likewise data captions.csv")
    print("  likewise train tcl --preset tiny --data captions.csv --out runs/first")
