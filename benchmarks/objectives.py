"""How fast the objectives are, and how much memory they take, against the code others use.

Run in an environment that has torch and the peers (open_clip, lightly, pytorch-metric-learning,
sentence-transformers; absent ones are named and left out):

    PYTHONPATH=src python benchmarks/objectives.py            # everything; tens of minutes on two cores
    PYTHONPATH=src python benchmarks/objectives.py --quick    # small sizes, two minutes
    PYTHONPATH=src python benchmarks/objectives.py --only clip_loss --repeats 3

Each measurement is a forward and a backward pass in a fresh process: seconds, and by how much the peak of
resident memory grew over what the process held before (gradients included, inputs not). Implementations of
one row take turns, so that a busy machine slows all alike; figures are medians, ratios are medians of ratios
within a turn.

On a busy machine threads wait for each other and wall time says little: `--clock processor` takes one thread
and counts what it computes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

OURS = "ours"


# --- what is measured: name -> builder(N, D) -> function that gives a loss; imports stay inside
# --------------


def features(rows, width, count=2):
    import torch

    return [torch.randn(rows, width, requires_grad=True) for _ in range(count)]


def learned(value):
    import torch

    return torch.tensor(value, requires_grad=True)


def four_per_class(rows):
    import torch

    return torch.arange(rows) // 4


def our_clip(precision=None):
    def build(rows, width):
        from likewise.objectives import clip_loss

        (images, texts), temperature = features(rows, width), learned(0.07)
        return lambda: clip_loss(images, texts, temperature=temperature, precision=precision)

    return build


def open_clip(rows, width):
    import torch.nn.functional as F
    from open_clip.loss import ClipLoss

    (images, texts), scale, loss = features(rows, width), learned(1 / 0.07), ClipLoss()
    return lambda: loss(F.normalize(images, dim=1), F.normalize(texts, dim=1), scale)


def dense_clip(rows, width):
    import torch
    import torch.nn.functional as F

    (images, texts), scale = features(rows, width), learned(1 / 0.07)

    def loss():
        logits = scale * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).t()
        target = torch.arange(rows)
        return (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2

    return loss


def dense_clip_bfloat16(rows, width):
    import torch

    loss = dense_clip(rows, width)

    def autocast():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss()

    return autocast


def our_nt_xent(precision=None):
    def build(rows, width):
        from likewise.objectives import nt_xent

        first, second = features(rows, width)
        return lambda: nt_xent(first, second, temperature=0.1, precision=precision)

    return build


def lightly(rows, width):
    from lightly.loss import NTXentLoss

    (first, second), loss = features(rows, width), NTXentLoss(temperature=0.1)
    return lambda: loss(first, second)


def metric_learning_nt_xent(rows, width):
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    (first, second), loss = features(rows, width), SelfSupervisedLoss(NTXentLoss(temperature=0.1))
    return lambda: loss(first, second)


def dense_nt_xent(rows, width):
    import torch
    import torch.nn.functional as F

    first, second = features(rows, width)

    def loss():
        views = F.normalize(torch.cat([first, second]), dim=1)
        logits = (views @ views.t() / 0.1).masked_fill(torch.eye(2 * rows, dtype=torch.bool), float("-inf"))
        here = torch.arange(rows)
        return F.cross_entropy(logits, torch.cat([here + rows, here]))

    return loss


def our_info_nce(precision=None):
    def build(rows, width):
        from likewise.objectives import info_nce

        queries, keys = features(rows, width)
        return lambda: info_nce(queries, keys, temperature=0.05, precision=precision)

    return build


def sentence_transformers(rows, width):
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    (queries, keys), loss = features(rows, width), MultipleNegativesRankingLoss(model=None, scale=20.0)
    return lambda: loss.compute_loss_from_embeddings([queries, keys], None)


def our_supervised(rows, width):
    from likewise.objectives import supervised_contrastive

    (x,), labels = features(rows, width, 1), four_per_class(rows)
    return lambda: supervised_contrastive(x, labels, temperature=0.1)


def our_pairs(rows, width):
    from likewise.objectives import pair_loss

    (x,), labels = features(rows, width, 1), four_per_class(rows)
    return lambda: pair_loss(x, labels)


def our_triplets(rows, width):
    from likewise.objectives import triplet_loss

    (x,), labels = features(rows, width, 1), four_per_class(rows)
    return lambda: triplet_loss(x, labels, mining="hard")


def metric_learning(make: Callable):
    def build(rows, width):
        from pytorch_metric_learning import losses, miners

        (x,), labels = features(rows, width, 1), four_per_class(rows)
        loss, miner = make(losses, miners)
        return lambda: loss(x, labels, miner(x, labels)) if miner is not None else loss(x, labels)

    return build


def our_locals(rows, width):
    import torch

    from likewise.objectives import local_information

    local = torch.randn(rows, 32, width, requires_grad=True)
    (whole,) = features(rows, width, 1)
    return lambda: local_information(local, whole, temperature=0.07)


def locals_as_in_the_paper(rows, width):
    """The (B, L, B L) form: every local with its own copy of the negatives."""
    import torch
    import torch.nn.functional as F

    local = torch.randn(rows, 32, width, requires_grad=True)
    (whole,) = features(rows, width, 1)

    def loss():
        unit_local, unit_whole = F.normalize(local, dim=2), F.normalize(whole, dim=1)[:, None]  # (B, 1, D)
        own = torch.matmul(unit_local, unit_whole.transpose(1, 2)) / 0.07  # (B, L, 1)
        others = (unit_whole.flatten(0, 1) @ unit_local.flatten(0, 1).t() / 0.07).view(rows, rows, 32)
        itself = torch.eye(rows)[:, :, None]
        others = (1 - itself) * others - 10000.0 * itself
        others = others.reshape(rows, 1, rows * 32).expand(-1, 32, -1)
        table = torch.cat([own, others], 2)  # (B, L, 1 + B L)
        return -F.log_softmax(table, 2)[:, :, 0].mean()

    return loss


def four_products(low: bool):
    """Not a loss: the matrix products of a softmax loss alone, at the rate large ones reach; scaled to N."""

    def build(rows, width):
        import torch

        size = min(rows, 4096)
        dtype = torch.bfloat16 if low else torch.float32
        first, second = (torch.randn(size, width, dtype=dtype) for _ in range(2))
        square, thin = torch.empty(size, size, dtype=dtype), torch.empty(size, width, dtype=dtype)

        def products():
            for _ in range(2):
                torch.mm(first, second.t(), out=square)
            torch.mm(square, second, out=thin)
            torch.mm(square.t(), first, out=thin)

        products.scale = (rows / size) ** 2
        return products

    return build


# Objective -> implementation -> (builder, the largest N it is run at).
TABLE = {
    "clip_loss": {
        OURS: (our_clip(), 65536),
        "ours, bf16 products": (our_clip("bfloat16"), 65536),
        "open_clip ClipLoss": (open_clip, 16384),
        "dense": (dense_clip, 16384),
        "dense, bf16 autocast": (dense_clip_bfloat16, 16384),
        "four products alone": (four_products(False), 65536),
        "four bf16 products alone": (four_products(True), 65536),
    },
    "nt_xent": {
        OURS: (our_nt_xent(), 32768),
        "ours, bf16 products": (our_nt_xent("bfloat16"), 32768),
        "lightly NTXentLoss": (lightly, 8192),
        "pytorch-metric-learning NTXentLoss": (metric_learning_nt_xent, 256),
        "dense": (dense_nt_xent, 8192),
    },
    "info_nce": {
        OURS: (our_info_nce(), 65536),
        "ours, bf16 products": (our_info_nce("bfloat16"), 65536),
        "sentence-transformers MultipleNegativesRankingLoss": (sentence_transformers, 16384),
    },
    "supervised_contrastive": {
        OURS: (our_supervised, 16384),
        "pytorch-metric-learning SupConLoss": (
            metric_learning(lambda losses, miners: (losses.SupConLoss(temperature=0.1), None)),
            4096,
        ),
    },
    "pair_loss": {
        OURS: (our_pairs, 16384),
        "pytorch-metric-learning ContrastiveLoss": (
            metric_learning(lambda losses, miners: (losses.ContrastiveLoss(), None)),
            4096,
        ),
    },
    "triplet_loss, hard": {
        OURS: (our_triplets, 16384),
        "pytorch-metric-learning TripletMarginLoss, BatchHardMiner": (
            metric_learning(lambda losses, miners: (losses.TripletMarginLoss(), miners.BatchHardMiner())),
            4096,
        ),
    },
    "local_information, L = 32": {
        OURS: (our_locals, 64),
        "as the paper's code builds it": (locals_as_in_the_paper, 64),
    },
}
SIZES = {
    "clip_loss": [(256, 128), (1024, 128), (4096, 512), (16384, 128), (16384, 512), (65536, 512)],
    "nt_xent": [(256, 128), (1024, 128), (4096, 128), (8192, 128), (8192, 512)],
    "info_nce": [(256, 128), (4096, 512), (16384, 512)],
    "supervised_contrastive": [(256, 128), (4096, 128)],
    "pair_loss": [(256, 128), (4096, 128)],
    "triplet_loss, hard": [(256, 128), (4096, 128)],
    "local_information, L = 32": [(64, 256)],
}
GROWTH_SIZES = [1024, 4096, 16384, 65536]


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


class Plan(NamedTuple):
    """How often a row is measured, and by which clock."""

    repeats: int
    clock: str


# --- one measurement, in a process of its own
# -----------------------------------------------------------------


def resident(field: str) -> float:
    """A field of /proc/self/status in MB (1e6 bytes)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {field}: memory is measured on Linux only")


