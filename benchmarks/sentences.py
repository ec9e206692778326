"""Sentence embeddings beside sentence-transformers: training, and encoding with the same weights.

    python benchmarks/sentences.py train --model MINILM --data triplets.tsv --pairs stsb_validation.tsv
    python benchmarks/sentences.py encode --model MINILM --data sentences.txt --threads 2

`train`: SimCSE with hard negatives against `MultipleNegativesRankingLoss`, the same backbone, rows, steps,
batch, length, learning rate and dropout, in float32; contenders take turns. Beside Spearman's correlation on
scored pairs stand that of the untrained backbone and of tf-idf. `encode`: the first 20,000 sentences, best of
the rounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from side_by_side import (
    likewise_measured,
    markdown_table,
    mean_and_deviation,
    output_folder,
    peer_measured,
    run,
    train_command,
)

PEER = Path(__file__).with_name("peers") / "sentence_transformers_sentences.py"
OURS, THEIRS = "likewise", "sentence-transformers"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the benchmark."""

    what: Annotated[Literal["train", "encode"], tyro.conf.Positional] = "train"
    """What to compare."""

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A folder or hub name of sentence-transformers, such as all-MiniLM-L6-v2."""

    peers: str = sys.executable
    """The Python that has sentence-transformers."""

    out: Path = Path("runs/sentences")
    """Where runs and figures go."""

    data: Path = Path("triplets.tsv")
    """train: anchor, positive and hard negative, with a header; encode: a sentence a line."""

    pairs: Path = Path("stsb_validation.tsv")
    """train: two sentences and a score, with a header."""

    num_sentences: int = 20_000
    """encode: how many of them."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """train: seeds."""

    rounds: int = 3
    """encode: rounds."""

    threads: int = 1
    """Threads of each process."""

    steps: int = 200
    """train: optimizer steps."""

    batch_size: int = 64
    """train: rows a step."""

    max_tokens: int = 64
    """train: longest text."""

    learning_rate: float = 5e-5
    """train: peak learning rate."""


def train_ours(options: Options, seed: int, folder: Path) -> dict[str, Any]:
    settings = {
        "data": options.data,
        "data.validation": options.pairs,
        "out": folder,
        "text.pretrained": options.model,
        "text.max-tokens": options.max_tokens,
        "training.steps": options.steps,
        "training.batch-size": options.batch_size,
        "training.learning-rate": options.learning_rate,
        "training.weight-decay": 0.0,
        "training.precision": "float32",
        "training.evaluate-every": 0,
        "training.save-every": 0,
        "training.seed": seed,
    }
    peak = run(train_command("simcse", settings), folder.with_suffix(".log"))
    figures = json.loads((folder / "results.json").read_text())["sts"]
    measured = likewise_measured(folder, options.batch_size)
    return asdict(measured) | {
        "peak_mib": peak,
        "spearman": figures["spearman"],
        "tfidf": figures["tfidf_spearman"],
    }


def peer(options: Options, folder: Path, *more: object) -> dict[str, Any]:
    """Run the peer's script; returns its summary."""
    command = [options.peers, PEER, options.what, "--model", options.model, "--out", folder, *more]
    run([str(word) for word in command], folder.with_suffix(".log"))
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return summary


def train_theirs(options: Options, seed: int, folder: Path) -> dict[str, Any]:
    names = ("threads", "steps", "batch_size", "max_tokens", "learning_rate")
    words = [word for name in names for word in (f"--{name.replace('_', '-')}", getattr(options, name))]
    files = ["--data", options.data, "--validation", options.pairs]
    summary = peer(options, folder, *files, *words, "--seed", seed)
    return asdict(peer_measured(folder)) | {name: summary[name] for name in ("peak_mib", "spearman")}


