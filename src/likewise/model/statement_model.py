"""The abilities of models with fusion layers, in any form of images: `entail`, `compare` and `ground`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from likewise.data.images.inputs import image_sizes
from likewise.model.explanations.grounding import Grounding, checked_boxes, ground_squares
from likewise.model.inputs import ImageInput, aligned, batches, checked_texts, several_images
from likewise.model.runtime import Runtime
from likewise.model.verdicts import LookedAt, Verdict, class_probabilities, look, verdicts

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
            found += look(self, ability, self._squares(several, rows), texts[rows], layer=layer)
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
        squares, sizes = self.stored_squares(several), image_sizes(several)
        found = ground_squares(self, squares, sizes, texts, listed, layer=layer)
        hidden = {
            (id(image), *box): box
            for image, one, given in zip(several, found, listed or (), strict=False)
            for box, score in zip(given, one.box_scores, strict=True)
            if score is None
        }
        if hidden:
            first = ",".join(f"{number:g}" for number in next(iter(hidden.values())))
            warnings.warn(
                f"boxes without a score: {len(hidden):,}, the first is {first}; they lie outside the image, "
                "or where the model does not see it",
                stacklevel=2,
            )
        return found

    def _judge(self, ability: str, given: list[list[Any]], batch_size: int) -> list[Verdict]:
        *images, texts = given
        self.warn_of_cut(texts, "statements")
        found: list[Verdict] = []
        for rows in batches(len(texts), batch_size):
            squares = self._squares(images, rows)
            found += verdicts(self, class_probabilities(self, ability, squares, texts[rows]))
        return found

    def _squares(self, images: Sequence[Sequence[ImageInput]], rows: slice) -> list[Tensor]:
        """Of each column of images (B, 3, S, S) uint8 squares."""
        names = ["image"] if len(images) == 1 else ["left image", "right image"]
        return [
            self.stored_squares(column[rows], first=rows.start, such_as=name)
            for column, name in zip(images, names, strict=True)
        ]
