"""Several seeds, one figure: mean and deviation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

__all__ = ["Spread", "over_seeds"]


class Spread(NamedTuple):
    """A figure over several runs."""

    mean: float
    deviation: float | None
    """Sample standard deviation (divided by n - 1); None for a single run, which has none."""
    num_runs: int

    def __str__(self) -> str:
        if self.deviation is None:
            return f"{self.mean:.4g} (one run)"
        return f"{self.mean:.4g} ± {self.deviation:.2g} ({self.num_runs} runs)"


def over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    """Mean and sample deviation of each figure over runs that differ in their seed alone.

    Args:
        runs: one dict of figures a run, all with the same names.

    Returns:
        Name to `Spread`, in the order of the first run.

    Raises:
        ValueError: no run, names that differ between runs, or a figure that is not finite.
    """
    if len(runs) == 0:
        raise ValueError("over_seeds needs one run or more")
    for place, run in enumerate(runs):
        if run.keys() != runs[0].keys():
            raise ValueError(f"run {place} differs from run 0 in {sorted(run.keys() ^ runs[0].keys())}")
        broken = [name for name, value in run.items() if not math.isfinite(value)]
        if broken:
            raise ValueError(f"run {place}: {broken} not finite")
    return {name: _spread([run[name] for run in runs]) for name in runs[0]}


def _spread(values: list[float]) -> Spread:
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return Spread(mean, None, 1)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return Spread(mean, math.sqrt(squares / (len(values) - 1)), len(values))
