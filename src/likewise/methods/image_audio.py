"""CLIP on images and sounds: the same class whose second tower reads sounds in place of texts.

The objective is that of Radford 2021, arXiv 2103.00020. Images and sounds as each other's positives:
Arandjelović and Zisserman 2017, arXiv 1705.08168; by CLIP's objective: Guzhov 2021, arXiv 2106.13043.

Dimensions: B batch, D width of the shared space.
"""

from __future__ import annotations

from typing import Any, ClassVar

from likewise.batches.batch import Batch
from likewise.data.columns import Needs
from likewise.methods.base import BuildContext, Embeddings, Step
from likewise.methods.image_text.clip import CLIP
from likewise.networks.image_audio import ImageAudioNetwork
from likewise.views import SOUND_PRESETS, view_preset

__all__ = ["ImageAudioCLIP"]


class ImageAudioCLIP(CLIP):
    """An image encoder and an audio encoder embed images and sounds in one space. An image and its sound are
    positives, all other sounds and images of the batch negatives, with a learned temperature. Images can then
    be searched by a sound, and sounds by an image, without any text.

    Choose it when: You have images with their sounds (frames of videos, animals with their calls, machines
    with their noise) and want to search one by the other, or features of both without labels or captions.
    """

    name = "clip-image-audio"
    title = "CLIP on images and sounds"
    summary = "an image and its sound are positives, other sounds and images are negatives"
    paper = "Radford 2021, arXiv 2103.00020; Guzhov 2021, arXiv 2106.13043"
    needs = Needs("image", "audio")
    towers = ("images", "sounds")
    network_kind = ImageAudioNetwork.kind
    view_families: ClassVar = {
        "views": lambda _: view_preset("clip"),
        "views_audio": lambda _: SOUND_PRESETS["clip"],
    }

    network: ImageAudioNetwork  # type: ignore[assignment]

    @staticmethod
    def build_network(context: BuildContext, **options: Any) -> ImageAudioNetwork:
        """See `CLIP.build_network`."""
        return ImageAudioNetwork(context.image_encoder(), context.audio_encoder(), **options)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Each encoder once; the objective normalises."""
        sounds = self.views(batch, step, family="views_audio", encoder=self.network.audio)
        return {
            "images": self.network.encode_images(self.views(batch, step)),  # (B, D)
            "sounds": self.network.encode_audio(sounds),  # (B, D)
            "group": batch.group,  # (B,)
        }
