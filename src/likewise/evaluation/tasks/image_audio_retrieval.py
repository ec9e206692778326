"""Retrieval between images and sounds: does each find the other?"""

from __future__ import annotations

from typing import Any

from likewise.data.columns import Needs
from likewise.evaluation.base import Figure, NoOptions, Task, task
from likewise.evaluation.context import Context
from likewise.evaluation.tasks.retrieval import direction
from likewise.metrics.retrieval import retrieval

__all__ = ["ImageAudioRetrieval"]


@task("image-audio-retrieval")
class ImageAudioRetrieval(Task):
    """Retrieval by cosine, in both directions; rows of a group are right for each other."""

    title = "Retrieval between images and sounds"
    summary = "sounds for images and back"
    needs = Needs("image", "audio")
    abilities = ("encode_images", "encode_audio")
    order = 12
    monitored = "always"
    figures = (
        *direction("image_to_sound", "Image to sound", "Right sound first"),
        *direction("sound_to_image", "Sound to image", "Image of the sound first"),
        Figure("num_images", "Images", "count"),
        Figure("num_sounds", "Sounds", "count"),
    )

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        groups = context.validation.groups
        return retrieval(context.images, context.sounds, groups, groups, names=("image", "sound"))
