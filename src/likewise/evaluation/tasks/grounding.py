"""Phrase grounding: does the match look at what a phrase names?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data import Dataset
from likewise.data.columns import PHRASE, Needs
from likewise.evaluation.base import Figure, Task, task
from likewise.evaluation.context import Context
from likewise.evaluation.phrases import Phrases, phrases_of
from likewise.evaluation.text_baselines import rows_of_other_groups, with_other_images
from likewise.metrics.grounding import grounding_figures, smooth_maps
from likewise.model.explanations.grounding import grounding_maps
from likewise.model.model import Model
from likewise.sampling import sampled_rows

__all__ = ["Grounding"]

_MAX_PHRASES = 3000
_BATCH_SIZE = 64


@task("grounding")
class Grounding(Task):
    """Pointing game and accuracy at given boxes, by Grad-CAM of the match on the cross-attention.

    Where the data has more than 3,000 phrases, as many are measured, drawn at random.
    """

    title = "Phrase grounding"
    summary = "the region that a phrase names, without boxes in training"
    needs = Needs("image", "boxes", text=PHRASE)
    abilities = ("ground",)
    order = 18
    slow = True
    figures = (
        Figure(
            "pointing",
            "Pointing game: the map's peak lies in a box of the phrase",
            "share",
            "higher",
            "chance_pointing",
            headline="Pointing game",
        ),
        Figure("center_pointing", "Pointing at the middle", "share", "higher", baseline=True),
        Figure(
            "shuffled_pointing",
            "Pointing of this model with other rows' images",
            "share",
            "higher",
            baseline=True,
        ),
        Figure(
            "box_accuracy",
            "The highest of the given boxes is the phrase's",
            "share",
            "higher",
            "chance_box_accuracy",
            headline="Right box",
        ),
        Figure("largest_box_accuracy", "The largest box is the phrase's", "share", "higher", baseline=True),
        Figure("num_phrases", "Phrases", "count"),
        Figure("num_choices", "Phrases whose image has other boxes", "count"),
        Figure("num_hidden", "Left out: boxes that the square does not show", "count"),
    )
    extras = ("note",)

    def run(self, context: Context, options: Any) -> dict[str, Any]:
        """See `Task.run`."""
        model, data = context.model, context.validation
        found = phrases_of(data, model.config["images"]["fit"])
        chosen, notes = np.arange(len(found.texts)), []
        if len(chosen) > _MAX_PHRASES:
            notes.append(f"{_MAX_PHRASES:,} of {len(chosen):,} phrases are measured, a random sample")
            chosen = sampled_rows(len(chosen), _MAX_PHRASES)
        boxes, others = ([listed[place] for place in chosen] for listed in (found.boxes, found.others))
        shares = [found.shares[place] for place in chosen]
        figures: dict[str, Any] = grounding_figures(_maps(model, data, found, chosen), boxes, others, shares)
        if found.num_hidden:
            figures["num_hidden"] = float(found.num_hidden)
        try:
            shuffled = with_other_images(data, rows_of_other_groups(data.groups))
        except ValueError as error:
            notes.append(str(error))
        else:
            blind = grounding_figures(_maps(model, shuffled, found, chosen), boxes)
            figures["shuffled_pointing"] = blind["pointing"]
        return figures | ({"note": "; ".join(notes)} if notes else {})


def _maps(model: Model, data: Dataset, found: Phrases, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """(P, R, R) maps of the chosen phrases."""
    maps = []
    for start in range(0, len(chosen), _BATCH_SIZE):
        places = chosen[start : start + _BATCH_SIZE]
        stored = data.images(found.rows[places])
        maps.append(grounding_maps(model, stored, [found.texts[place] for place in places])[0])
    return smooth_maps(np.concatenate(maps)) if maps else np.zeros((0, 1, 1), np.float32)
