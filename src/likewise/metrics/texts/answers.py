"""Answers to questions about images: when two are equal, and of which type a question or answer is."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["answer_type", "consensus_accuracy", "normalized_answer", "question_type"]

_ARTICLES = {"a", "an", "the"}
_NUMBERS = "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBERS)} | {"none": "0"}
_SIGNS = re.compile(r"[^\w\s'.:-]|(?<!\d)\.|\.(?!\d)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d)")
_APOSTROPHE = re.compile(r"(?<=[^\W\d_])'(?=[^\W\d_])")
_OTHER_WORDS = {"hell", "id", "ill", "its", "lets", "shed", "shell", "wed", "well", "were"}
_NUM_ANNOTATORS = 10
_ENOUGH = 3


def normalized_answer(text: str) -> str:
    """An answer in lower case without articles and punctuation, and with digits for numbers up to ten.

    As VQA v2's evaluation (Antol et al. 2015, arXiv 1505.00468). That adds apostrophes to the words of a list
    ("dont"); here they are removed inside words, except where that gives another word ("we're").
    """
    words = _SIGNS.sub(" ", _THOUSANDS.sub("", text.lower().replace("’", "'"))).split()
    words = [_without_apostrophe(_DIGITS.get(word, word)) for word in words if word not in _ARTICLES]
    return " ".join(words) or text.lower().strip()


def _without_apostrophe(word: str) -> str:
    plain = _APOSTROPHE.sub("", word)
    return word if plain in _OTHER_WORDS else plain


def consensus_accuracy(answer: str, given: Sequence[tuple[str, float]]) -> float:
    """VQA v2's accuracy of an answer: min(matches / 3, 1), mean over the ten sets of nine annotators.

    Args:
        answer: the predicted one.
        given: each answer with the share of ten annotators who gave it.

    Returns:
        In [0, 1]: 0, .3, .6, .9 and 1 for 0, 1, 2, 3 and at least 4 annotators of that answer.

    Reference:
        Antol et al. 2015, arXiv 1505.00468; Goyal et al. 2017, arXiv 1612.00837.
    """
    wanted = normalized_answer(answer)
    share = sum(weight for text, weight in given if normalized_answer(text) == wanted)
    count = min(_NUM_ANNOTATORS, round(share * _NUM_ANNOTATORS))
    without_one, without_other = (min(1.0, max(0, n) / _ENOUGH) for n in (count - 1, count))
    return (count * without_one + (_NUM_ANNOTATORS - count) * without_other) / _NUM_ANNOTATORS


def question_type(question: str) -> str:
    """The first two words of a question, such as "what color"; of a Chinese one its first two signs."""
    words = _SIGNS.sub(" ", question.lower()).split()
    return " ".join(words[:2]) if question.isascii() or len(words) > 1 else question[:2]


def answer_type(answer: str) -> str:
    """yes/no, number or other, as in VQA v2."""
    answer = normalized_answer(answer)
    if answer in ("yes", "no"):
        return "yes/no"
    return "number" if re.fullmatch(r"[\d.,:-]*\d[\d.,:-]*", answer) else "other"
