"""What a method is: `embed` runs the networks on a batch, `objective` compares the embeddings."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.batches.samplers import OrderName
from likewise.data.columns import Needs
from likewise.encoders.audio.encoder import AudioEncoder
from likewise.encoders.image import ImageEncoder
from likewise.methods.build_context import BuildContext, TokenizerInfo
from likewise.networks.base import Network
from likewise.step_random import StepRandom
from likewise.views import random_view

__all__ = [
    "INFORMATION",
    "BuildContext",
    "Embeddings",
    "LossOutput",
    "Method",
    "Phase",
    "Progress",
    "Step",
    "TokenizerInfo",
    "make_views",
]

Embeddings = dict[str, Tensor]

INFORMATION = "_information"
"""Ends the name of the bound on mutual information that stands beside a contrastive loss."""

_FAMILY_STRIDE = 1000  # more than the views of one family: view numbers of two families never meet


class LossOutput(NamedTuple):
    """The result of an objective.

    Attributes:
        total: (), the loss to minimize, in nats unless the method says otherwise.
        parts: named numbers to log, without gradient. NAME_information is the lower bound on mutual
            information, in nats, that the contrastive loss NAME stands for.
    """

    total: Tensor
    parts: dict[str, Tensor]


class Progress(NamedTuple):
    """How far training is: `step` of `total_steps` steps are done."""

    step: int
    total_steps: int
    steps_per_epoch: int = 1

    @property
    def share(self) -> float:
        """Share of all steps, in [0, 1]."""
        return self.step / max(1, self.total_steps)

    @property
    def epoch(self) -> float:
        """Passes over the training split."""
        return self.step / self.steps_per_epoch


class Step(NamedTuple):
    """What `embed` and `objective` know of the step.

    Attributes:
        random: the step's random numbers.
        progress: how far training is when the step begins.
        phase: name of the phase that runs, "" for a method of one phase.
    """

    random: StepRandom
    progress: Progress = Progress(0, 1)
    phase: str = ""


class Phase(NamedTuple):
    """One update of some of the weights; see `Method.phases`.

    Attributes:
        name: `step.phase` while it runs.
        parts: submodules of the method whose weights it updates; None for all.
        start: share of the training at which it begins.
        stop: share of the training at which it ends.
        repeats: updates a step.
    """

    name: str = ""
    parts: tuple[str, ...] | None = None
    start: float = 0.0
    stop: float = 1.0
    repeats: int = 1


class Method(nn.Module, ABC):
    """Base of every method; methods/image/simclr.py is a short example.

    A method knows nothing of devices, files or ranks. The engine may run `embed` on parts of a batch and
    `objective` on the whole (cached gradients), unless `no_grad_cache_reason` says why not.

    The docstring of a method is its description for users: the idea, then a paragraph that begins with
    "Choose it when:".
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """The name as people write it."""
    summary: ClassVar[str]
    """One line for `likewise methods`."""
    paper: ClassVar[str]
    idea: ClassVar[str]
    """First part of the docstring, for `likewise methods NAME` and docs/methods.md."""
    choose_when: ClassVar[str]
    """Second part of the docstring: for which data and purpose to choose it."""
    cost: ClassVar[float | None] = None
    """Time of a step relative to SimCLR's, by benchmarks/image_methods_cifar10.py; None if not
    comparable."""
    needs: ClassVar[Needs]
    """The columns it reads."""
    pairs_texts: ClassVar[bool] = False
    """Where the data has no `text_2`, another text of a row's group takes its place, if there are any."""
    compares_color: ClassVar[bool] = False
    """It learns nothing from grey images."""
    options: ClassVar[type]
    """The method's Config."""
    view_families: ClassVar[Mapping[str, Callable[[int], Any]]] = {}
    """Families of random views: option section (`views`, then `views_strong` or the like) and its defaults by
    image size in pixels."""
    image_defaults: ClassVar[dict[str, Any]] = {}
    """The paper's options of the image encoder."""
    text_defaults: ClassVar[dict[str, Any]] = {}
    """The paper's options of the text encoder."""
    unread_options: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Options by section that have no effect on this method; they are not offered."""
    training_defaults: ClassVar[dict[str, Any]] = {}
    """The paper's training options."""
    presets: ClassVar[dict[str, dict[str, dict[str, Any]]]] = {}
    """Settings by preset name and section, for `likewise train METHOD --preset NAME`."""
    no_grad_cache_reason: ClassVar[str | None] = None
    """Why `embed` cannot run on parts of a batch; None if it can."""
    monitored_embeddings: ClassVar[tuple[str, ...] | None] = None
    """Embeddings that are checked for collapse; None for all of shape (B, D)."""
    constant_rate: ClassVar[tuple[str, ...]] = ()
    """Submodules whose learning rate stays constant."""
    phases: tuple[Phase, ...] = (Phase(),)
    """Updates of a step, in order: each runs `embed`, `objective`, backward and the optimizer on the same
    batch. Several where a paper alternates or trains in stages."""

    fine_tuning_defaults: ClassVar[Mapping[str, Any]] = {}
    """Defaults of `training` where a whole pre-trained model is fine-tuned."""

    network: Network
    """What is kept after training."""

    texts_per_row: int = 1
    """K: texts that a batch brings of each row; with more than one `batch.text` is (B, K, L)."""

    local_batch_norm: bool = False
    """Whether BatchNorm stays local to each process, whatever `training.sync_batch_norm` says."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Read the idea and the advice from the docstring."""
        super().__init_subclass__(**kwargs)
        if "Choose it when:" in (cls.__doc__ or ""):
            parts = inspect.cleandoc(cls.__doc__ or "").split("Choose it when:")
            cls.idea, cls.choose_when = (" ".join(part.split()) for part in parts)

    def __init__(self, config: Any, context: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_configs = dict(context.views)

    @classmethod
    def default_views(cls, image_size: int) -> dict[str, Any]:
        """Options of each view family for images of that many pixels a side."""
        return {family: defaults(image_size) for family, defaults in cls.view_families.items()}

    @classmethod
    def options_of_network(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Options that belong to a trained network which training starts from as a whole; none where the
        method trains another kind.

        Args:
            spec: of the network.
        """
        return {}

    @classmethod
    def check_order(cls, config: Any, order: OrderName) -> None:
        """Reject an order of batches that the method cannot learn from.

        Args:
            config: the method's options.
            order: `training.order`.

        Raises:
            ConfigError: it cannot; the message says which order to choose.
        """

    @abstractmethod
    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Run the networks on a batch.

        Args:
            batch: B rows on the training device.
            step: its random numbers and the progress.

        Returns:
            Named tensors that `objective` needs, most of B rows.
        """

    @abstractmethod
    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Compare the embeddings of the whole batch and, through `collectives`, of the other processes."""

    def reset_ema(self) -> None:
        """Copy the network into its EMA encoders. Called after other weights were loaded into the network."""

    def after_step(self, progress: Progress) -> None:
        """Update EMA encoders, queues and schedules. Called after each step, all phases done."""

    def views(
        self,
        batch: Batch,
        step: Step,
        count: int = 1,
        *,
        family: str = "views",
        encoder: ImageEncoder | None = None,
    ) -> Tensor:
        """Random views of a batch's images (or sounds), normalised for an encoder.

        Args:
            batch: B rows with images.
            step: its random numbers.
            count: V, views of each image.
            family: a name in `view_families`.
            encoder: of images or of sounds; the network's `image` when None.

        Returns:
            (V B, 3, S, S): the first view of every image, then the second; (V B, 1, M, F) of sounds.
        """
        network: Any = self.network
        first = list(self.view_configs).index(family) * _FAMILY_STRIDE
        config = self.view_configs[family]
        return make_views(batch, step, encoder or network.image, config, range(first, first + count))


def make_views(
    batch: Batch, step: Step, encoder: ImageEncoder, config: Any, views: range = range(2)
) -> Tensor:
    """Random views of a batch's images, or of its sounds if the encoder reads these; see `Method.views`.

    Args:
        batch: B rows with images.
        step: its random numbers.
        encoder: makes the views; gives size and normalisation.
        config: options of the views.
        views: V numbers; views of different numbers are drawn independently.

    Returns:
        (V B, 3, S, S).
    """
    text = batch.text if "text" in batch else None
    made = [
        encoder.random_view(batch.audio, config, step.random, batch.key, view)
        if isinstance(encoder, AudioEncoder)
        else random_view(
            batch.image,
            size=encoder.image_size,
            config=config,
            draw=step.random,
            index=batch.key,
            view=view,
            mean=encoder.mean,
            std=encoder.std,
            keep_sides=None if text is None else text.keep_sides,
            keep_colours=None if text is None else text.keep_colours,
        )
        for view in views
    ]
    return torch.cat(made) if len(made) > 1 else made[0]
