"""Kill updates of an index at 20 random moments: `python tests/fuzz/kill_index_updates.py --times 20`.

After each kill the index must open, with the old rows or with the new ones, every vector and thumbnail right.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import torch
from killed_updates import NUM_NEW, kill_updates
from small_runs import small_settings

from likewise.model import load
from likewise.training.engine import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        model = load(train(small_settings("simclr", steps=1), Path(folder) / "run", show=False).path)
        found = kill_updates(model, Path(folder), kills=arguments.times, seed=arguments.seed)
    new = Counter(count == NUM_NEW for count in found)[True]
    print(f"{len(found)} kills: {len(found) - new} left the old index, {new} the new one; all were valid")


if __name__ == "__main__":
    main()
