"""The abilities of models with fusion layers, in any form of images: `entail`, `compare` and `ground`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from likewise.data.images.inputs import image_sizes, square_images
from likewise.model.explanations.grounding import Grounding, checked_boxes, ground_squares
from likewise.model.inputs import ImageInput, batches, checked_texts, several_images
from likewise.model.runtime import Runtime
from likewise.model.verdicts import LookedAt, Verdict, aligned, class_probabilities, look, verdicts

__all__ = ["StatementModel"]

_Images = ImageInput | Sequence[ImageInput]


class StatementModel(Runtime):
    """A model that takes images with statements or phrases; which of these depends on its network."""

    def entail(
        self, images: _Images, statements: str | Sequence[str], *, batch_size: int = 128
    ) -> list[Verdict]:
        """What each image makes of each statement: true or false; entailment, neutral or contradiction.

        Args:
            images: N, in any form that `encode_images` takes; or one for all statements.
            statements: N, or one for all images.
            batch_size: pairs at a time.

        Returns:
            For each pair a label with the probabilities of all classes, which are those of the training.

        Raises:
            AbilityError: the model cannot entail.
            DataError: the numbers of images and statements differ, one cannot be read, or a statement is
                empty.
        """
        self.needs("entail")  # before any image is read
        given = aligned(images=several_images(images), statements=checked_texts(statements))
        return self._judge("entail", given, batch_size)

    def compare(
        self, left: _Images, right: _Images, statements: str | Sequence[str], *, batch_size: int = 128
    ) -> list[Verdict]:
        """Whether each statement is true of a pair of images.

        Args:
            left: N first images; or one for all.
            right: N second images, or one for all.
            statements: N, or one for all pairs.
            batch_size: pairs at a time.

        Returns:
            For each pair a label with the probabilities of all classes.

        Raises:
            AbilityError: the model cannot compare.
            DataError: the numbers differ, an image cannot be read, or a statement is empty.
        """
        self.needs("compare")
        given = aligned(
            left_images=several_images(left),
            right_images=several_images(right),
            statements=checked_texts(statements),
        )
        return self._judge("compare", given, batch_size)

    def look(
        self, *images: _Images, statements: str | Sequence[str], layer: int | None = None
    ) -> list[LookedAt]:
        """`entail`, or with two images `compare`, with the regions that support each verdict.

        Args:
            images: one or two of N images each.
            statements: N.
            layer: index of the fusion layer; the middle one when None.

        Raises:
            AbilityError: the model lacks the ability.
            ConfigError: there is no such layer.
            DataError: as of `entail`.
        """
        ability = "entail" if len(images) == 1 else "compare"
        self.needs(ability)
        columns = {f"images_{place}": several_images(one) for place, one in enumerate(images, 1)}
        *several, texts = aligned(**columns, statements=checked_texts(statements))
        found = []
        for rows in batches(len(texts), 64):
            squares = [self._squares(one[rows], rows.start) for one in several]
            found += look(self, ability, squares, texts[rows], layer=layer)
        return found

    def ground(
        self,
        images: _Images,
        phrases: str | Sequence[str],
        boxes: Sequence[Any] | None = None,
        *,
        layer: int | None = None,
    ) -> list[Grounding]:
        """The region that each phrase names, and which of given boxes fits it best.

        Args:
            images: N, in any form that `encode_images` takes; or one for all phrases.
            phrases: N, or one for all images.
            boxes: a list of boxes (x, y, width, height), in pixels of the image, for each phrase; or one list
                for all.
            layer: index of the fusion layer; the middle one when None.

        Raises:
            AbilityError: the model cannot ground.
            ConfigError: there is no such layer.
            DataError: the numbers differ, an image cannot be read, a phrase is empty, or a box is none.
        """
        self.needs("ground")
        several, texts = aligned(images=several_images(images), phrases=checked_texts(phrases))
        self.warn_of_cut(texts, "phrases")
        listed = None if boxes is None else checked_boxes(boxes, len(texts))
        squares, sizes = self._squares(several, 0), image_sizes(several)
        return ground_squares(self, squares, sizes, texts, listed, layer=layer)

    def _judge(self, ability: str, given: list[list[Any]], batch_size: int) -> list[Verdict]:
        *images, texts = given
        self.warn_of_cut(texts, "statements")
        found: list[Verdict] = []
        for rows in batches(len(texts), batch_size):
            squares = [self._squares(one[rows], rows.start) for one in images]
            found += verdicts(self, class_probabilities(self, ability, squares, texts[rows]))
        return found

    def _squares(self, images: Sequence[ImageInput], first: int) -> torch.Tensor:
        """(N, 3, S, S) uint8 squares; an image that is given several times is decoded once."""
        places = {id(image): place for place, image in reversed(list(enumerate(images)))}
        distinct = sorted(places.values())
        size, options = self.image_encoder.image_size, self.config["images"]
        squares = square_images(
            [images[place] for place in distinct],
            size=options["store_size"] or size,
            fit=options["fit"],
            first=first,
        )
        rows = np.searchsorted(distinct, [places[id(image)] for image in images])
        return squares[torch.from_numpy(rows)]
