"""MoCo: momentum contrast for unsupervised visual representation learning, versions 1 to 3.

v1: He et al. 2019, arXiv 1911.05722, algorithm 1. v2: Chen et al. 2020, arXiv 2003.04297: an MLP projector,
stronger views. v3: Chen, Xie and He 2021, arXiv 2104.02057, algorithm 1: the batch instead of a queue, a
predictor, both directions. A query must find, among many keys, the one that the slow twin made of another
view of the same picture.

Dimensions: B batch, D features, P projection, K queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.collectives import average_over_replicas, gather_rows, own_rows, world_size
from likewise.data.columns import Needs
from likewise.encoders.heads import mlp_head, mlp_projector
from likewise.errors import ConfigError
from likewise.mechanisms import (
    EMAEncoder,
    KeyQueue,
    cosine_momentum,
    has_batch_norm,
    in_parts,
    queue_size_for,
    running_statistics,
    view_by_view,
)
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, make_views
from likewise.methods.checks import check_above_zero, check_counts, check_shares
from likewise.networks.image import ImageNetwork
from likewise.objectives import info_nce, moco_loss
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, simclr_views

__all__ = ["Config", "MoCo"]

_TEMPERATURE = {"v1": 0.07, "v2": 0.2, "v3": 0.2}
_MOMENTUM = {"v1": 0.999, "v2": 0.999, "v3": 0.99}
_PROJECTION = {"v1": 128, "v2": 128, "v3": 256}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of MoCo."""

    version: Literal["v1", "v2", "v3"] = "v2"
    """v1: linear projector and a queue; v2: with an MLP, and a higher temperature; v3: predictor, no queue,
    for large batches and ViTs (whose paper takes [CLS], `--image.pooling cls`, and finds the mean of
    normalised tokens worse). Views and the cosine of the learning rate are v2's in all: v1's own views are
    `--views.hue 0.4 --views.jitter 1 --views.blur 0`, and its rate fell in steps."""

    temperature: float | None = None
    """Divides the cosine similarities; by default 0.07 (v1) or 0.2 (the paper of version 3 has 1 for a
    ResNet-50)."""

    ema_momentum: float | None = None
    """The twin's momentum; by default 0.999 throughout (v1, v2), or from 0.99 to 1 along a cosine (v3)."""

    queue_size: int | None = None
    """Keys in the queue (v1, v2); by default 65,536, or a quarter of the training rows where that is less."""

    symmetric: bool = False
    """Let each view be query and key in turn (v1, v2; v3 always does): a step costs 1.8 times as much, and
    teaches more."""

    push_between: bool = False
    """In the symmetric form, let the queue take the first direction's keys before the second looks at it, as
    lightly's benchmarks do, not after both, as the authors' own. Each second query then has the key of its
    very own view among its negatives, and learns to forget what only one view shows: one to two points
    better on CIFAR-10."""

    norm_rows: int | None = 32
    """Rows that a ResNet's BatchNorm sees together (v1, v2), as if each such part were on a device of its
    own; keys are computed in another order, so that a query cannot find its key by the statistics they share
    (shuffling BN). Fewer than twice as many are cut in two. `None` for all rows together."""

    hidden_dim: int | None = None
    """Width of hidden layers: by default that of the features (v2) or 4096 (v3); v1 has none."""

    projection_dim: int | None = None
    """Width of queries and keys; by default 128 (v1, v2) or 256 (v3)."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, and what would be ignored."""
        check_above_zero(self, "temperature")
        check_shares(self, "ema_momentum")
        check_counts(self, "queue_size", "hidden_dim", "projection_dim")
        check_counts(self, "norm_rows", least=2)
        if self.version == "v3" and (self.queue_size is not None or self.symmetric):
            raise ConfigError("method.queue_size, method.symmetric: v3 has no queue and is always symmetric.")
        if self.version == "v3" and self.norm_rows not in (None, Config.norm_rows):
            raise ConfigError(
                "method.norm_rows is for v1 and v2: in v3 BatchNorm sees the rows of all replicas together."
            )
        if self.push_between and not self.symmetric:
            raise ConfigError("method.push_between is for v1 and v2 in both directions: --method.symmetric.")
        if self.version == "v1" and self.hidden_dim is not None:
            raise ConfigError("method.hidden_dim: v1 has a linear projector; use --method.version v2.")


