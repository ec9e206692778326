"""How long a source takes to open: the first time, when its images are decoded, and every later time.

    python benchmarks/cache.py ../shared/data/flickr8k/captions.csv --size 64

Prints the time to list the records, to prepare them cold and warm, to decode with one thread and with all,
and to fetch a batch of 256 from the cache. The system holds the files in memory throughout: what is timed is
our own work.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np

from likewise.data import DataConfig, open_source, prepare
from likewise.data.columns import Needs
from likewise.data.images import cache_build

BATCH = 256


def seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source")
    parser.add_argument("--size", type=int, default=64, help="training size in pixels")
    parser.add_argument("--fit", default="crop", choices=["crop", "pad", "squash"])
    arguments = parser.parse_args()
    needs = Needs("image")
    num_workers = cache_build.num_workers

    listing = seconds(lambda: open_source(DataConfig(source=arguments.source)))
    rows: list[tuple[str, float, str]] = [("list the records", listing, "")]
    cold = {}
    for workers in sorted({1, num_workers()}):
        cache_build.num_workers = lambda workers=workers: workers
        with tempfile.TemporaryDirectory() as folder:
            config = DataConfig(source=arguments.source, fit=arguments.fit, cache_dir=folder)

            def run(config: DataConfig = config) -> object:
                return prepare(config, image_size=arguments.size, needs=needs)

            cold[workers] = seconds(run)
            warm = statistics.median(seconds(run) for _ in range(5))
            train = prepare(config, image_size=arguments.size, needs=needs).train
            count = len(open_source(config).records)
            generator = np.random.default_rng(0)
            choices = [generator.integers(0, len(train), BATCH) for _ in range(50)]
            batch = statistics.median(seconds(lambda c=c, train=train: train.images(c)) for c in choices)
        ratio = f"{count / cold[workers]:,.0f} images/s, {cold[1] / cold[workers]:.2f} x one thread"
        rows.append((f"prepare cold, {workers} threads", cold[workers], ratio))
    rows.append(("prepare warm", warm, f"{cold[workers] / warm:.0f} x faster than cold"))
    rows.append((f"{BATCH} images from the cache", batch, f"{BATCH / batch:,.0f} images/s"))

    print(f"{arguments.source}: {count:,} records, stored at {train.store_size} x {train.store_size}")
    for name, value, remark in rows:
        print(f"{name:32s} {value * 1000:10.1f} ms   {remark}")


if __name__ == "__main__":
    main()
