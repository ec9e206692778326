"""Metrics of embeddings and labels: pure functions, without models, files or trainers.

Arrays are torch tensors or numpy arrays. Shares lie in [0, 1]. A figure's chance level has its key behind
`chance_`. Wrong arguments and values that are not finite raise ValueError.
"""

from __future__ import annotations

from likewise.metrics.chance import accuracy_chance, first_hit_chance
from likewise.metrics.classification import Classification, classification_metrics, most_confused
from likewise.metrics.clustering import Cluster, clustering, describe_clusters, k_means
from likewise.metrics.collapse import (
    alignment,
    collapse_warning,
    deviation,
    effective_rank,
    signs_of_collapse,
    uniformity,
)
from likewise.metrics.few_shot import Episode, episode_examples, few_shot, most_ways
from likewise.metrics.linear_probe import ProbeResult, linear_probe
from likewise.metrics.neighbours import Neighbours, knn_predict, nearest
from likewise.metrics.prompts import TEMPLATES, prompts
from likewise.metrics.ranking import ranking
from likewise.metrics.relevance import Relevance
from likewise.metrics.reranking import reranked_ranks, reranked_retrieval
from likewise.metrics.retrieval import first_ranks, retrieval
from likewise.metrics.seeds import Spread, over_seeds
from likewise.metrics.trials import trial_accuracy
from likewise.metrics.verification import best_threshold, equal_error_rate, verification
from likewise.metrics.zero_shot import class_embeddings, zero_shot

__all__ = [
    "Neighbours",
    "nearest",
    "knn_predict",
    "ProbeResult",
    "linear_probe",
    "retrieval",
    "Relevance",
    "first_ranks",
    "reranked_retrieval",
    "reranked_ranks",
    "TEMPLATES",
    "prompts",
    "class_embeddings",
    "zero_shot",
    "Episode",
    "few_shot",
    "episode_examples",
    "most_ways",
    "trial_accuracy",
    "verification",
    "best_threshold",
    "equal_error_rate",
    "ranking",
    "Cluster",
    "clustering",
    "describe_clusters",
    "k_means",
    "Classification",
    "classification_metrics",
    "most_confused",
    "deviation",
    "effective_rank",
    "alignment",
    "uniformity",
    "signs_of_collapse",
    "collapse_warning",
    "accuracy_chance",
    "first_hit_chance",
    "Spread",
    "over_seeds",
]
