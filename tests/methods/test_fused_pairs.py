"""Which pairs image-text matching is given to judge."""

import torch

from likewise.batches.batch import Batch, TokenBatch
from likewise.methods.image_text.tcl.pairs import draw_pairs
from likewise.step_random import StepRandom

# Row 1 has another picture and the words of row 0, though padded like row 2's; row 3 has row 2's picture.
TOKENS = torch.tensor([[1, 5, 2, 0], [1, 5, 2, 0], [1, 5, 6, 2], [1, 7, 2, 0]])
GROUPS = torch.tensor([0, 1, 2, 2])


def drawn(step: int, length: int = 4) -> tuple[list[int], list[int], list[bool]]:
    batch = Batch(
        index=torch.arange(4),
        group=GROUPS,
        text=TokenBatch(TOKENS[:, :length], TOKENS[:, :length] > 0),
    )
    rows = torch.ones(4, 3)
    states = torch.arange(4.0)[:, None, None].expand(4, length, 2)
    pairs = draw_pairs(
        states,
        states,
        dict.fromkeys(("images", "texts", "ema_images", "ema_texts"), rows),
        batch,
        StepRandom(seed=0, step=step),
        temperature=torch.tensor(0.1),
        of_all_replicas=False,
    )
    return pairs.other_texts[:, 0, 0].int().tolist(), pairs.other_images.tolist(), pairs.judged.tolist()


def test_what_has_the_same_words_or_picture_is_no_negative() -> None:
    allowed = [{2, 3}, {2, 3}, {0, 1}, {0, 1}]
    for step in range(40):
        texts, images, judged = drawn(step)
        assert all(judged)
        for row in range(4):
            assert texts[row] in allowed[row]
            assert images[row] in allowed[row]


def test_all_are_drawn() -> None:
    texts = {(row, text) for step in range(40) for row, text in enumerate(drawn(step)[0])}
    assert texts == {(row, text) for row in range(4) for text in ({2, 3} if row < 2 else {0, 1})}


def test_a_row_without_negatives_is_not_judged() -> None:
    texts, images, judged = drawn(0, length=2)  # rows 0 to 2 are cut to the same words
    assert texts[0] == texts[1] == images[0] == images[1] == 3
    assert [place for place, counts in enumerate(judged) if not counts] == [4 + 2, 8 + 2]
