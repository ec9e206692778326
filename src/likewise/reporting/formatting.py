"""Numbers as people read them: names, units and formats of the figures in a report."""

from __future__ import annotations

import math
import re

from likewise.methods.catalog import methods

__all__ = [
    "name_of",
    "task_name",
    "method_name",
    "is_share",
    "format_value",
    "count_in_words",
    "format_plain",
    "format_percent",
]

_NAMES = {
    "r1": "R@1",
    "r5": "R@5",
    "r10": "R@10",
    "f1": "F1 (mean over classes)",
    "precision": "Precision (mean over classes)",
    "recall": "Recall (mean over classes)",
    "num_images": "Images",
    "num_texts": "Texts",
    "num_items": "Items",
    "num_judged": "Candidates judged again",
    "num_train": "Training rows",
    "num_left_out": "Left out, as trained on",
    "l2": "Regularisation chosen",
    "k": "Neighbours that vote",
    "neighbours": "Nearest neighbours",
    "probe": "Linear probe",
    "zero-shot": "Zero-shot classification",
    "few-shot": "Few-shot classification",
    "verification": "Same class or not",
    "ranking": "Ranking by class",
    "clustering": "Clustering by k-means",
    "map_at_r": "MAP@R",
    "r_precision": "R-precision",
    "precision_at_1": "Precision at 1",
    "roc_auc": "Area under the ROC curve",
    "equal_error_rate": "Equal error rate",
    "nmi": "Normalised mutual information",
    "ari": "Adjusted Rand index",
    "confidence_interval": "95 % interval, plus or minus",
    "threshold": "Threshold (cosine)",
    "num_ways": "Ways",
    "num_shots": "Shots",
    "num_queries": "Queries",
    "num_episodes": "Episodes",
    "num_pairs": "Pairs",
    "num_classes": "Classes",
    "num_clusters": "Clusters",
    "num_domains": "Domains",
    "num_ways_within_domain": "Ways within a domain",
    "collapse": "Health of the embeddings",
    "relative_deviation": "Spread (1 is even, 0 collapsed)",
    "deviation": "Deviation a dimension",
}

_SHARE = re.compile(
    r"(^|_)(r\d+|accuracy|precision|recall|f1|top_\d+|share|nmi|ari|map_at_r|precision_at_1|roc_auc|equal_error_rate|"
    r"confidence_interval)$"
)

_DIRECTION = re.compile(r"^(image_to_text|text_to_image)_(.+)$")


def name_of(metric: str) -> str:
    """A metric's name in words: `image_to_text_r1` is "Image to text, R@1"."""
    directed = _DIRECTION.match(metric)
    if directed is not None:
        inner = name_of(directed[2])
        inner = inner if inner.startswith("R@") else inner[0].lower() + inner[1:]
        return f"{directed[1].replace('_', ' ').capitalize()}, {inner}"
    if metric.startswith("reranked_"):
        inner = name_of(metric.removeprefix("reranked_"))
        return f"Re-ranked: {inner[0].lower() + inner[1:]}"
    if metric in _NAMES:
        return _NAMES[metric]
    if metric.startswith("within_domain_"):
        inner = name_of(metric.removeprefix("within_domain_"))
        return f"Within a domain: {inner[0].lower() + inner[1:] if inner[1].islower() else inner}"
    return metric.replace("_", " ").strip().capitalize() or metric


def task_name(task: str) -> str:
    """A task's name in words; the source that it was measured on stays as it is."""
    name, on, source = task.partition(" on ")
    return name_of(name) + on + source


def method_name(name: str) -> str:
    """A method as people write it; what is no method of ours stays as it is."""
    method = methods().get(name)
    return name if method is None else method.title


def is_share(metric: str) -> bool:
    """Whether a metric lies in [0, 1] and reads best as a percentage."""
    return _SHARE.search(metric.removeprefix("chance_")) is not None


def format_value(metric: str, value: float) -> str:
    """A metric's value with its unit."""
    return format_percent(value) if is_share(metric) else format_plain(value)


def count_in_words(metric: str, value: float) -> str:
    """A count with what it counts: `num_images` of 1 is "1 image"."""
    words = name_of(metric).lower()
    if value == 1:
        words = words.removesuffix("ies") + "y" if words.endswith("ies") else words.removesuffix("s")
    return f"{format_plain(value)} {words}"


def format_percent(share: float) -> str:
    """A share as a percentage, with a second decimal between -1 % and 1 %."""
    if not math.isfinite(share):
        return "not a number"
    digits = 1 if abs(share) >= 0.00995 or share == 0 else 2
    return f"{100 * share:.{digits}f} %"


def format_plain(value: float) -> str:
    """A number in at most four significant digits, thousands separated."""
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 0.001:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"
