"""Captioning: are generated captions like those that people wrote?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from likewise.data.columns import Needs
from likewise.encoders.decoders import Decoding
from likewise.evaluation.base import Figure, Task, task
from likewise.evaluation.context import Context
from likewise.evaluation.scene_truth import TRUTH_FIGURES, scene_truth
from likewise.metrics.texts.captions import (
    best_constant_caption,
    caption_diversity,
    caption_scores,
    few_distinct,
    tokenize,
)

__all__ = ["Captioning", "CaptioningOptions"]

_SCORES = {
    "cider": "CIDEr-D",
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
}


@dataclass(frozen=True, kw_only=True)
class CaptioningOptions:
    """Options of captioning."""

    num_beams: int = 3
    """captioning: beams of beam search; 1 is greedy."""


@task("captioning")
class Captioning(Task):
    """One caption an image against all its references, beside the best constant caption."""

    title = "Captioning"
    summary = "generated captions against the references"
    needs = Needs("image", "text")
    abilities = ("caption",)
    options = CaptioningOptions
    monitored = "always"
    order = 15
    figures = (
        *(
            Figure(
                key,
                title,
                better="higher",
                chance=f"constant_{key}",
                headline=(key == "cider" and title) or None,
                curve=key == "cider",
            )
            for key, title in _SCORES.items()
        ),
        *(
            Figure(f"constant_{key}", f"{title} of the best constant caption", better="higher", baseline=True)
            for key, title in _SCORES.items()
        ),
        Figure("distinct_share", "Distinct captions", "share", "higher"),
        Figure("mean_length", "Mean length in words"),
        Figure("unused_words", "Training words never generated", "share", "lower"),
        Figure("num_images", "Images", "count"),
        *TRUTH_FIGURES,
    )
    extras = ("constant_caption", "note")

    def run(self, context: Context, options: CaptioningOptions) -> dict[str, Any]:
        """See `Task.run`."""
        decoding = Decoding(num_beams=options.num_beams)
        captions = [found[0].text for found in context.model.caption_dataset(context.validation, decoding)]
        references = [list(texts) for texts in context.validation.texts or []]
        training = [list(texts) for texts in context.train.texts or [] if texts]
        constant = best_constant_caption(training or references)
        scores = caption_scores([constant] * len(captions), references)
        generated = context.splits.summary.get("kind") == "generated scenes"
        remarks = [remark for remark in [few_distinct(captions)] if remark is not None]
        if not training:
            remarks.append("there is no training part: the best constant caption is chosen on the references")
        vocabulary = {word for texts in training for text in texts for word in tokenize(text)}
        diversity = caption_diversity(captions, vocabulary)
        if not vocabulary:
            del diversity["unused_words"]
        return {
            **caption_scores(captions, references),
            **{f"constant_{key}": value for key, value in scores.items()},
            **diversity,
            "num_images": float(len(captions)),
            **(scene_truth(captions, references, training) if generated else {}),
            "constant_caption": constant,
            **({"note": "; ".join(remarks)} if remarks else {}),
        }
