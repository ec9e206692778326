"""An index of generated, clustered vectors: ours exact, ours with faiss, usearch and LanceDB.

    python benchmarks/search.py --sizes 10000 100000 1000000 --out benchmarks/results/search.json

Every contender runs in a process of its own with one thread, on the same vectors, in turn at each size. Given
are processor seconds of the build, milliseconds of processor time a query (one at a time, and 100 at once),
recall@10 against exact search in float64, the most memory above that of the bare process, bytes on the disk;
and the same for queries of which 5 % of the rows are the candidates. What is not installed is left out, and
said.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DIMENSION, CLUSTERS, QUERIES, TOP, PARTS = 256, 1000, 100, 10, 20
THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "LANCE_CPU_THREADS",
    "RAYON_NUM_THREADS",
)

Search = Callable[[np.ndarray, bool], np.ndarray]
"""Rows (Q, 10) for queries (Q, 256), among all rows or among those of one part."""


def generate(folder: Path, count: int) -> None:
    """Unit vectors around cluster centers, queries of the same kind, and what exact search finds."""
    draws = np.random.default_rng(0)
    centers = draws.normal(size=(CLUSTERS, DIMENSION)).astype(np.float32)

    def drawn(number: int) -> np.ndarray:
        vectors = centers[draws.integers(0, CLUSTERS, number)]
        vectors = vectors + 0.7 * draws.normal(size=(number, DIMENSION)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    vectors = np.lib.format.open_memmap(
        folder / "vectors.npy", mode="w+", dtype=np.float32, shape=(count, DIMENSION)
    )
    for start in range(0, count, 50_000):
        vectors[start : start + 50_000] = drawn(min(50_000, count - start))
    queries = drawn(QUERIES)
    np.save(folder / "queries.npy", queries)
    for name, rows in (("all", np.arange(count)), ("part", np.arange(0, count, PARTS))):
        scores = np.concatenate(
            [
                queries.astype(np.float64) @ vectors[piece].T
                for piece in np.array_split(rows, max(1, len(rows) // 20_000))
            ],
            axis=1,
        )
        np.save(folder / f"true_{name}.npy", rows[np.argsort(-scores, axis=1, kind="stable")[:, :TOP]])


def ours(vectors: np.ndarray, folder: Path, *, approximate: bool) -> Search:
    from likewise.search.approximate import build_approximate
    from likewise.search.calibration import RandomTexts
    from likewise.search.generation import switch, write_generation
    from likewise.search.index import open_index
    from likewise.search.manifest import Manifest
    from likewise.search.rows.listing import Entry
    from likewise.search.rows.parts import Rows
    from likewise.search.stores import Taken

    class Given:
        def keys(self) -> list[str]:
            return []

        def read(self, rows: np.ndarray) -> Rows:
            return Rows(vectors[rows], rows.astype(np.uint64), [b""] * len(rows))

    places = np.arange(len(vectors))
    entries = [
        Entry(id=f"{n}", key=f"{n}", path=f"{n}.jpg", label=f"part {n % PARTS}") for n in places.tolist()
    ]
    manifest = Manifest(
        generation=1,
        what="images",
        count=len(vectors),
        dimension=DIMENSION,
        dtype="float32",
        model={"fingerprint": "", "method": "", "abilities": []},
        source="generated",
        thumbnail_side=0,
    )
    texts = RandomTexts(np.zeros((0, DIMENSION), np.float32), np.zeros(0, np.int64))
    write_generation(folder, manifest, entries, [Taken(Given(), places, places)], texts)
    found = None
    if approximate:
        found, said = build_approximate(
            vectors,
            texts.vectors,
            manifest.file(folder, "approximate.faiss"),
            least_recall=0.95,
            is_asked=True,
        )
        print(said, file=sys.stderr)
    switch(folder, Manifest(**{**vars(manifest), "approximate": found}))
    index = open_index(folder)
    del entries

    def search(queries: np.ndarray, filtered: bool) -> np.ndarray:
        rows = index.matching({"label": "part 0"}) if filtered else None
        return index.search(queries, top=TOP, rows=rows).rows

    return search


def usearch(vectors: np.ndarray, folder: Path) -> Search:
    from usearch.index import Index

    built = Index(ndim=DIMENSION, metric="ip", dtype="f32")
    built.add(np.arange(len(vectors)), np.asarray(vectors), threads=1)
    built.save(str(folder / "vectors.usearch"))

    def search(queries: np.ndarray, filtered: bool) -> np.ndarray:
        # It has no filters in Python: more are found, and those of other parts are left out.
        count = TOP * PARTS if filtered else TOP
        keys = np.atleast_2d(built.search(queries, count, threads=1).keys)
        kept = [[key for key in row.tolist() if not filtered or key % PARTS == 0][:TOP] for row in keys]
        return np.array([row + [-1] * (TOP - len(row)) for row in kept])

    return search


def lancedb(vectors: np.ndarray, folder: Path) -> Search:
    import lancedb as lance
    import pyarrow as pa
    from lancedb.index import IvfPq

    count = len(vectors)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.asarray(vectors).reshape(-1)), DIMENSION)
    labels = pa.array([f"part {number % PARTS}" for number in range(count)])
    rows = pa.table({"row": np.arange(count), "label": labels, "vector": flat})
    table = lance.connect(str(folder)).create_table("rows", rows)
    if count >= 100_000:
        config = IvfPq(distance_type="dot", num_partitions=int(np.sqrt(count)), num_sub_vectors=64)
        table.create_index("vector", config=config)

    def search(queries: np.ndarray, filtered: bool) -> np.ndarray:
        found = []
        for query in queries:
            asked = table.search(query).distance_type("dot").nprobes(20).refine_factor(4)
            asked = asked.where("label = 'part 0'", prefilter=True) if filtered else asked
            keys = asked.limit(TOP).select(["row", "_distance"]).to_arrow()["row"].to_pylist()
            found.append(keys + [-1] * (TOP - len(keys)))
        return np.array(found)

    return search


CONTENDERS: dict[str, tuple[tuple[str, ...], Callable[[np.ndarray, Path], Search]]] = {
    "ours, exact": (
        ("likewise.search.build",),
        lambda vectors, folder: ours(vectors, folder, approximate=False),
    ),
    "ours, faiss": (
        ("likewise.search.build", "faiss"),
        lambda vectors, folder: ours(vectors, folder, approximate=True),
    ),
    "usearch": (("usearch.index",), usearch),
    "LanceDB": (("lancedb",), lancedb),
}
"""By name: what it imports, and how it is built."""


def peak_mb() -> float:
    """The most memory of this process so far; `ru_maxrss` would begin with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def run_one(name: str, data: Path, out: Path) -> dict[str, Any]:
    """All figures of one contender, in this process."""
    vectors, queries = np.load(data / "vectors.npy", mmap_mode="r"), np.load(data / "queries.npy")
    for module in (*CONTENDERS[name][0], "pyarrow.parquet"):
        importlib.import_module(module)
    before = peak_mb()
    began = time.process_time()
    search = CONTENDERS[name][1](vectors, out)
    found: dict[str, Any] = {"build_s": time.process_time() - began}
    for part, filtered in (("all", False), ("part", True)):
        search(queries[:1], filtered)  # opens what is opened once
        began = time.process_time()
        rows = np.concatenate([search(query[None], filtered) for query in queries])
        middle = time.process_time()
        search(queries, filtered)
        true = np.load(data / f"true_{part}.npy")
        found[part] = {
            "ms_single": 1000 * (middle - began) / len(queries),
            "ms_batched": 1000 * (time.process_time() - middle) / len(queries),
            "recall_at_10": float(np.mean([np.isin(t, f).mean() for t, f in zip(true, rows, strict=True)])),
        }
    found["memory_mb"] = peak_mb() - before
    found["disk_mb"] = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    parser.add_argument("--one", nargs=3, metavar=("NAME", "DATA", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        name, data, out = arguments.one
        print(json.dumps(run_one(name, Path(data), Path(out))))
        return
    results: dict[str, dict[str, Any]] = {}
    environment = os.environ | dict.fromkeys(THREADS, "1") | {"RUST_LOG": "off"}
    print(
        f"{'rows':>9}  {'':<12} {'build s':>8} {'ms/query':>9} {'in 100':>7} {'recall':>7}   "
        f"{'5 %: ms':>8} {'in 100':>7} {'recall':>7} {'memory MB':>10} {'disk MB':>8}"
    )
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            generate(Path(folder), size)
            for name in arguments.contenders:
                modules = CONTENDERS[name][0]
                if importlib.util.find_spec(modules[-1].split(".")[0]) is None:
                    print(f"{size:>9,}  {name:<12} not installed: left out")
                    continue
                out = Path(folder) / name
                out.mkdir()
                command = [sys.executable, __file__, "--one", name, folder, str(out)]
                ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
                found = json.loads(ran.stdout.splitlines()[-1])
                results.setdefault(str(size), {})[name] = found
                every, part = found["all"], found["part"]
                print(
                    f"{size:>9,}  {name:<12} {found['build_s']:>8.1f} {every['ms_single']:>9.2f} "
                    f"{every['ms_batched']:>7.2f} {every['recall_at_10']:>7.3f}   {part['ms_single']:>8.2f} "
                    f"{part['ms_batched']:>7.2f} {part['recall_at_10']:>7.3f} {found['memory_mb']:>10,.0f} "
                    f"{found['disk_mb']:>8,.0f}",
                    flush=True,
                )
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
