"""Indexing a folder of photos end to end: images a second, and the share of time that is not the network's.

    python benchmarks/indexing.py ../shared/data/flickr8k/images --rounds 3

A ResNet-18 at 64 px (its weights do not matter) embeds every image once: files are listed, read and decoded,
thumbnails made, vectors and tables written. Times are of the processor: all threads of this process, and of
them the thread that runs the network while it runs it (torch has one thread). The files are in the system's
memory from the first round on, which is not counted. Updates in which nothing or one file in a hundred has
changed are timed too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from likewise.methods.catalog import find_method
from likewise.model import Model, load
from likewise.runs.settings import default_settings
from likewise.search.build import IndexOptions, update_index
from likewise.training.engine import train


def resnet(folder: Path) -> Model:
    settings = default_settings(find_method("simclr"), "scenes:train=32,validation=8", image_size=64)
    settings = dataclasses.replace(
        settings,
        image=dataclasses.replace(settings.image, architecture="resnet", width=64, depth=18),
        training=dataclasses.replace(
            settings.training, steps=1, batch_size=16, loggers=(), precision="float32"
        ),
    )
    return load(train(settings, folder / "run", show=False).path)


def measured(model: Model, source: Path, out: Path, options: IndexOptions) -> dict[str, float]:
    """One update: processor seconds of everything and of the network, and seconds on the clock."""
    network = 0.0
    encode = model.encode_squares

    def timed(squares: Any) -> Any:
        nonlocal network
        began = time.thread_time()
        vectors = encode(squares)
        network += time.thread_time() - began
        return vectors

    model.encode_squares = timed  # type: ignore[method-assign]
    began, clock = time.process_time(), time.perf_counter()
    update = update_index(model, source, out, options)
    found = {
        "images": update.index.size,
        "embedded": update.added,
        "processor": time.process_time() - began,
        "clock": time.perf_counter() - clock,
        "network": network,
    }
    model.encode_squares = encode  # type: ignore[method-assign]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photos", type=Path, help="a folder of image files")
    parser.add_argument("--count", type=int, default=7000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rounds: dict[str, list[dict[str, float]]] = {"new": [], "unchanged": [], "1 % changed": []}
    with tempfile.TemporaryDirectory() as name:
        folder, photos = Path(name), Path(name) / "photos"
        photos.mkdir()
        files = sorted(path for path in arguments.photos.iterdir() if path.is_file())[: arguments.count]
        for path in files:
            shutil.copy(path, photos)
        model = resnet(folder)
        for number in range(arguments.rounds + 1):
            out = folder / f"{number}.index"
            found = [measured(model, photos, out, IndexOptions()) for _ in range(2)]
            for path in sorted(photos.iterdir())[::100]:
                os.utime(path, (number, number))
            found.append(measured(model, photos, out, IndexOptions()))
            if number:
                for kept, one in zip(rounds.values(), found, strict=True):
                    kept.append(one)
            shutil.rmtree(out)
    print(
        f"{'update':<12} {'images':>7} {'embedded':>8} {'processor s':>11} {'clock s':>8} "
        f"{'images/s':>9}  rest"
    )
    for name, found in rounds.items():
        middle = {key: statistics.median(one[key] for one in found) for key in found[0]}
        share = 1 - middle["network"] / middle["processor"]
        rate = f"{middle['embedded'] / middle['processor']:>9,.0f}" if middle["embedded"] else f"{'-':>9}"
        print(
            f"{name:<12} {middle['images']:>7,.0f} {middle['embedded']:>8,.0f} {middle['processor']:>11.2f} "
            f"{middle['clock']:>8.2f} {rate}  {share:.1%}"
        )
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(rounds, indent=2) + "\n")


if __name__ == "__main__":
    main()