def once(function, clock) -> float:
    start = clock()
    loss = function()
    if loss is not None:
        loss.backward()
    return (clock() - start) * getattr(function, "scale", 1.0)


def measure(objective: str, name: str, rows: int, width: int, clock_name: str) -> dict[str, float]:
    import torch
    import torch._dynamo  # torch.utils.checkpoint loads it at its first use, a second that is no one's work

    torch.manual_seed(0)
    clock = CLOCKS[clock_name]
    if clock_name == "processor":
        torch.set_num_threads(1)
    build = TABLE[objective][name][0]
    once(build(min(rows // 4, 64), width), clock)  # imports, threads, first use of the kernels
    function = build(rows, width)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = resident("VmRSS")
    seconds = [once(function, clock)]
    growth = resident("VmHWM") - before
    while sum(seconds) < 1.0 and len(seconds) < 200:
        seconds.append(once(function, clock))
    return {"seconds": statistics.median(seconds), "megabytes": max(growth, 0.0)}


def measured_apart(objective: str, name: str, rows: int, width: int, clock: str) -> dict[str, float]:
    case = [objective, name, str(rows), str(width)]
    command = [sys.executable, "-W", "ignore", __file__, "--clock", clock, "--measure", *case]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        raise RuntimeError(f"{name}: {found.stderr.strip().splitlines()[-1]}")
    return json.loads(found.stdout.splitlines()[-1])


# --- tables -------------------------------------------------------------------------------------------------


def in_turns(objective: str, names: list[str], rows: int, width: int, plan: Plan) -> dict[str, dict]:
    """Name to medians; implementations take turns. One that cannot run is said and left out."""
    turns: dict[str, list[dict]] = {name: [] for name in names}
    for _ in range(plan.repeats):
        for name in list(turns):
            try:
                turns[name].append(measured_apart(objective, name, rows, width, plan.clock))
            except RuntimeError as error:
                print(f"left out: {error}", file=sys.stderr)
                del turns[name]
    medians = {}
    for name, found in turns.items():
        ratios = [
            ours["seconds"] / theirs["seconds"] for ours, theirs in zip(turns[OURS], found, strict=True)
        ]
        medians[name] = {key: statistics.median(turn[key] for turn in found) for key in found[0]}
        medians[name]["ratio"] = statistics.median(ratios)
    return medians


def print_comparison(sizes: dict[str, list[tuple[int, int]]], plan: Plan) -> None:
    print("\n| objective | N | D | implementation | seconds | growth, MB | ours takes |")
    print("|---|---:|---:|---|---:|---:|---:|")
    for objective, pairs in sizes.items():
        for rows, width in pairs:
            names = [name for name, (_, largest) in TABLE[objective].items() if rows <= largest]
            for name, found in in_turns(objective, names, rows, width, plan).items():
                memory = "" if "alone" in name else f"{found['megabytes']:.3g}"
                ratio = "" if name == OURS else f"{found['ratio']:.2f} times"
                cells = (objective, rows, width, name, f"{found['seconds']:.4g}", memory, ratio)
                print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_growth(sizes: list[int], width: int, plan: Plan) -> None:
    print(f"\nclip_loss, D = {width}: memory linear, time quadratic, distance from the products alone\n")
    print("| N | products | seconds | ns a similarity | growth, MB | bytes a row | times the products |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for rows in sizes:
        names = ["ours", "ours, bf16 products", "four products alone", "four bf16 products alone"]
        found = in_turns("clip_loss", names, rows, width, plan)
        for name, bound, dtype in ((names[0], names[2], "float32"), (names[1], names[3], "bf16")):
            seconds, memory = found[name]["seconds"], found[name]["megabytes"]
            print(
                f"| {rows} | {dtype} | {seconds:.4g} | {seconds / rows**2 * 1e9:.2f} | {memory:.0f} | "
                f"{memory * 1e6 / rows:.0f} | {seconds / found[bound]['seconds']:.2f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="sizes up to 4,096 and two turns")
    parser.add_argument("--only", choices=[*TABLE, "growth"], help="one objective, or the table of growth")
    parser.add_argument("--largest", type=int, default=65536, help="leave out larger N")
    parser.add_argument("--size", nargs=2, type=int, metavar=("N", "D"), help="with --only: this size alone")
    parser.add_argument("--repeats", type=int, help="turns of each row (default 3)")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="processor: one thread, processor time"
    )
    parser.add_argument("--measure", nargs=4, metavar=("OBJECTIVE", "NAME", "N", "D"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        objective, name, rows, width = options.measure
        print(json.dumps(measure(objective, name, int(rows), int(width), options.clock)))
        return
    largest = min(options.largest, 4096) if options.quick else options.largest
    plan = Plan(options.repeats or (2 if options.quick else 3), options.clock)
    sizes = {name: pairs for name, pairs in SIZES.items() if options.only in (None, name)}
    if options.size:
        sizes = {name: [tuple(options.size)] for name in sizes}
    sizes = {name: [pair for pair in pairs if pair[0] <= largest] for name, pairs in sizes.items()}
    threads = 1 if plan.clock == "processor" else os.cpu_count()
    print(f"{threads} threads, {plan.clock} time, {plan.repeats} turns, medians")
    print_comparison(sizes, plan)
    if options.only in (None, "growth"):
        print_growth([rows for rows in GROWTH_SIZES if rows <= largest], 512, plan)


if __name__ == "__main__":
    main()
