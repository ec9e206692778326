"""What a task on images and texts can reach without looking: its three baselines.

The most frequent class of training; a model that reads the texts alone (tf-idf and logistic regression,
learned from the training part); and the model itself with each row's images exchanged for another row's.
N rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset
from likewise.data.columns import column_names
from likewise.data.stored_kinds import Images
from likewise.evaluation.base import Figure

__all__ = [
    "BASELINE_FIGURES",
    "TEXT_ONLY",
    "accuracy_error",
    "most_frequent",
    "rows_of_other_groups",
    "text_only_predictions",
    "with_other_images",
]

ClassT = TypeVar("ClassT", str, int)

# Words, and each Chinese or Japanese character by itself; scikit-learn's own pattern drops short words.
_WORD = r"(?u)[\u2e80-\u9fff]|[^\W\u2e80-\u9fff]+"
_LONGEST_NGRAM = 3
_MAX_CLASSES = 200  # the fit's time grows with them, and the rest are rare

TEXT_ONLY = "text_only_accuracy"
"""Name of the accuracy of a model that does not look at the image."""

BASELINE_FIGURES = (
    Figure(
        "majority_accuracy", "Accuracy of training's most frequent class", "share", "higher", baseline=True
    ),
    Figure(
        TEXT_ONLY,
        "Accuracy from the text alone (tf-idf, logistic regression)",
        "share",
        "higher",
        baseline=True,
    ),
    Figure(
        "shuffled_accuracy",
        "Accuracy of this model with other rows' images",
        "share",
        "higher",
        baseline=True,
    ),
    Figure("accuracy_error", "Standard error of the accuracy", "share", "lower"),
)
"""The figures that stand beside an accuracy on images and texts."""


def most_frequent(classes: Sequence[ClassT]) -> ClassT:
    """The most frequent class; of equally frequent ones the first that occurs.

    Raises:
        ValueError: there is none.
    """
    if not classes:
        raise ValueError("the training part has no row with a text and a class")
    return Counter(classes).most_common(1)[0][0]


def text_only_predictions(
    train_texts: Sequence[str], train_classes: Sequence[ClassT], texts: Sequence[str]
) -> list[ClassT]:
    """Predict classes from texts alone: tf-idf of 1- to 3-grams of words, then logistic regression.

    Args:
        train_texts: the texts to learn from.
        train_classes: as many classes, names or numbers. The 200 most frequent are learned.
        texts: N texts to predict.

    Returns:
        N classes.

    Raises:
        ValueError: there is nothing to learn from, or the lengths differ.
    """
    if len(train_texts) != len(train_classes):
        raise ValueError(f"{len(train_texts)} texts and {len(train_classes)} classes; give as many of each")
    commonest = most_frequent(train_classes)
    # Equal rows are learned once, by their count: questions repeat a lot.
    counts = Counter(zip(train_texts, train_classes, strict=True))
    kept = {name for name, _ in Counter(train_classes).most_common(_MAX_CLASSES)}
    pairs = [pair for pair in counts if pair[1] in kept]
    if len(kept) == 1 or not texts:
        return [commonest] * len(texts)

    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(ngram_range=(1, _LONGEST_NGRAM), token_pattern=_WORD)
    try:
        features = vectorizer.fit_transform([text for text, _ in pairs])
    except ValueError:  # no text has a word
        return [commonest] * len(texts)
    names = sorted(kept)
    numbers = {name: number for number, name in enumerate(names)}
    model = LogisticRegression(max_iter=1000)
    model.fit(
        features,
        np.array([numbers[name] for _, name in pairs]),
        sample_weight=np.array([counts[pair] for pair in pairs], dtype=np.float64),
    )
    distinct = list(dict.fromkeys(texts))
    found = model.predict(vectorizer.transform(distinct)).tolist()
    by_text = {text: names[number] for text, number in zip(distinct, found, strict=True)}
    return [by_text[text] for text in texts]


def rows_of_other_groups(groups: NDArray[np.int64], *, seed: int = 0) -> NDArray[np.int64]:
    """For each row another row, of another group; every row is used once.

    Args:
        groups: (N,).
        seed: of the order in which groups follow one another.

    Returns:
        (N,) a permutation of the rows.

    Raises:
        ValueError: one group has more than half of the rows, so that some would meet themselves.
    """
    _, numbers, counts = np.unique(groups, return_inverse=True, return_counts=True)
    largest = int(counts.max(initial=0))
    if 2 * largest > len(groups):
        raise ValueError(
            f"images cannot be shuffled: {largest:,} of {len(groups):,} rows are of one group; two groups of "
            "equal size would do"
        )
    # Rows in the order of their shuffled groups, moved on by the longest group: nobody meets its own.
    rank = np.random.default_rng(seed).permutation(len(counts))[numbers.reshape(-1)]
    order = np.argsort(rank, kind="stable")
    others = np.empty_like(order)
    others[order] = np.roll(order, largest)
    return others


def with_other_images(data: Dataset, rows: NDArray[np.int64]) -> Dataset:
    """The same rows with the images of other rows; a pair of images stays together."""
    names = [name for name in column_names(Images) if data.has(name)]
    return data.with_columns(**{name: data.column(name).take(rows) for name in names})


def accuracy_error(right: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Standard error of a share of right rows, where rows of one group depend on one another.

    The root of the sum over groups of squared sums of deviations, over N (Liang and Zeger 1986); with every
    row a group of its own it is sqrt(p (1 - p) / N).

    Args:
        right: (N,).
        groups: (N,).
    """
    _, numbers = np.unique(groups, return_inverse=True)
    deviations = right - right.mean()
    sums = np.bincount(numbers.reshape(-1), weights=deviations)
    return float(np.sqrt((sums**2).sum()) / len(right))
