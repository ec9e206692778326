"""Figures of embeddings and labels: pure functions that never see a model, a file or a trainer.

Arrays are torch tensors or numpy arrays. Shares lie in [0, 1]. A chance level is found under the figure's own
name behind `chance_`. Wrong arguments and values that are not finite raise ValueError.
"""

from __future__ import annotations

from likewise.evaluation.chance import accuracy_chance, first_hit_chance
from likewise.evaluation.collapse import (
    alignment,
    collapse_warning,
    deviation,
    effective_rank,
    signs_of_collapse,
    uniformity,
)
from likewise.evaluation.neighbours import Neighbours, knn_accuracy, knn_predict, nearest
from likewise.evaluation.retrieval import first_ranks, retrieval

__all__ = [
    "Neighbours",
    "nearest",
    "knn_predict",
    "knn_accuracy",
    "retrieval",
    "first_ranks",
    "deviation",
    "effective_rank",
    "alignment",
    "uniformity",
    "signs_of_collapse",
    "collapse_warning",
    "accuracy_chance",
    "first_hit_chance",
]
