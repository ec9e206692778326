"""Tokenizers: one trained on the user's own captions, or a pre-trained model's.

The trained one is byte-level BPE (Sennrich 2016, 1508.07909; over bytes as in GPT-2) on NFKC-normalized,
lower-cased text, so no text has unknown tokens. Each Chinese or Japanese character is a word, as in BERT's
tokenizer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from likewise.data.text_encoding import is_text
from likewise.errors import ConfigError, DataError, ModelError
from likewise.messages import first_line

__all__ = ["TextTokenizer", "train_tokenizer"]

# The start of CJK in Unicode; scripts from there on put no spaces between words.
_FIRST_WITHOUT_SPACES = "\u2e80"
# Each of these characters is a word of its own in a tokenizer trained here, or clauses would become tokens.
_OWN_WORDS = r"\p{Han}\p{Hiragana}\p{Katakana}"
# Texts encoded at a time: the library's encodings are many times as large as their tokens.
_CHUNK = 4096

PAD, CLS, SEP, MASK = "[PAD]", "[CLS]", "[SEP]", "[MASK]"


class TextTokenizer:
    """Texts to token ids, each text between a start and an end token.

    Args:
        tokenizer: of the `tokenizers` library.
        pad_id: the padding's id.
        max_tokens: maximum length; longer texts are cut before their end token.
    """

    def __init__(self, tokenizer: Any, *, pad_id: int, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self.pad_id = pad_id
        self.max_tokens = max_tokens
        # "[SEP]" written in a caption is text and no control token.
        tokenizer.encode_special_tokens = True
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)

    @property
    def size(self) -> int:
        """The number of entries in the vocabulary."""
        return int(self._tokenizer.get_vocab_size())

    @property
    def mask_id(self) -> int | None:
        """The mask token's id; None where there is none."""
        number = self._tokenizer.token_to_id(MASK)
        return None if number is None else int(number)

    @property
    def special_ids(self) -> tuple[int, ...]:
        """Ids that are no part of a text: padding, start, end, mask."""
        added = self._tokenizer.get_added_tokens_decoder()
        return tuple(sorted(number for number, token in added.items() if token.special))

    @property
    def end_ids(self) -> tuple[int, int]:
        """Ids of the tokens that begin and end every text."""
        with _panic_is_damage():
            ids = self._tokenizer.encode("a").ids
        return int(ids[0]), int(ids[-1])

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The token ids of each text, not padded.

        Returns:
            One (L,) int32 array per text, 2 <= L <= max_tokens.

        Raises:
            DataError: a text holds lone surrogates, which are no Unicode text.
            ModelError: the tokenizer's file is damaged in a way that shows only now.
        """
        wrong = next((text for text in texts if not is_text(text)), None)
        if wrong is not None:
            raise DataError(f"not a valid Unicode text (a lone surrogate in it): {wrong[:80]!r}")
        with _panic_is_damage():
            return [
                np.array(encoding.ids, dtype=np.int32)
                for start in range(0, len(texts), _CHUNK)
                for encoding in self._tokenizer.encode_batch(list(texts[start : start + _CHUNK]))
            ]

    def word_spans(self, text: str) -> list[tuple[str, list[int]]]:
        """The words of a text, each with the positions of its tokens in the row of `encode`.

        In scripts without spaces between words (Chinese, say), each character is a word.
        """
        with _panic_is_damage():
            encoding = self._tokenizer.encode(text)
        found: dict[Any, list[int]] = {}
        for place, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
            if word is not None and text[start:end].strip():
                spaced = text[start] < _FIRST_WITHOUT_SPACES
                found.setdefault((word, None if spaced else start), []).append(place)
        return [
            (text[encoding.offsets[places[0]][0] : encoding.offsets[places[-1]][1]].strip(), places)
            for places in found.values()
        ]

    def pad(self, rows: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Stack rows, padded on the right to the longest of them.

        Returns:
            tokens (B, L) int64 and mask (B, L) bool, True on real tokens.
        """
        lengths = np.array([len(row) for row in rows])
        mask = np.arange(lengths.max())[None, :] < lengths[:, None]  # (B, L)
        tokens = np.full(mask.shape, self.pad_id, dtype=np.int64)
        tokens[mask] = np.concatenate(rows)
        return tokens, mask

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token ids, without the special ones and without spaces around it."""
        with _panic_is_damage():
            return str(self._tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def uncut(self) -> TextTokenizer:
        """The same tokenizer without a maximum length."""
        from tokenizers import Tokenizer

        copy = Tokenizer.from_str(self._tokenizer.to_str())
        return TextTokenizer(copy, pad_id=self.pad_id, max_tokens=sys.maxsize)

    def lowercasing(self, *, without: str = "") -> TextTokenizer:
        """The same tokenizer after making texts lower-case.

        Args:
            without: characters that are left out, such as punctuation; spaces are then single.
        """
        from tokenizers import Regex, Tokenizer, normalizers

        copy = Tokenizer.from_str(self._tokenizer.to_str())
        steps: list[Any] = [normalizers.Lowercase()]
        if without:
            characters = "".join(f"\\x{{{ord(one):x}}}" for one in without)
            steps += [
                normalizers.Replace(Regex(f"[{characters}]"), ""),
                normalizers.Replace(Regex(r"\s+"), " "),
                normalizers.Strip(),
            ]
        own = [] if copy.normalizer is None else [copy.normalizer]
        copy.normalizer = normalizers.Sequence([*steps, *own])
        return TextTokenizer(copy, pad_id=self.pad_id, max_tokens=self.max_tokens)

    def special_tokens(self) -> dict[str, str]:
        """Its special tokens, by the names that transformers has for them."""
        begin, end = self.end_ids
        tokens = {"pad_token": self.pad_id, "cls_token": begin, "sep_token": end, "mask_token": self.mask_id}
        named = {name: self._tokenizer.id_to_token(i) for name, i in tokens.items() if i is not None}
        unknown = next((token for token in ("[UNK]", "<unk>") if self._tokenizer.token_to_id(token)), None)
        return named if unknown is None else named | {"unk_token": unknown}

    def to_json(self) -> str:
        """The content of its file."""
        return str(self._tokenizer.to_str(pretty=True))

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`, which the `tokenizers` library and transformers read."""
        # The library's own save raises a bare Exception when the disk is full.
        path.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        max_tokens: int | None,
        pad_id: int | None = None,
        pad_token: str | None = None,
    ) -> TextTokenizer:
        """Read a tokenizer.json, a folder that has one, or (with transformers) a hub name.

        Args:
            path: one of these.
            max_tokens: maximum length; None for the file's own, which files saved here have.
            pad_id: the padding's id; by default that of the padding token.
            pad_token: the padding token; by default [PAD], <pad> or <|endoftext|>.

        Raises:
            ConfigError: there is no such hub name.
            ModelError: the file is not a tokenizer, or has no maximum length.
        """
        from tokenizers import Tokenizer

        file = Path(path) / "tokenizer.json" if Path(path).is_dir() else Path(path)
        if file.is_file():
            try:
                tokenizer = Tokenizer.from_file(str(file))
            except Exception as error:  # the library raises bare Exception for malformed files
                raise ModelError(f"{file} is not a tokenizer: {error}") from error
        else:
            tokenizer = _from_hub(str(path))
        if pad_id is None:
            tokens = (pad_token, PAD, "<pad>", "<|endoftext|>")
            pad_id = next(
                (i for token in tokens if token and (i := tokenizer.token_to_id(token)) is not None), 0
            )
        if max_tokens is None:
            if tokenizer.truncation is None:
                raise ModelError(f"{file} has no maximum length.")
            max_tokens = tokenizer.truncation["max_length"]
        return cls(tokenizer, pad_id=pad_id, max_tokens=max_tokens)


