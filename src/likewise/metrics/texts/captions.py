"""Metrics of generated captions, comparable with the COCO caption evaluation: BLEU, ROUGE-L, CIDEr-D.

Written from the papers' definitions. Pure functions of texts; tokens by `tokenize`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from likewise.metrics.texts.caption_tokens import tokenize

__all__ = [
    "best_constant_caption",
    "caption_diversity",
    "caption_scores",
    "cider_per_image",
    "few_distinct",
    "tokenize",
]

Tokens = list[str]
NGram = tuple[str, ...]

_MAX_N = 4
_ROUGE_BETA = 1.2
_CIDER_SIGMA = 6.0
_CONSTANT_IMAGES = 1000
# People write a new sentence for nearly every photo. Fewer than one in ten is a model that hardly looks; of a
# handful of images some may well be alike.
_FEW_DISTINCT, _FEW_IMAGES = 0.1, 20


def caption_scores(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D of one caption for each image.

    Args:
        candidates: N generated captions.
        references: for each image its reference captions, one or more.

    Returns:
        `bleu1` .. `bleu4` and `rouge_l` in [0, 1], `cider` in [0, 10] (people reach about 0.8 on Flickr8k).
        CIDEr depends on the whole set, whose references give the document frequencies; it is 0 for one image.

    Raises:
        ValueError: no images, or an image without references.
    """
    hypotheses, truths = _tokenized(candidates, references)
    scores = {f"bleu{n}": value for n, value in enumerate(_bleu(hypotheses, truths), start=1)}
    rouge = [_rouge_l(hypothesis, truth) for hypothesis, truth in zip(hypotheses, truths, strict=True)]
    return scores | {"rouge_l": float(np.mean(rouge)), "cider": float(np.mean(_cider(hypotheses, truths)))}