def compare_training(options: Options) -> list[str]:
    from likewise import load
    from likewise.metrics.texts.similarity import correlations

    records: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: []}
    for seed in options.seeds:
        records[OURS].append(train_ours(options, seed, options.out / f"likewise-{seed}"))
        records[THEIRS].append(train_theirs(options, seed, options.out / f"peer-{seed}"))
        print({name: found[-1] for name, found in records.items()}, flush=True)
    rows = [line.split("\t") for line in options.pairs.read_text(encoding="utf-8").splitlines()[1:]]
    cosines = load(options.model).similarity_pairwise([row[0] for row in rows], [row[1] for row in rows])
    before = correlations(cosines, np.array([float(row[2]) for row in rows]))["spearman"]
    (options.out / "train.json").write_text(json.dumps(records | {"untrained": before}, indent=2))
    table = [
        {
            "": name,
            "Spearman": mean_and_deviation([100 * one["spearman"] for one in found]),
            "rows/s": f"{statistics.median(one['steady_images_per_second'] for one in found):.1f}",
            "peak MiB": f"{max(one['peak_mib'] for one in found):.0f}",
        }
        for name, found in records.items()
    ]
    ratios = [
        own["steady_images_per_second"] / other["steady_images_per_second"]
        for own, other in zip(*records.values(), strict=True)
    ]
    return [
        markdown_table(table),
        f"Untrained: {100 * before:.1f}. Tf-idf: {100 * records[OURS][0]['tfidf']:.1f}. "
        f"Rows a second, ours by theirs: {' '.join(f'{ratio:.2f}' for ratio in ratios)}.",
    ]


def encode_ours(model: str, file: str, out: str) -> None:
    """In a process of its own; see `compare_encoding`."""
    from likewise import load

    sentences = Path(file).read_text(encoding="utf-8").splitlines()
    opened = load(model)
    opened.encode_texts(sentences[:256])
    began = time.perf_counter()
    vectors = opened.encode_texts(sentences)
    seconds = time.perf_counter() - began
    np.save(Path(out) / "vectors.npy", vectors)
    (Path(out) / "summary.json").write_text(json.dumps({"sentences_per_second": len(sentences) / seconds}))


def compare_encoding(options: Options) -> list[str]:
    file = options.out / "sentences.txt"
    lines = options.data.read_text(encoding="utf-8").splitlines()[: options.num_sentences]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    rates: dict[str, list[float]] = {OURS: [], THEIRS: []}
    apart = 0.0
    for number in range(options.rounds):
        ours, theirs = (options.out / f"{name}-encode-{number}" for name in (OURS, THEIRS))
        ours.mkdir(exist_ok=True)
        given = ", ".join(map(repr, map(str, (options.model, file, ours))))
        code = f"import sentences; sentences.encode_ours({given})"
        paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": paths})
        rates[OURS].append(json.loads((ours / "summary.json").read_text())["sentences_per_second"])
        summary = peer(options, theirs, "--data", file, "--threads", options.threads)
        rates[THEIRS].append(summary["sentences_per_second"])
        vectors = [np.load(folder / "vectors.npy") for folder in (ours, theirs)]
        apart = max(apart, float(np.abs(vectors[0] - vectors[1]).max()))
    table = [
        {
            "": name,
            "sentences/s": f"{max(found):.0f}",
            "each round": " ".join(f"{rate:.0f}" for rate in found),
        }
        for name, found in rates.items()
    ]
    (options.out / "encode.json").write_text(json.dumps(rates | {"apart": apart}, indent=2))
    ratios = [own / other for own, other in zip(*rates.values(), strict=True)]
    return [
        markdown_table(table),
        f"Ours by theirs: {' '.join(f'{ratio:.2f}' for ratio in ratios)}. "
        f"Vectors differ by {apart:.1e} at most.",
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    options = tyro.cli(Options, args=arguments, description=__doc__)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    output_folder(options.out)
    tables = (compare_training if options.what == "train" else compare_encoding)(options)
    print("\n" + "\n\n".join(tables))


if __name__ == "__main__":
    main()