@contextmanager
def _panic_is_damage() -> Iterator[None]:
    """A panic of the tokenizers library, which is no Exception, as ModelError."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"the tokenizer is damaged: {first_line(error)}") from error


def _from_hub(name: str) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False).backend_tokenizer
    except (OSError, ValueError, AttributeError, ImportError) as error:
        raise ConfigError(
            f"--text.tokenizer: cannot load {name!r}. Expected a tokenizer.json, a folder that has one, or a "
            "hub name and a network to fetch it with."
        ) from error


def train_tokenizer(texts: Iterable[str], *, vocabulary_size: int, max_tokens: int) -> TextTokenizer:
    """Train a byte-level BPE tokenizer.

    Args:
        texts: captions of the training split alone.
        vocabulary_size: maximum entries; pairs seen once are not merged, so small data give fewer.
        max_tokens: maximum length.

    Returns:
        A tokenizer with [PAD]=0, [CLS]=1, [SEP]=2, [MASK]=3 and all 256 bytes.
    """
    from tokenizers import (
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE())
    # A prepended space makes a first word the same token as a later one; ByteLevel's own prefix would also
    # come after every Chinese character.
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Prepend(" "),
            normalizers.Replace(Regex(r"\A  "), " "),
            normalizers.Replace(Regex(rf"\A (?=[{_OWN_WORDS}])"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(f"[{_OWN_WORDS}]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=[PAD, CLS, SEP, MASK],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{CLS} $A {SEP}",
        pair=f"{CLS} $A {SEP} $B {SEP}",
        special_tokens=[(CLS, tokenizer.token_to_id(CLS)), (SEP, tokenizer.token_to_id(SEP))],
    )
    return TextTokenizer(tokenizer, pad_id=0, max_tokens=max_tokens)
