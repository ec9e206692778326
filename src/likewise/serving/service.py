"""A model at work for the routes: inputs are checked, queued, and computed in batches."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.errors import AbilityError
from likewise.model.explanations.explain import kind_of_explanation
from likewise.model.model import Model
from likewise.serving.batcher import Batcher, Work
from likewise.serving.inputs import Inputs, is_data_uri
from likewise.serving.limits import Limits
from likewise.serving.metrics import Metrics
from likewise.serving.refusals import Refusal, error_content
from likewise.serving.works import Works

__all__ = ["Service"]


class Service:
    """What routes ask.

    Args:
        model: the model.
        name: what clients call it.
        limits: of requests and batches.
        metrics: what is counted.
    """

    def __init__(self, model: Model, *, name: str, limits: Limits, metrics: Metrics) -> None:
        self.model, self.name, self.limits, self.metrics = model, name, limits, metrics
        self._abilities = frozenset(model.abilities)  # looking at the network takes a millisecond
        self.inputs = Inputs(model, limits)
        self.works = Works(model, limits)
        self.batcher = Batcher(
            max_queue=limits.max_queue, wait_seconds=limits.batch_wait_ms / 1000, observer=metrics
        )

    def check_model(self, name: str | None) -> None:
        """Refuse a request that names another model."""
        if name is not None and name != self.name:
            raise Refusal(
                404,
                f"there is no model {name!r}; this server has {self.name!r}",
                code="model_not_found",
                param="model",
            )

    def can(self, *abilities: str) -> bool:
        """Whether the model has all of these."""
        return self._abilities.issuperset(abilities)

    def needs(self, ability: str) -> None:
        """Refuse what the model cannot do; AbilityError says which methods give it."""
        if ability not in self._abilities:
            self.model.needs(ability)

    async def vectors(
        self, given: Sequence[str], param: str, *, cut: bool = False
    ) -> tuple[NDArray[np.float32], int]:
        """Unit vectors of texts and of images as data URIs; places must be taken.

        Args:
            given: N of either.
            param: the field they come from.
            cut: cut long texts instead of refusing them.

        Returns:
            (N, D), and the number of tokens that were read.
        """
        images = [place for place, one in enumerate(given) if is_data_uri(one)]
        texts = [place for place, one in enumerate(given) if not is_data_uri(one)]
        for places, ability in ((images, "encode_images"), (texts, "encode_texts")):
            if places:
                self.needs(ability)
        if not images:
            return await self.vectors_of_texts(given, param, cut=cut)
        vectors = np.empty((len(given), self.model.dim), np.float32)
        num_tokens = 0
        if texts:
            vectors[texts], num_tokens = await self.vectors_of_texts(
                [given[place] for place in texts], param, cut=cut, places=texts
            )
        found = await self.inputs.squares([given[place] for place in images], param)
        for place, one in zip(images, found, strict=True):
            if isinstance(one, Refusal):
                raise one.at(f"{param}[{place}]")
        vectors[images] = await self.batcher.compute(self.works.images, found)
        return vectors, num_tokens

    async def vectors_of_texts(
        self, texts: Sequence[str], param: str, *, cut: bool = False, places: Sequence[int] | None = None
    ) -> tuple[NDArray[np.float32], int]:
        """As `vectors`, of texts alone; `places` are those in the field."""
        rows = await self.inputs.tokens(texts, param, cut=cut, places=places)
        sizes = [len(row) for row in rows]
        return np.stack(await self.batcher.compute(self.works.texts, rows, sizes)), sum(sizes)

    def explains(self) -> bool:
        """Whether the model can explain anything of an image alone or with a text."""
        for of_texts in (True, False):
            with suppress(AbilityError):
                kind_of_explanation(self.model, of_texts=of_texts, of_images=False)
                return True
        return False

    def check_explains(self, *, of_texts: bool) -> None:
        """Refuse what the model cannot explain."""
        kind_of_explanation(self.model, of_texts=of_texts, of_images=False)

    async def for_each(self, work: Work, *parts: Sequence[Any]) -> list[dict[str, Any]]:
        """Results of rows, which fail alone.

        Args:
            work: takes a row: a single part as it is, several as a tuple.
            parts: each N long; a Refusal in the place of what cannot be read.

        Returns:
            N of `{"result": ...}` or `{"error": ...}`.

        Raises:
            Refusal: of the first row, if all fail.
        """
        rows = list(zip(*parts, strict=True))
        wrong = [next((part for part in row if isinstance(part, Refusal)), None) for row in rows]
        if wrong and all(wrong):
            assert wrong[0] is not None
            raise wrong[0]
        good = [row for row, refusal in zip(rows, wrong, strict=True) if refusal is None]
        found = iter(await self.batcher.compute(work, good if len(parts) > 1 else [row[0] for row in good]))
        return [
            {"error": error_content(refusal)} if refusal is not None else {"result": next(found)}
            for refusal in wrong
        ]
