"""Words and phrases of an explained text: their maps, and the words that the model did not read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ConfigError
from likewise.model.explanations.explanation import Explanation

__all__ = ["phrase_maps", "unread_words"]


def phrase_maps(
    tokenizer: TextTokenizer, found: Explanation, phrases: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """The map of each phrase, at the first place where its words stand side by side in the text.

    Args:
        tokenizer: the model's.
        found: the explanation of the text.
        phrases: words of the text; case is ignored.

    Returns:
        (g, g) maps by phrase, each the mean over the phrase's words.

    Raises:
        ConfigError: the words of a phrase do not stand side by side in the text as the model read it.
    """
    tokenizer = tokenizer.uncut()
    read = [word.casefold() for word in found.words]
    maps = {}
    for phrase in phrases:
        words = [word.casefold() for word, _ in tokenizer.word_spans(phrase)]
        starts = [start for start in range(len(read)) if words and read[start : start + len(words)] == words]
        if not starts:
            raise ConfigError(
                f"phrase {phrase!r}: these words do not stand side by side in the text. Name some of those "
                f"that the model read: {' '.join(found.words)}"
            )
        maps[phrase] = found.phrase(starts[0], starts[0] + len(words) - 1)
    return maps


def unread_words(tokenizer: TextTokenizer, text: str) -> list[str]:
    """A remark if the text is longer than what the model reads of it, else none."""
    if len(tokenizer.encode([text])[0]) < tokenizer.max_tokens:
        return []
    whole, read = tokenizer.uncut().word_spans(text), tokenizer.word_spans(text)
    # The last word read may have lost some of its tokens.
    count = len(whole) - sum(first == second for first, second in zip(whole, read, strict=False))
    if count == 0:
        return []
    last = "the last word was" if count == 1 else f"the last {count:,} words were"
    return [f"the model reads {tokenizer.max_tokens:,} tokens; {last} left out"]
