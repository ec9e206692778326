"""The sentence-transformers side of benchmarks/sentences.py: a training, or the encoding of sentences.

Model, tokenizer, collation by column and `MultipleNegativesRankingLoss` are the library's own. Its Trainer
needs `accelerate`; the loop around the loss is plain: AdamW, the warm-up and cosine of Likewise, clipping at
1. That is the best case for the library, whose Trainer does more at every step. Nothing of Likewise is
imported.
"""

import argparse
import csv
import json
import math
import resource
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sentence_transformers import SentenceTransformer
from sentence_transformers.losses import MultipleNegativesRankingLoss

STEPS_TO_WARM_UP = 3


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a table with tabs, without its header."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]


def learning_rate(step: int, options: argparse.Namespace) -> float:
    """As Likewise sets it: linear warm-up, then a cosine to zero."""
    warm = max(1, round(options.warmup_share * options.steps))
    if step < warm:
        return options.learning_rate * (step + 1) / warm
    share = (step - warm) / max(1, options.steps - warm)
    return options.learning_rate * (1 + math.cos(math.pi * share)) / 2


def train(options: argparse.Namespace) -> dict[str, object]:
    """Train; measure the loop alone."""
    torch.manual_seed(options.seed)
    model = SentenceTransformer(options.model, device="cpu")
    model.max_seq_length = options.max_tokens
    rows = read_rows(options.data)
    loss = MultipleNegativesRankingLoss(model, scale=1 / options.temperature)
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.0)
    draws, order = np.random.default_rng(options.seed), []
    model.train()
    seconds = []
    for step in range(options.steps):
        began = time.perf_counter()
        if len(order) < options.batch_size:
            order = draws.permutation(len(rows)).tolist()
        chosen = [rows[order.pop()] for _ in range(options.batch_size)]
        features = [model.tokenize(list(column)) for column in zip(*chosen, strict=True)]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options)
        loss(features, None).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # before the evaluation
    pairs = read_rows(options.validation)
    model.eval()
    first, second = (model.encode([row[k] for row in pairs], normalize_embeddings=True) for k in (0, 1))
    steady = seconds[STEPS_TO_WARM_UP:]
    return {
        "steps": options.steps,
        "train_seconds": sum(seconds),
        "images_per_second": options.steps * options.batch_size / sum(seconds),
        "steady_images_per_second": len(steady) * options.batch_size / sum(steady),
        "waiting_share": 0.0,
        "peak_mib": peak,
        "spearman": float(spearmanr((first * second).sum(1), [float(row[2]) for row in pairs]).statistic),
    }


def encode(options: argparse.Namespace) -> dict[str, object]:
    """Encode sentences with the library's defaults; keep the vectors."""
    model = SentenceTransformer(options.model, device="cpu")
    sentences = options.data.read_text(encoding="utf-8").splitlines()
    model.encode(sentences[:256])
    began = time.perf_counter()
    vectors = model.encode(sentences, show_progress_bar=False)
    seconds = time.perf_counter() - began
    np.save(options.out / "vectors.npy", vectors)
    return {"seconds": seconds, "sentences_per_second": len(sentences) / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("train", "encode"))
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--warmup-share", type=float, default=0.05)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    summary = (train if options.what == "train" else encode)(options)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
