"""Where a captioner looks when it writes each word: its attention to the image's tokens.

Of a recurrent decoder the soft attention (Xu et al. 2015, arXiv 1502.03044, section 5.4), of a Transformer
the last layer's cross-attention, mean over heads. Dimensions: B images, W words, g side of the token grid.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from likewise.encoders.decoders import Decoding
from likewise.errors import AbilityError
from likewise.model.captions import write_captions
from likewise.model.explanations.explanation import Explanation, by_words
from likewise.model.runtime import Runtime

__all__ = ["explain_captions"]

_DECODING = Decoding(num_beams=3)


def explain_captions(model: Runtime, stored: Tensor, texts: list[str] | None = None) -> list[Explanation]:
    """Where the model looks when it writes a caption.

    Args:
        model: can caption.
        stored: (B, 3, S, S) uint8 squares.
        texts: B captions; the model's own (of beam search with three beams) when None.

    Raises:
        AbilityError: the model cannot caption, or its decoder has no attention.
    """
    network = model.needs("caption")
    assert model.tokenizer is not None
    if texts is None:
        texts = [found[0].text for found in write_captions(model, [stored], _DECODING)]
    tokens, _ = model.tokens(texts)
    with model.computing():
        attention = network.caption_attention(model.pixels(stored), tokens)  # (B, L - 1, N)
    if attention is None:
        raise AbilityError(
            "this model's decoder has no attention: it reads one vector of the whole image, and looks at no "
            "part of it. Train captioning with --method.decoder transformer, or without "
            "--method.no-attention."
        )
    side = math.isqrt(attention.shape[2])
    grids = attention.float().cpu().numpy().reshape(*attention.shape[:2], side, side)
    explanations = []
    for text, looked in zip(texts, grids, strict=True):
        spans = model.tokenizer.word_spans(text)
        # A token is written by the step before it.
        words, maps = by_words([(word, [place - 1 for place in places]) for word, places in spans], looked)
        whole = maps.mean(axis=0) if len(maps) else np.zeros((side, side), np.float32)
        explanations.append(Explanation(words=words, maps=maps, whole=whole, text=text))
    return explanations
