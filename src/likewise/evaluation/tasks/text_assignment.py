"""Text assignment: is a caption assigned to the image that it belongs to?"""

from __future__ import annotations

from typing import Any

import numpy as np

from likewise.data.columns import Needs
from likewise.errors import AbilityError
from likewise.evaluation.base import Figure, Task, task
from likewise.evaluation.context import Context
from likewise.evaluation.text_baselines import accuracy_error, rows_of_other_groups
from likewise.model.model import Model
from likewise.model.verdicts import class_names, judge_dataset
from likewise.networks.pair_reasoner import ASSIGNMENTS

__all__ = ["TextAssignment"]


@task("text-assignment")
class TextAssignment(Task):
    """The first caption of each image, with the image and another one in either order, and with two others:
    all three are asked of every image, so chance is a third whatever the model prefers."""

    title = "Text assignment"
    summary = "does a caption belong to the first of two images, the second or neither"
    needs = Needs("image", "text")
    abilities = ("compare",)
    order = 18
    monitored = "always"
    figures = (
        Figure(
            "accuracy",
            "Assignment accuracy",
            "share",
            "higher",
            chance="chance_accuracy",
            curve=True,
            headline="Text assignment accuracy",
        ),
        Figure("chance_accuracy", "Assignment accuracy, chance", "share", baseline=True),
        Figure("accuracy_error", "Its standard error", "share", "lower"),
        *(Figure(f"{name}_accuracy", f"Right where it is {name}", "share", "higher") for name in ASSIGNMENTS),
        Figure("num_images", "Images", "count"),
    )

    def fits(self, model: Model) -> bool:
        """Whether the model tells these classes apart."""
        return super().fits(model) and class_names(model) == list(ASSIGNMENTS)

    def check(self, model: Model, options: Any) -> None:
        """Raise AbilityError for other models."""
        super().check(model, options)
        if not self.fits(model):
            raise AbilityError(
                f"{self.name} measures models of the method text-assignment; this one tells apart "
                f"{', '.join(class_names(model))}."
            )

    def run(self, context: Context, options: Any) -> dict[str, Any]:
        """See `Task.run`."""
        data = context.validation
        rows = np.array([row for row, texts in enumerate(data.texts or ()) if texts], np.int64)
        texts = [(data.texts or ())[row][0] for row in rows]
        own = data.column("image")
        other, another = (own.take(rows_of_other_groups(data.groups, seed=seed)) for seed in (0, 1))
        shown = {"first": (own, other), "second": (other, own), "neither": (other, another)}
        right = []
        for number, name in enumerate(ASSIGNMENTS):
            first, second = shown[name]
            asked = data.with_columns(image=first, image_2=second)
            right.append(judge_dataset(context.model, "compare", asked, texts, rows).argmax(1) == number)
        figures = {
            f"{name}_accuracy": float(one.mean()) for name, one in zip(ASSIGNMENTS, right, strict=True)
        }
        groups = np.tile(data.groups[rows], len(ASSIGNMENTS))
        joined = np.concatenate(right)
        return figures | {
            "accuracy": float(joined.mean()),
            "chance_accuracy": 1 / len(ASSIGNMENTS),
            "accuracy_error": accuracy_error(joined, groups),
            "num_images": len(rows),
        }
