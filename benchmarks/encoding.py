"""Encoding by a model, by its exported forms and by their libraries, with the same weights.

    python benchmarks/encoding.py RUN --data SOURCE [--threads 2] [--rounds 3] [--images 2000] [--texts 20000]

Contenders: the model with the hand-tuned layers and without, its ONNX form in onnxruntime, its transformers
form, and its sentence-transformers form; those that cannot hold an encoder are named and left out. Each is
exported here, which checks that its vectors are the model's, and read by the code of its model card.

All begin with the same things: images as PIL squares of the model's size, and strings. Normalizing and
tokenizing are timed, decoding and resizing are not. Texts go in batches of like length, as the model and
sentence-transformers make them by themselves. Contenders take turns, in an order that rotates; quoted are
medians over the rounds, and the median of ratios within a round.
"""

from __future__ import annotations

import functools
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from PIL import Image
from side_by_side import markdown_table

from likewise import Model, load
from likewise.data import DataConfig
from likewise.data.columns import OPTIONAL, Needs
from likewise.data.images.inputs import square_images
from likewise.encoders.fast.switch import disabled
from likewise.errors import LikewiseError
from likewise.export.folder import export
from likewise.model.runtime import joined_vectors
from likewise.runs.open import open_data

FORMATS = ("onnx", "transformers", "sentence-transformers")

Encode = Callable[[list[Any]], Any]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    model: Annotated[str, tyro.conf.Positional]
    """A run, model folder or hub name."""
    data: str
    """Where images and texts come from; repeated where there are too few."""
    images: int = 2_000
    """Images a round."""
    texts: int = 20_000
    """Texts a round."""
    batch_size: int = 64
    """Of every contender."""
    threads: int = 2
    """Of every contender."""
    rounds: int = 3
    """How often each takes its turn."""
    out: Path | None = None
    """A JSON file for all figures."""


def items(model: Model, options: Options) -> tuple[list[Any], list[str]]:
    """Images of the model's size, and texts."""
    read = [name for name in ("image", "text") if f"encode_{name}s" in model.abilities]
    needs = Needs(*read[:1], **dict.fromkeys(read[1:], OPTIONAL))
    splits, _ = open_data(model, options.model, DataConfig(source=options.data), needs=needs)
    data = splits.train
    images: list[Any] = []
    if "image" in read and data.has("image"):
        stored = data.images(np.arange(options.images) % len(data)).numpy().transpose(0, 2, 3, 1)
        squares = square_images(list(stored), size=model.image_encoder.image_size, fit="squash")
        images = [Image.fromarray(one) for one in squares.numpy().transpose(0, 2, 3, 1)]
    texts = [text for row in data.texts or () for text in row] if "text" in read else []
    return images, [texts[place % len(texts)] for place in range(options.texts if texts else 0)]


def ours(model: Model, batch_size: int) -> dict[str, Encode]:
    """The model's own functions."""

    def encode_images(images: list[Any]) -> np.ndarray:
        vectors = []
        for start in range(0, len(images), batch_size):
            squares = np.stack([np.asarray(image) for image in images[start : start + batch_size]])
            with model.computing():
                stored = torch.from_numpy(squares.transpose(0, 3, 1, 2))
                vectors.append(model.network.encode_images(model.pixels(stored)))
        return joined_vectors(vectors, dim=model.dim)

    return {
        "images": encode_images,
        "texts": lambda texts: model.encode_texts(texts, batch_size=batch_size),
    }


def in_batches(encode: Encode, batch_size: int, *, key: Callable[[Any], int] | None = None) -> Encode:
    """A model card's function, which takes one batch."""

    def encode_all(several: list[Any]) -> np.ndarray:
        order = list(range(len(several)))
        if key is not None:
            order.sort(key=lambda place: -key(several[place]))
        parts = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        in_order = np.concatenate([np.asarray(encode([several[place] for place in part])) for part in parts])
        vectors = np.empty_like(in_order)
        vectors[order] = in_order
        return vectors

    return encode_all


def exported(model: Model, name: str, folder: Path, options: Options) -> dict[str, Encode]:
    """The functions of a format's model card."""
    written = export(model, folder, format=name)
    print(f"{name}: differences {written.differences}", *written.notes, flush=True)
    code = (folder / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("\nprint(")[0]
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code.replace("path/to/this/folder", str(folder)), names)
    found = {what: names.get(f"encode_{what}") for what in ("images", "texts")}
    if name == "sentence-transformers":  # which makes batches itself
        opened = names["model"]
        return {
            what: lambda given: opened.encode(given, batch_size=options.batch_size)
            for what, function in found.items()
            if function is not None
        }
    keys: dict[str, Any] = {"images": None, "texts": len}
    return {
        what: in_batches(function, options.batch_size, key=keys[what])
        for what, function in found.items()
        if function is not None
    }


def contenders(options: Options, folder: Path) -> dict[str, dict[str, Encode]]:
    """All by name; the first is what the others are compared with."""
    model = load(options.model)
    with disabled():
        plain = load(options.model)
    found = {
        "likewise": ours(model, options.batch_size),
        "likewise, plain layers": ours(plain, options.batch_size),
    }
    for name in FORMATS:
        try:
            found["onnxruntime" if name == "onnx" else name] = exported(model, name, folder / name, options)
        except (LikewiseError, ImportError) as error:
            print(f"{name}: left out: {error}", flush=True)
    return found


def measure(what: str, given: list[Any], able: dict[str, Encode], rounds: int) -> list[dict[str, Any]]:
    """A row a contender."""
    names = list(able)
    rates: dict[str, list[float]] = {name: [] for name in names}
    vectors = {name: np.asarray(able[name](given[:256])) for name in names}  # also warms up
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            began = time.perf_counter()
            able[name](given)
            rates[name].append(len(given) / (time.perf_counter() - began))
        print(
            f"{what}, round {turn + 1}: { ({name: round(rates[name][-1], 1) for name in names}) }", flush=True
        )
    first = names[0]
    ratios = {
        name: statistics.median(own / rate for own, rate in zip(rates[first], rates[name], strict=True))
        for name in names
    }
    return [
        {
            "": name,
            f"{what}/s": f"{statistics.median(rates[name]):.1f}",
            "each round": " ".join(f"{rate:.1f}" for rate in rates[name]),
            f"{first} by it": f"{ratios[name]:.2f}",
            "apart": f"{np.abs(vectors[name] - vectors[first]).max():.1e}",
        }
        for name in names
    ]


def use_threads(count: int) -> None:
    """As many threads for torch and for sessions of onnxruntime."""
    torch.set_num_threads(count)
    try:
        import onnxruntime
    except ImportError:
        return
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = count
    onnxruntime.InferenceSession = functools.partial(
        onnxruntime.InferenceSession, sess_options=settings, providers=["CPUExecutionProvider"]
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print tables."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    use_threads(options.threads)
    tables: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        found = contenders(options, Path(folder))
        model = load(options.model)
        for what, given in zip(("images", "texts"), items(model, options), strict=True):
            able = {name: functions[what] for name, functions in found.items() if what in functions}
            if given:
                tables[what] = measure(what, given, able, options.rounds)
    for what, rows in tables.items():
        print(f"\n{len(given) if what == 'texts' else options.images:,} {what}:\n\n{markdown_table(rows)}")
    print(f"\n{model!r}; batches of {options.batch_size}, {options.threads} threads")
    if options.out is not None:
        options.out.write_text(json.dumps(tables, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
