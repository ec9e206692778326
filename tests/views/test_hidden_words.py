"""Hidden words: how many, which, and that each row's are its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likewise.step_random import StepRandom
from likewise.views import IGNORE_INDEX, mask_tokens

PAD, CLS, SEP, MASK, VOCABULARY = 0, 1, 2, 3, 1000
SPECIAL = (PAD, CLS, SEP, MASK)


def texts(B: int, longest: int = 40) -> tuple[Tensor, Tensor]:
    """(B, L) tokens and mask: [CLS], 0 to L - 2 words, [SEP], padding."""
    generator = torch.Generator().manual_seed(B)
    lengths = torch.randint(2, longest + 1, (B, 1), generator=generator)
    places = torch.arange(longest)
    tokens = torch.randint(4, VOCABULARY, (B, longest), generator=generator)
    tokens[:, 0] = CLS
    tokens = torch.where(places == lengths - 1, SEP, tokens)
    mask = places < lengths
    return torch.where(mask, tokens, PAD), mask


def hide(tokens: Tensor, mask: Tensor, *, share: float = 0.15, **changed: object) -> tuple[Tensor, Tensor]:
    options = {"draw": StepRandom(0, 0), "index": torch.arange(len(tokens))} | changed
    return mask_tokens(
        tokens,
        mask,
        mask_id=MASK,
        vocabulary_size=VOCABULARY,
        special_ids=SPECIAL,
        share=share,
        **options,  # type: ignore[arg-type]
    )


def within(found: int, total: int, share: float) -> bool:
    """Four deviations of a binomial."""
    return abs(found - share * total) < 4 * (total * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("share", [0.15, 0.5])
def test_shares(share: float) -> None:
    """Of the words 15 %; of those 80 % by [MASK], 10 % by a random word, 10 % as they are."""
    tokens, mask = texts(20_000)
    hidden, words = hide(tokens, mask, share=share)
    chosen = words != IGNORE_INDEX
    num_words, num_chosen = int((tokens > 3).sum()), int(chosen.sum())
    assert within(num_chosen, num_words, share)
    masked, same = hidden[chosen] == MASK, hidden[chosen] == tokens[chosen]
    # A random word is now and then the word that was there, or a special token.
    chance = 0.1 / VOCABULARY
    assert within(int(masked.sum()), num_chosen, 0.8 + chance)
    assert within(int(same.sum()), num_chosen, 0.1 + chance)
    random = hidden[chosen][~masked & ~same]
    assert within(len(random), num_chosen, 0.1 - 2 * chance)
    counts = torch.bincount(random, minlength=VOCABULARY).double()
    assert len(counts) == VOCABULARY
    expected = len(random) / (VOCABULARY - 1)  # but for [MASK]
    chi_square = float(
        ((counts - expected) ** 2 / expected).sum() - (counts[MASK] - expected) ** 2 / expected
    )
    assert abs(chi_square - (VOCABULARY - 2)) < 4 * (2 * VOCABULARY) ** 0.5


def test_each_place_is_chosen_as_often_and_apart_from_its_neighbours() -> None:
    tokens = torch.randint(4, VOCABULARY, (20_000, 8), generator=torch.Generator().manual_seed(0))
    _, words = hide(tokens, torch.ones_like(tokens, dtype=torch.bool))
    chosen = words != IGNORE_INDEX
    assert all(within(int(place.sum()), 20_000, 0.15) for place in chosen.T)
    both = (chosen[:, :-1] & chosen[:, 1:]).sum(0)
    assert all(within(int(pairs), 20_000, 0.15**2) for pairs in both)


@pytest.mark.parametrize("share", [0.15, 1.0])
def test_words_alone_are_hidden_and_asked_for(share: float) -> None:
    tokens, mask = texts(500)
    before = tokens.clone()
    hidden, words = hide(tokens, mask, share=share)
    assert torch.equal(tokens, before)  # the texts themselves stay
    chosen = words != IGNORE_INDEX
    no_word = ~mask | torch.isin(tokens, torch.tensor(SPECIAL))
    assert not (chosen & no_word).any()
    assert torch.equal(words[chosen], tokens[chosen])
    assert (words[~chosen] == IGNORE_INDEX).all()
    assert torch.equal(hidden[~chosen], tokens[~chosen])
    assert hidden.shape == words.shape == tokens.shape
    assert hidden.dtype == words.dtype == torch.int64


def test_padding_is_told_by_the_mask_not_by_the_token() -> None:
    """A tokenizer may pad with a token that is also a word."""
    tokens, mask = texts(200)
    hidden, words = hide(torch.where(mask, tokens, 7), mask, share=1.0)
    assert (words[~mask] == IGNORE_INDEX).all()
    assert (hidden[~mask] == 7).all()


def test_none_and_all() -> None:
    tokens, mask = texts(300)
    hidden, words = hide(tokens, mask, share=0.0)
    assert torch.equal(hidden, tokens)
    assert (words == IGNORE_INDEX).all()
    _, words = hide(tokens, mask, share=1.0)
    assert torch.equal(words != IGNORE_INDEX, tokens > 3)


def test_texts_without_words() -> None:
    tokens = torch.tensor([[CLS, SEP, PAD], [CLS, SEP, PAD]])
    for length in (2, 3):
        hidden, words = hide(tokens[:, :length], tokens[:, :length] != PAD, share=1.0)
        assert torch.equal(hidden, tokens[:, :length])
        assert (words == IGNORE_INDEX).all()


def test_a_row_s_holes_depend_on_its_number_seed_and_step_alone() -> None:
    tokens, mask = texts(60)
    index = 100 + torch.arange(60)
    hidden, words = hide(tokens, mask, index=index)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    some = order[:17]
    for part, whole in zip(hide(tokens[some], mask[some], index=index[some]), (hidden, words), strict=True):
        assert torch.equal(part, whole[some])
    longer = torch.nn.functional.pad(tokens, (0, 9)), torch.nn.functional.pad(mask, (0, 9))
    for part, whole in zip(hide(*longer, index=index), (hidden, words), strict=True):
        assert torch.equal(part[:, :40], whole)
    for other in ({"draw": StepRandom(1, 0)}, {"draw": StepRandom(0, 1)}, {"index": index + 60}):
        assert not torch.equal(hide(tokens, mask, **{"index": index, **other})[1], words)
    # What stands in a text does not move its holes: only where its words are does.
    others = torch.where(tokens > 3, 4 + (tokens + 5) % (VOCABULARY - 4), tokens)
    assert torch.equal(hide(others, mask, index=index)[1] != IGNORE_INDEX, words != IGNORE_INDEX)
