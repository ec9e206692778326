"""What a method is: networks that embed a batch, and an objective that compares the embeddings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.batches.samplers import OrderName
from likewise.data.columns import Needs
from likewise.encoders import ImageEncoderConfig, TextEncoderConfig
from likewise.encoders.image import ImageEncoder
from likewise.encoders.text import TextEncoder
from likewise.networks.base import Network
from likewise.networks.registry import encoder_spec
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, random_view

__all__ = ["Embeddings", "BuildContext", "Method", "Progress", "LossOutput", "TokenizerInfo", "make_views"]

Embeddings = dict[str, Tensor]


class LossOutput(NamedTuple):
    """What an objective returns.

    Attributes:
        total: (), the loss to go down, in nats unless the method says otherwise.
        parts: named numbers to be logged; they carry no gradient.
    """

    total: Tensor
    parts: dict[str, Tensor]


class Progress(NamedTuple):
    """How far training is: `step` steps of `total_steps` are done."""

    step: int
    total_steps: int
    steps_per_epoch: int = 1

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.step / max(1, self.total_steps)

    @property
    def epoch(self) -> float:
        """Passes over the training part that are done."""
        return self.step / self.steps_per_epoch


class TokenizerInfo(NamedTuple):
    """What a method must know of the tokenizer to hide words.

    Attributes:
        mask_id: the token that stands for a hidden word; None where there is none.
        special_ids: tokens that are no words.
    """

    mask_id: int | None
    special_ids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class BuildContext:
    """What a method is built from, besides its own options.

    Attributes:
        image: the image encoder's options.
        text: the text encoder's options.
        views: how random views are made.
        vocabulary_size: entries of the tokenizer; 0 where there are no texts.
        words: of the tokenizer; None where there are no texts.
        num_rows: rows of the training part (memory banks need it).
        trained: `spec` of the network that the training starts from, whose weights follow once the method is
            built; the encoders are made like its own then, whatever their options say.
    """

    image: ImageEncoderConfig
    text: TextEncoderConfig
    views: ViewConfig
    vocabulary_size: int = 0
    words: TokenizerInfo | None = None
    num_rows: int = 0
    trained: dict[str, Any] | None = None

    @property
    def starts_from_nothing(self) -> bool:
        """Whether the image encoder's first weights are drawn."""
        return self.trained is None and self.image.pretrained is None

    def image_encoder(self) -> ImageEncoder:
        """An image encoder for pictures of the size that the options say."""
        if self.trained is None:
            return ImageEncoder.build(self.image)
        encoder = ImageEncoder.from_spec(encoder_spec(self.trained, "image"))
        encoder.resize(self.image.image_size)
        encoder.freeze_unused()
        return encoder

    def text_encoder(self) -> TextEncoder:
        """A text encoder for the tokenizer's vocabulary."""
        if self.trained is None:
            return TextEncoder.build(self.text, vocabulary_size=self.vocabulary_size)
        encoder = TextEncoder.from_spec(encoder_spec(self.trained, "text"))
        encoder.freeze_unused()
        return encoder


class Method(nn.Module, ABC):
    """The base of every method; see methods/simclr.py for how one reads.

    A method holds its networks and nothing of devices, files or replicas. The engine may run `embed` on
    pieces of a batch and `objective` on the whole (cached gradients), unless `no_grad_cache_reason` says why.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """The name as people write it."""
    summary: ClassVar[str]
    """One line for `likewise methods`."""
    paper: ClassVar[str]
    idea: ClassVar[str]
    """Three sentences for `likewise methods NAME` and docs/methods.md."""
    choose_when: ClassVar[str]
    """For whom and for what data it is the right one."""
    cost: ClassVar[float | None] = None
    """A step's time over SimCLR's, as benchmarks/image_methods_cifar10.py measured it; None where nothing
    compares."""
    needs: ClassVar[Needs]
    """The columns it reads."""
    options: ClassVar[type]
    """The method's Config."""
    image_defaults: ClassVar[dict[str, Any]] = {}
    """Defaults of the image encoder's options that the method's paper asks for."""
    text_defaults: ClassVar[dict[str, Any]] = {}
    """Defaults of the text encoder's options that it needs."""
    training_defaults: ClassVar[dict[str, Any]] = {}
    """Defaults of the training options that the method's paper asks for."""
    presets: ClassVar[dict[str, dict[str, dict[str, Any]]]] = {}
    """Settings that go together, by name and section, for `likewise train METHOD --preset NAME`."""
    no_grad_cache_reason: ClassVar[str | None] = None
    """Why `embed` cannot run on pieces of a batch; None where it can."""
    compared: ClassVar[tuple[str, ...] | None] = None
    """Names of the embeddings that signs of collapse are looked for in; all of shape (B, D) when None."""
    constant_rate: ClassVar[tuple[str, ...]] = ()
    """Names of the parts whose learning rate does not follow the schedule."""

    network: Network
    """What is kept after training."""

    local_batch_norm: bool = False
    """Whether BatchNorm must see each replica's rows apart, whatever `training.sync_batch_norm` says."""

    @classmethod
    def check_order(cls, config: Any, order: OrderName) -> None:
        """Refuse an order of batches that the method can learn nothing from.

        Args:
            config: its options.
            order: `training.order`.

        Raises:
            ConfigError: it cannot; the message says what to ask for.
        """

    @classmethod
    @abstractmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """The random views its paper uses, for pictures of that many pixels a side."""

    @abstractmethod
    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """Run the networks on a batch.

        Args:
            batch: B rows on the training device.
            draw: where random views come from.

        Returns:
            Named tensors, all that `objective` needs; most have B rows.
        """

    @abstractmethod
    def objective(self, embeddings: Embeddings) -> LossOutput:
        """Compare the embeddings of the whole batch (and, through `collectives`, of the other replicas')."""

    def copy_to_twins(self) -> None:
        """Called when the network was given other weights: momentum twins start from these."""

    def after_step(self, progress: Progress) -> None:
        """Called after each optimizer step, without a graph: twins, queues, schedules of the method's own."""
        del progress


def make_views(
    batch: Batch,
    draw: StepRandom,
    encoder: ImageEncoder,
    config: ViewConfig,
    *,
    views: tuple[int, ...] = (0, 1),
) -> Tensor:
    """Random views of a batch's pictures, as an encoder wants them.

    Args:
        batch: B rows with pictures.
        draw: the step's random numbers.
        encoder: says size and normalisation.
        config: which views.
        views: numbers of the views, V of them; each picture's views are independent.

    Returns:
        (V B, 3, S, S): the first view of every picture, then the second.
    """
    assert batch.images is not None, "the engine prepares what `needs` names"
    made = [
        random_view(
            batch.images,
            size=encoder.image_size,
            config=config,
            draw=draw,
            index=batch.key,
            view=view,
            mean=encoder.mean,
            std=encoder.std,
            keep_sides=batch.keep_sides,
            keep_colours=batch.keep_colours,
        )
        for view in views
    ]
    return torch.cat(made) if len(made) > 1 else made[0]