class MoCo(Method):
    """An image encoder with projector (and predictor), the twin of the first two, and a queue."""

    name = "moco"
    title = "MoCo"
    summary = (
        "a view must find the slow twin's key of another view among many (v1, v2: a queue; v3: the batch)"
    )
    paper = "He 2019, arXiv 1911.05722; Chen 2020, arXiv 2003.04297; Chen 2021, arXiv 2104.02057"
    idea = (
        "A view's query must find the key that a slowly moving twin made of another view of the same "
        "picture. Versions 1 and 2 look among a long queue of recent keys, so that many negatives "
        "need no large batch; version 3 looks among the batch and adds a predictor. The twin changes "
        "slowly, so that old keys still compare with new ones."
    )
    choose_when = (
        "No labels and batches of 256 or fewer: version 2; a ViT and batches of a thousand or more: "
        "version 3. With `--method.symmetric` each step costs 1.8 times as much and teaches more."
    )
    cost = 0.8
    needs = Needs("image")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    network: ImageNetwork
    _newest: tuple[Tensor, Tensor]

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """Version 2's, whatever the version; without blur at 32 px and below."""
        return simclr_views(image_size)

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.temperature = config.temperature or _TEMPERATURE[config.version]
        self.network = ImageNetwork(ingredients.image_encoder())
        projection = config.projection_dim or _PROJECTION[config.version]
        self._build_heads(self.network.dim, projection)
        if config.norm_rows not in (None, Config.norm_rows) and not has_batch_norm(self.network):
            raise ConfigError("method.norm_rows: this image encoder has no BatchNorm; leave the option out.")
        parted = config.version != "v3" and config.norm_rows is not None and has_batch_norm(self.network)
        self.local_batch_norm = parted
        self.twin = EMAEncoder(self._online())
        if config.version != "v3":
            size = config.queue_size or queue_size_for(ingredients.num_rows)
            self.queue = KeyQueue(size, projection)
        elif not self.network.image.convolutional and ingredients.starts_from_nothing:
            # A patch projection that learns makes ViTs unstable, one at random does as well (section 4.2).
            self.network.image.freeze_patches()

    def _build_heads(self, dim: int, projection: int) -> None:
        if self.config.version == "v3":
            hidden = self.config.hidden_dim or 4096
            layers, predictor = (2, mlp_head) if self.network.image.convolutional else (3, mlp_projector)
            self.projector: nn.Module = mlp_projector(dim, hidden, projection, num_layers=layers)
            self.predictor: nn.Module = predictor(projection, hidden, projection)
        else:
            is_linear = self.config.version == "v1"
            hidden = self.config.hidden_dim or dim
            self.projector = (
                nn.Linear(dim, projection)
                if is_linear
                else mlp_head(dim, hidden, projection, batch_norm=False)
            )
            self.predictor = nn.Identity()

    def _online(self) -> nn.Module:
        return nn.Sequential(self.network, self.projector)

    @property
    def _symmetric(self) -> bool:
        return self.config.symmetric or self.config.version == "v3"

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """The first view becomes the query and the second the key; in the symmetric form both are both."""
        assert batch.group is not None
        pixels = make_views(batch, draw, self.network.image, self.view_config)  # (2B, 3, S, S)
        first, second = pixels.chunk(2)
        views = 2 if self._symmetric else 1
        features = self._encode(self.network, pixels if self._symmetric else first, views)
        projections = view_by_view(self.projector, features, views=views)
        queries = view_by_view(self.predictor, projections, views=views)
        keys = self._keys(pixels if self._symmetric else second, views, batch, draw)
        if not self._symmetric:
            return {"query": queries, "key": keys, "group": batch.group}
        queries_of, keys_of = queries.chunk(2), keys.chunk(2)  # (B, P) each
        return {
            "query": queries_of[0],
            "second_query": queries_of[1],
            "first_key": keys_of[0],
            "key": keys_of[1],
            "group": batch.group,
        }

    def _encode(self, network: nn.Module, pixels: Tensor, views: int) -> Tensor:
        """(V B, 3, S, S) to (V B, ...); BatchNorm sees one view at a time, or parts of `norm_rows`.

        Where these do not divide B, a part holds some of both views. Cut view by view, the running statistics
        would depend on how many replicas share the batch.
        """
        if self.local_batch_norm:
            assert self.config.norm_rows is not None
            # One part alone, and queries and keys would share their statistics after all.
            half = len(pixels) * world_size() // 2
            return in_parts(network, pixels, rows=max(2, min(self.config.norm_rows, half)))
        return view_by_view(network, pixels, views=views)

    def _keys(self, pixels: Tensor, views: int, batch: Batch, draw: StepRandom) -> Tensor:
        """What the twin makes of views, without a graph: (V B, 3, S, S) to (V B, P)."""
        if not self.local_batch_norm:
            return self._encode(self.twin, pixels, views)
        # All rows of all replicas in random order, a share to each.
        numbers = draw.uniform(batch.key, views, purpose="shuffling")  # (B, V)
        order = gather_rows(numbers.T.reshape(-1)).argsort()
        here = own_rows(pixels)
        keys = gather_rows(self._encode(self.twin, gather_rows(pixels)[order[here]], views))
        return keys[order.argsort()[here]]

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """Each query's own key against the queue (v1, v2), or against the batch's other keys (v3)."""
        group = embeddings["group"]
        all_groups = gather_rows(group)
        pairs = [
            (embeddings[query], embeddings[key])
            for query, key in [("query", "key"), ("second_query", "first_key")][: 2 if self._symmetric else 1]
        ]
        if self.config.version == "v3":
            losses = [self._against_batch(query, key, group, all_groups) for query, key in pairs]
        else:
            losses = self._against_queue(pairs, group, all_groups)
        mean = torch.stack(losses).mean()
        # Version 3 has the sum of both directions, times 2 tau.
        total = mean * (2 * len(losses) * self.temperature) if self.config.version == "v3" else mean
        return LossOutput(total, {"info_nce": mean.detach()})

    def _against_queue(
        self, pairs: list[tuple[Tensor, Tensor]], group: Tensor, all_groups: Tensor
    ) -> list[Tensor]:
        """The loss of each direction. The queue itself takes the keys after the step, so that none is a
        negative of its own picture, unless `push_between` has it so."""
        newest = [gather_rows(key.detach()) for _, key in pairs]
        queues = [(self.queue.keys, self.queue.groups)] * len(pairs)
        if self.config.push_between:
            queues[1] = self.queue.pushed(newest[0])
        losses = [
            moco_loss(query, key, keys, temperature=self.temperature, groups=group, queue_groups=groups)
            for (query, key), (keys, groups) in zip(pairs, queues, strict=True)
        ]
        self._newest = torch.cat(newest), all_groups.repeat(len(pairs))
        return losses

    def _against_batch(self, query: Tensor, key: Tensor, group: Tensor, all_groups: Tensor) -> Tensor:
        return info_nce(
            query,
            gather_rows(key),
            own_rows(query),
            temperature=self.temperature,
            group_queries=group,
            group_keys=all_groups,
        )

    def copy_to_twins(self) -> None:
        """The twin is the network again."""
        self.twin.follow(self._online(), 0.0)

    def after_step(self, progress: Progress) -> None:
        """The queue takes the newest keys; the twin follows."""
        momentum = (
            _MOMENTUM[self.config.version] if self.config.ema_momentum is None else self.config.ema_momentum
        )
        if self.config.version == "v3":
            momentum = cosine_momentum(momentum, progress.share)
        else:
            self.queue.push(*self._newest)
            if self.local_batch_norm:
                # Each replica's are those of its own rows; their mean is what one with all rows would have.
                average_over_replicas(running_statistics(self))
        self.twin.follow(self._online(), momentum)
