"""`likewise demo`: the whole path in minutes, on data that is drawn on the spot."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from likewise.catalog import find_method
from likewise.cli.evaluate_command import show_results
from likewise.cli.opened import open_splits
from likewise.cli.report_command import report
from likewise.errors import ConfigError
from likewise.model import Model, load
from likewise.training.engine import train
from likewise.training.run import RunFolder
from likewise.training.settings import Settings, default_settings, read_settings

if TYPE_CHECKING:
    from likewise.data import Dataset

__all__ = ["DemoCommand", "demo_settings", "run"]

_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Train CLIP on generated scenes, measure it on scenes it never saw, write the report, answer a query."""

    out: str = "runs/demo"
    """The run's folder."""

    query: str = "a small red circle above a large blue square"
    """The text to be answered with pictures."""

    steps: int | None = None
    """Training steps; the default takes about two minutes on two cores."""

    again: bool = False
    """Start over where a demo is already."""


def demo_settings(steps: int | None = None) -> Settings[Any]:
    """A small network that two cores train in about two minutes."""
    settings = default_settings(find_method("clip"), "scenes:train=10000,validation=1000,seed=0")
    return dataclasses.replace(
        settings,
        image=dataclasses.replace(settings.image, architecture="resnet", width=24),
        text=dataclasses.replace(settings.text, depth=3),
        training=dataclasses.replace(
            settings.training,
            steps=400 if steps is None else steps,
            batch_size=128,
            learning_rate=1e-3,
            evaluate_every=200,
            save_every=200,
            devices=1,
        ),
    )


def run(arguments: Sequence[str]) -> None:
    """Train, measure, report, answer, and say where everything is."""
    options = tyro.cli(DemoCommand, args=list(arguments), prog="likewise demo")
    if not options.query.strip():
        raise ConfigError("--query is empty; expected a text such as 'a red circle above a blue square'.")
    folder = Path(options.out)
    settings = demo_settings(options.steps)
    if options.again and (folder / "config.toml").is_file():
        _remove_old_demo(folder, settings)
    if (folder / "config.toml").is_file() and read_settings(folder / "config.toml") != settings:
        raise ConfigError(
            f"{folder} holds another run; add --again to start a demo over, or name another --out."
        )
    began = time.perf_counter()
    print(
        f"Training CLIP on {settings.data.source}: pictures of shapes and sentences about them ...",
        flush=True,
    )
    result = train(settings, folder, resume=folder.exists())
    trained = time.perf_counter()
    model = load(result.path)
    splits = open_splits(model, str(result.path))
    assert splits.validation is not None
    sheet = answer(model, splits.validation, options.query, folder / "query.png")
    page = report(folder)
    _say(result, sheet, page, options.query, trained - began)


def _remove_old_demo(folder: Path, settings: Settings[Any]) -> None:
    """Start over, but never over a run of the user's own."""
    if read_settings(folder / "config.toml").data.source != settings.data.source:
        raise ConfigError(f"--again would remove {folder}, which is no demo; name another --out.")
    shutil.rmtree(folder)


def answer(model: Model, pictures: Dataset, query: str, path: Path) -> Path:
    """Write the pictures nearest to a text, best first, as one sheet.

    Args:
        model: encodes both.
        pictures: what is searched.
        query: the text.
        path: the picture file.
    """
    from likewise.evaluation import nearest

    found = nearest(model.encode_texts(query), model.encode_dataset_images(pictures), _SHOWN)
    draw_answer(pictures, query, np.asarray(found.indices)[0], np.asarray(found.similarities)[0], path)
    return path


def draw_answer(pictures: Dataset, query: str, rows: np.ndarray, scores: np.ndarray, path: Path) -> None:
    """A sheet: the query above, the pictures found with their cosine and caption below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, (len(rows) + 1) // 2, figsize=(11, 6.4), layout="constrained")
    figure.suptitle(f"“{query}”", fontsize=14)
    for axis in axes.flat:
        axis.axis("off")
    for place, (axis, row, score) in enumerate(zip(axes.flat, rows, scores, strict=False), start=1):
        axis.imshow(pictures.images([int(row)])[0].permute(1, 2, 0).numpy())
        caption = "" if pictures.texts is None else _wrapped(pictures.texts[int(row)][0])
        axis.set_title(f"{place}.  cosine {score:.2f}\n{caption}", fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _wrapped(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 28)[:3])


def _say(result: RunFolder, sheet: Path, page: Path, query: str, seconds: float) -> None:
    figures = result.read_json(result.results)
    show_results({task: figures[task] for task in ("retrieval", "neighbours") if task in figures})
    print(f"\nTrained in {seconds:.0f} s. Measured on scenes it never saw; equal captions count as equal.\n")
    for what, where in (
        ("report", page),
        (f"answer to “{query}”", sheet),
        ("model", result.model),
        ("figures", result.results),
        ("settings", result.config),
    ):
        print(f"  {what:<16} {where}")
    print("\nNext, with your own pictures and captions:\n")
    print("  likewise data captions.csv\n  likewise train clip --data captions.csv --out runs/first")
