"""Zero-shot classification: does the nearest class caption name the image?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.evaluation.base import Figure, Task, task
from likewise.evaluation.classes import classification_figures
from likewise.evaluation.context import Context
from likewise.metrics.prompts import prompts
from likewise.metrics.zero_shot import zero_shot

__all__ = ["ZeroShot", "ZeroShotOptions"]


@dataclass(frozen=True, kw_only=True)
class ZeroShotOptions:
    """Options of zero-shot classification."""

    templates: str = "photo"
    """zero-shot: prompts of the classes: a set's name (photo, plain, ...) or a sentence with one {}. For a
    model of sounds photo means plain, the class name alone."""

    def __post_init__(self) -> None:
        try:
            prompts(["a class"], self.chosen)
        except ValueError as error:
            raise ConfigError(
                f"--templates: expected a set's name or a sentence with one {{}}, but {error}."
            ) from error

    @property
    def chosen(self) -> str | list[str]:
        """What `prompts` takes: a set's name, or a list of sentences."""
        return [self.templates] if "{}" in self.templates else self.templates


@task("zero-shot")
class ZeroShot(Task):
    """Classification by the class's name alone."""

    title = "Zero-shot classification"
    summary = "classes by their names alone"
    needs = Needs("image", "label")
    abilities = ("encode_images", "encode_texts")
    options = ZeroShotOptions
    order = 22
    figures = (
        *classification_figures("Zero-shot accuracy"),
        Figure("top_5", "Top 5", "share", "higher", "chance_top_5"),
    )
    extras = ("templates",)

    def run(self, context: Context, options: ZeroShotOptions) -> dict[str, Any]:
        """See `Task.run`."""
        chosen = options.chosen
        if chosen == "photo" and "encode_audio" in context.model.abilities:
            chosen = "plain"
        rows = prompts(context.validation.label_names or [], chosen)  # C lists of T
        vectors = context.model.encode_texts([text for row in rows for text in row])  # (C T, D)
        figures = zero_shot(context.images, vectors.reshape(len(rows), len(rows[0]), -1), context.labels)
        return figures | {"templates": chosen}