def cider_per_image(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each image; arguments and errors as of `caption_scores`."""
    return _cider(*_tokenized(candidates, references))


def caption_diversity(candidates: Sequence[str], vocabulary: Iterable[str]) -> dict[str, float]:
    """How varied generated captions are.

    Args:
        candidates: N generated captions.
        vocabulary: the words of the training captions (tokens).

    Returns:
        `distinct_share`: distinct captions over N; `mean_length` in tokens; `unused_words`: share of the
        vocabulary that no caption uses.
    """
    if not candidates:
        raise ValueError("caption_diversity needs at least one caption")
    tokens = [tokenize(text) for text in candidates]
    known, used = set(vocabulary), {word for caption in tokens for word in caption}
    return {
        "distinct_share": len(set(map(tuple, tokens))) / len(tokens),
        "mean_length": float(np.mean([len(caption) for caption in tokens])),
        "unused_words": len(known - used) / max(1, len(known)),
    }


def few_distinct(candidates: Sequence[str]) -> str | None:
    """A remark where at least 20 images have few different captions: under a tenth as many; else None."""
    distinct = len({tuple(tokenize(text)) for text in candidates})
    if len(candidates) < _FEW_IMAGES or distinct >= _FEW_DISTINCT * len(candidates):
        return None
    few = "the same caption" if distinct == 1 else f"only {distinct:,} different captions"
    return (
        f"{len(candidates):,} images have {few}: the model hardly looks at the images. Train it for longer, "
        "or from a trained image encoder (--training.start-from)"
    )


def best_constant_caption(training: Sequence[Sequence[str]], *, num_tried: int = 50) -> str:
    """The training caption that, given for every training image, has the highest CIDEr-D there.

    It is the chance level of captioning: a model that never looks at an image can reach its score.

    Args:
        training: for each training image its captions; 1,000 images, evenly spaced, are looked at.
        num_tried: captions that are tried, the most typical ones first (highest mean log frequency of their
            bigrams).
    """
    spread = training[:: max(1, len(training) // _CONSTANT_IMAGES)]
    tokens = [[tokenize(text) for text in captions] for captions in spread]
    counts = Counter(pair for captions in tokens for caption in captions for pair in _ngrams(caption, 2))
    scored = sorted(
        (
            (float(np.mean([math.log(counts[pair]) for pair in pairs])), text)
            for captions, texts in zip(tokens, spread, strict=True)
            for caption, text in zip(captions, texts, strict=True)
            if len(caption) >= _MAX_N and (pairs := _ngrams(caption, 2))
        ),
        reverse=True,
    )
    tried = list(dict.fromkeys(text for _, text in scored))[:num_tried] or [spread[0][0]]
    corpus = _CiderCorpus(tokens)
    return max(tried, key=lambda text: corpus.mean_of_constant(tokenize(text)))


def _tokenized(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[Tokens], list[list[Tokens]]]:
    if not candidates or len(candidates) != len(references):
        raise ValueError(
            f"expected as many captions as images with references, at least one; got {len(candidates)} "
            f"captions and {len(references)} images"
        )
    for place, texts in enumerate(references):
        if isinstance(texts, str) or not texts:
            raise ValueError(f"image {place} has no references; expected a list of one or more captions")
    return [tokenize(text) for text in candidates], [
        [tokenize(text) for text in texts] for texts in references
    ]


def _ngrams(tokens: Tokens, n: int) -> list[NGram]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def _counts(tokens: Tokens) -> Counter[NGram]:
    return Counter(gram for n in range(1, _MAX_N + 1) for gram in _ngrams(tokens, n))


def _bleu(hypotheses: list[Tokens], truths: list[list[Tokens]]) -> list[float]:
    """Corpus BLEU-1 to BLEU-4 (Papineni et al. 2002, equations 1 to 3), closest reference length."""
    matched, total = np.zeros(_MAX_N), np.zeros(_MAX_N)
    length = reference_length = 0
    for hypothesis, references in zip(hypotheses, truths, strict=True):
        length += len(hypothesis)
        reference_length += min((abs(len(r) - len(hypothesis)), len(r)) for r in references)[1]
        most: Counter[NGram] = Counter()
        for reference in references:
            most |= _counts(reference)
        for gram, count in _counts(hypothesis).items():
            matched[len(gram) - 1] += min(count, most[gram])
            total[len(gram) - 1] += count
    brevity = 1.0 if length > reference_length else math.exp(1 - reference_length / max(1, length))
    precisions = np.divide(matched, total, out=np.zeros(_MAX_N), where=total > 0)
    return [
        brevity * math.exp(np.log(precisions[:n]).mean()) if precisions[:n].all() else 0.0
        for n in range(1, _MAX_N + 1)
    ]


def _rouge_l(hypothesis: Tokens, references: list[Tokens]) -> float:
    """F of the longest common subsequence (Lin 2004, section 3): best precision and best recall apart."""
    if not hypothesis:
        return 0.0
    common = [_longest_common(hypothesis, reference) for reference in references]
    precision = max(common) / len(hypothesis)
    recall = max(c / max(1, len(reference)) for c, reference in zip(common, references, strict=True))
    if precision == 0 or recall == 0:
        return 0.0
    beta = _ROUGE_BETA**2
    return (1 + beta) * precision * recall / (recall + beta * precision)


def _longest_common(first: Tokens, second: Tokens) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for j, other in enumerate(second, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


class _CiderCorpus:
    """CIDEr-D against references of N images (Vedantam et al. 2015, arXiv 1411.5726, equations 1-4, 7)."""

    def __init__(self, truths: list[list[Tokens]]) -> None:
        self._log_images = math.log(len(truths))
        counted = [[_counts(reference) for reference in references] for references in truths]
        self._frequency = Counter(gram for counts in counted for gram in set().union(*counts))
        self._references = [[self._vectors(counts) for counts in one] for one in counted]

    def _vectors(self, counts: Counter[NGram]) -> tuple[list[dict[NGram, float]], list[float], int]:
        """tf-idf vectors for n = 1 .. 4, their norms, and the length in bigrams."""
        vectors: list[dict[NGram, float]] = [{} for _ in range(_MAX_N)]
        for gram, count in counts.items():
            idf = self._log_images - math.log(max(1.0, self._frequency[gram]))
            vectors[len(gram) - 1][gram] = count * idf
        norms = [math.sqrt(sum(value * value for value in vector.values())) for vector in vectors]
        return vectors, norms, sum(count for gram, count in counts.items() if len(gram) == 2)

    def score(self, image: int, hypothesis: Tokens) -> float:
        """CIDEr-D of a caption for one image, in [0, 10]."""
        return self._against(image, self._vectors(_counts(hypothesis)))

    def mean_of_constant(self, caption: Tokens) -> float:
        """Mean score of one caption given for every image."""
        vectors = self._vectors(_counts(caption))
        return float(np.mean([self._against(image, vectors) for image in range(len(self._references))]))

    def _against(self, image: int, own: tuple[list[dict[NGram, float]], list[float], int]) -> float:
        vectors, norms, length = own
        references, total = self._references[image], 0.0
        for others, other_norms, other_length in references:
            penalty = math.exp(-((length - other_length) ** 2) / (2 * _CIDER_SIGMA**2))
            for mine, other, norm, other_norm in zip(vectors, others, norms, other_norms, strict=True):
                if norm > 0 and other_norm > 0:
                    product = sum(
                        min(mine[gram], other[gram]) * other[gram] for gram in mine.keys() & other.keys()
                    )
                    total += penalty * product / (norm * other_norm)
        return 10.0 * total / (_MAX_N * len(references))


def _cider(hypotheses: list[Tokens], truths: list[list[Tokens]]) -> list[float]:
    corpus = _CiderCorpus(truths)
    return [corpus.score(image, hypothesis) for image, hypothesis in enumerate(hypotheses)]
