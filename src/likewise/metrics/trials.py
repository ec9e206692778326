"""Fixed few-shot trials: accuracy over trials that a table names, as benchmarks publish them.

N items, D embedding width, T trials.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from likewise.metrics.few_shot import half_interval
from likewise.metrics.inputs import Array, as_labels, as_unit_rows

__all__ = ["trial_accuracy"]


def trial_accuracy(embeddings: Array, labels: Array, trials: Array, queries: Array) -> dict[str, float]:
    """Accuracy over fixed trials: each query goes to the class of its trial whose mean support is nearest.

    Args:
        embeddings: (N, D); scaled to unit length here, before the mean over a class's supports.
        labels: (N,) integers, the class within the trial.
        trials: (N,) integers, the trial that each item is of.
        queries: (N,) bool, True for queries, False for supports.

    Returns:
        `accuracy`, the mean over trials of the share of right queries (a tie counts as wrong);
        `chance_accuracy`, the mean over trials of one in the number of classes; `num_trials`; with two trials
        or more `confidence_interval`, half the width of the 95 % interval over trials; `num_queries` of all.

    Raises:
        ValueError: a trial has fewer than two classes or no query, or a query's class has no support.

    Reference:
        Lake et al. 2015, Science 350(6266): 20 fixed runs of 20-way pairs.
    """
    rows = as_unit_rows(embeddings, "embeddings")
    classes, runs = (
        as_labels(values, name, count=len(rows), device=torch.device("cpu")).numpy()
        for values, name in ((labels, "labels"), (trials, "trials"))
    )
    asked = np.asarray(torch.as_tensor(queries).cpu(), dtype=np.bool_)
    accuracies, chances = [], []
    for run in np.unique(runs).tolist():
        supports, wanted = (np.flatnonzero((runs == run) & (asked == side)) for side in (False, True))
        names, ways = np.unique(classes[supports], return_inverse=True)
        if len(names) < 2 or len(wanted) == 0:
            count = f"{len(names)} classes and {len(wanted)} queries"
            raise ValueError(f"trial {run} has {count}; it needs 2 and 1")
        if not np.isin(classes[wanted], names).all():
            raise ValueError(f"trial {run} has a query of a class without a support")
        places = torch.from_numpy(ways).to(rows.device)
        sums = rows.new_zeros(len(names), rows.shape[1]).index_add_(0, places, rows[supports])
        means = F.normalize(sums, dim=-1, eps=1e-12)  # (W, D)
        cosines = rows[wanted] @ means.T  # (Q, W)
        is_own = torch.from_numpy(classes[wanted][:, None] == names).to(rows.device)
        right = cosines[is_own] > cosines.masked_fill(is_own, -torch.inf).amax(dim=1)
        accuracies.append(float(right.double().mean()))
        chances.append(1 / len(names))
    figures: dict[str, float] = {
        "accuracy": float(np.mean(accuracies)),
        "chance_accuracy": float(np.mean(chances)),
        "num_trials": len(accuracies),
        "num_queries": int(asked.sum()),
    }
    if len(accuracies) > 1:
        figures["confidence_interval"] = half_interval(torch.tensor(accuracies, dtype=torch.float64))
    return figures
