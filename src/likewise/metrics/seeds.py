"""Mean and deviation of figures over several seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, TypedDict

__all__ = ["Spread", "over_seeds"]


class Spread(TypedDict):
    """A figure over several runs, as JSON and reports hold it."""

    mean: float
    deviation: float | None
    """Sample standard deviation (n - 1); None for a single run."""
    num_runs: int


def over_seeds(runs: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
    """Mean and sample deviation of each figure over runs that differ only in their seed.

    Args:
        runs: figures of each run, all with the same keys. Values that are not numbers in every run (a curve,
            a fingerprint, a flag) are left out.

    Returns:
        Spread by key, in the order of the first run.

    Raises:
        ValueError: no run, keys that differ between runs, or a figure that is not finite.
    """
    if len(runs) == 0:
        raise ValueError("over_seeds needs one run or more")
    for place, run in enumerate(runs):
        if run.keys() != runs[0].keys():
            raise ValueError(f"run {place} differs from run 0 in {sorted(run.keys() ^ runs[0].keys())}")
        broken = [name for name, value in run.items() if _is_number(value) and not math.isfinite(value)]
        if broken:
            raise ValueError(f"run {place}: {broken} not finite")
    figures = [name for name in runs[0] if all(_is_number(run[name]) for run in runs)]
    return {name: _spread([run[name] for run in runs]) for name in figures}


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)  # numpy's numbers are Real too


def _spread(values: list[float]) -> Spread:
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return {"mean": mean, "deviation": None, "num_runs": 1}
    squares = math.fsum((value - mean) ** 2 for value in values)
    return {"mean": mean, "deviation": math.sqrt(squares / (len(values) - 1)), "num_runs": len(values)}
