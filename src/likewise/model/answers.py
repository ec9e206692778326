"""Answers to questions about images, by a model whose network can give them.

Dimensions: N questions, B of a batch, A answers of a list, S side in pixels, T tokens of an answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import shorten
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from torch import Tensor

from likewise.encoders.decoders import Decoding, Memory
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ConfigError, DataError
from likewise.model.inputs import ImageInput, aligned, batches, checked_count, checked_texts, several_images
from likewise.model.runtime import Runtime

if TYPE_CHECKING:
    from likewise.data.dataset import Dataset

__all__ = ["Answer", "Answers", "Score"]

Score = Literal["sum", "mean"]
_NUM_BEAMS = 5


class Answer(NamedTuple):
    """One answer to a question.

    Attributes:
        text: the answer.
        probability: among the answers of the list; of a freely written one, of all texts.
        log_prob: log-likelihood in nats, the sum over its tokens.
    """

    text: str
    probability: float
    log_prob: float


class Answers(Runtime):
    """The ability to answer; see `Runtime` for the arguments."""

    def answer(
        self,
        images: ImageInput | Sequence[ImageInput],
        questions: str | Sequence[str],
        answers: Sequence[str] | None = None,
        *,
        free: bool = False,
        score: Score = "sum",
        num_answers: int = 5,
        batch_size: int = 64,
    ) -> list[list[Answer]]:
        """The likeliest answers to each question, best first.

        Args:
            images: N, in any form that `encode_images` takes.
            questions: as many; or one for all images, or one image for all questions.
            answers: a list to choose from, all of which is scored; the answers of the model's training data
                when None.
            free: write answers word by word instead, by beam search; with no list.
            score: an answer's score, by which the list is ranked: the sum of its tokens' log-likelihoods, or
                their mean. A sum is a likelihood, and prefers short answers where the model is unsure.
            num_answers: answers returned for each question, fewer where the list is shorter.
            batch_size: questions at a time.

        Returns:
            N lists of answers.

        Raises:
            AbilityError: the model cannot answer.
            ConfigError: options that contradict one another.
            DataError: a question is empty, the numbers of images and questions differ, an image cannot be
                read, or the list has fewer than two answers or one twice.
            ValueError: `batch_size` below 1.
        """
        self.needs("answer")  # before any image is read
        several, asked = aligned(images=several_images(images), questions=checked_texts(questions))
        stored = self.stored_batches(several, batch_size)
        return self.answer_stored(stored, asked, answers, free=free, score=score, num_answers=num_answers)

    def answer_stored(
        self,
        stored: Iterable[Tensor],
        questions: Sequence[str],
        answers: Sequence[str] | None = None,
        *,
        free: bool = False,
        score: Score = "sum",
        num_answers: int = 5,
    ) -> list[list[Answer]]:
        """`answer` for batches of stored (B, 3, S, S) uint8 squares, N together."""
        checked_count("num_answers", num_answers)
        writer = _Writer(self, num_answers) if free else _Ranker(self, answers, score, num_answers)
        if free and answers is not None:
            raise ConfigError("answers are chosen from a list or written freely; give one of the two.")
        self.warn_of_cut(questions, "questions")
        found: list[list[Answer]] = []
        for squares in stored:
            asked = questions[len(found) : len(found) + len(squares)]
            with self.computing():
                memory = self.needs("answer").read_questions(self.pixels(squares), *self.tokens(asked))
                found += writer(memory)
        return found

    def answer_dataset(
        self,
        dataset: Dataset,
        answers: Sequence[str] | None = None,
        *,
        score: Score = "sum",
        num_answers: int = 1,
        batch_size: int = 64,
    ) -> list[list[Answer]]:
        """`answer` for each row of a dataset, whose first text is the question."""
        places = np.arange(len(dataset))
        stored = (dataset.images(places[rows]) for rows in batches(len(dataset), batch_size))
        questions = [texts[0] for texts in dataset.texts or ()]
        return self.answer_stored(stored, questions, answers, score=score, num_answers=num_answers)


class _Ranker:
    """Ranks the answers of a list."""

    def __init__(self, model: Runtime, answers: Sequence[str] | None, score: Score, num_answers: int) -> None:
        if score not in ("sum", "mean"):
            raise ConfigError(f"the score of answers is {score!r}; expected sum or mean.")
        self._network = model.needs("answer")
        assert model.tokenizer is not None
        self.texts = (
            _distinct(self._network.known_answers(), model.tokenizer)
            if answers is None
            else _checked(answers, model.tokenizer)
        )
        if answers is not None:
            model.warn_of_cut(self.texts, "answers")
        if not self.texts:
            raise DataError("this model knows no answers; give it a list to choose from.")
        self._tokens, self._mask = model.tokens(self.texts)
        self._score, self._count = score, min(num_answers, len(self.texts))

    def log_probs(self, memory: Memory) -> Tensor:
        """(B, A) float64."""
        found: Tensor = self._network.score_answers(memory, self._tokens, self._mask)
        return found.double()

    def __call__(self, memory: Memory) -> list[list[Answer]]:
        log_probs = self.log_probs(memory)
        scores = log_probs if self._score == "sum" else log_probs / (self._mask.sum(dim=1) - 1)
        shares = scores.softmax(dim=1)
        order = scores.argsort(dim=1, descending=True, stable=True)[:, : self._count]
        chosen = (order.tolist(), shares.gather(1, order).tolist(), log_probs.gather(1, order).tolist())
        return [
            [Answer(self.texts[place], share, log_prob) for place, share, log_prob in zip(*row, strict=True)]
            for row in zip(*chosen, strict=True)
        ]


class _Writer:
    """Writes answers freely, by beam search without a preference for long ones.

    Different tokens can be one text, whose probability is the sum of theirs; a text without words is no
    answer. So more candidates are written than answers returned.
    """

    def __init__(self, model: Runtime, num_answers: int) -> None:
        self._network, tokenizer = model.needs("answer"), model.tokenizer
        assert tokenizer is not None
        self._decode, self._ends = tokenizer.decode, tokenizer.end_ids
        self._count = num_answers

    def __call__(self, memory: Memory) -> list[list[Answer]]:
        num_beams = max(_NUM_BEAMS, self._count + 2)
        found = self._written(memory, num_beams)
        if any(len(row) < self._count for row in found):
            found = self._written(memory, 4 * num_beams)
        return [row[: self._count] for row in found]

    def _written(self, memory: Memory, num_beams: int) -> list[list[Answer]]:
        begin_id, end_id = self._ends
        decoding = Decoding(num_beams=num_beams, num_captions=num_beams, length_penalty=0.0)
        found = self._network.write_answers(memory, begin_id=begin_id, end_id=end_id, decoding=decoding)
        return [self._answers(*row) for row in zip(*(part.tolist() for part in found[:3]), strict=True)]

    def _answers(self, tokens: list[list[int]], lengths: list[int], log_probs: list[float]) -> list[Answer]:
        """The K candidates of a question as different texts, the likeliest first."""
        sums: dict[str, float] = {}
        for ids, length, log_prob in zip(tokens, lengths, log_probs, strict=True):
            text = self._decode(ids[:length]).strip()
            if text:
                sums[text] = float(np.logaddexp(sums.get(text, -np.inf), log_prob))
        return sorted(
            (Answer(text, float(np.exp(log_prob)), log_prob) for text, log_prob in sums.items()),
            key=lambda one: -one.log_prob,
        )


def _distinct(answers: Sequence[str], tokenizer: TextTokenizer) -> list[str]:
    """The answers without those that an earlier one has the tokens of, such as "Yes" after "yes"."""
    rows = tokenizer.encode(answers)
    first: dict[tuple[int, ...], str] = {}
    for text, row in zip(answers, rows, strict=True):
        first.setdefault(tuple(row.tolist()), text)
    return list(first.values())


def _checked(answers: Sequence[str], tokenizer: TextTokenizer) -> list[str]:
    """A list that the caller gave."""
    if isinstance(answers, str):
        raise DataError(f"answers is the text {answers!r}; give a list of texts.")
    listed = list(answers)
    for place, text in enumerate(listed):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"answer {place} is {text!r}; expected a text that is not empty.")
    if len(listed) < 2:
        raise DataError(
            f"{len(listed)} answer{'' if len(listed) == 1 else 's'} to choose from: whatever is asked, it "
            "would be the answer. Give two or more, or none for those of the training data."
        )
    first: dict[tuple[int, ...], int] = {}
    for place, row in enumerate(tokenizer.encode(listed)):
        earlier = first.setdefault(tuple(row.tolist()), place)
        if earlier != place:
            both = [shorten(listed[one], 60, placeholder=" ...") for one in (earlier, place)]
            long, other = tokenizer.uncut().encode([listed[earlier], listed[place]])
            raise DataError(
                f"answers {earlier} and {place} read the same ({both[0]!r}, {both[1]!r})"
                + (
                    "; give each once."
                    if np.array_equal(long, other)
                    else f": the model reads {tokenizer.max_tokens} tokens of an answer; give shorter ones."
                )
            )
    return listed
