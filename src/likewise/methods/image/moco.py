"""MoCo: momentum contrast for unsupervised visual representation learning, versions 1 to 3.

v1: He et al. 2019, arXiv 1911.05722, algorithm 1. v2: Chen et al. 2020, arXiv 2003.04297: an MLP projector,
stronger views. v3: Chen, Xie and He 2021, arXiv 2104.02057, algorithm 1: the batch instead of a queue, a
predictor, both directions.

Dimensions: B batch, D features, P projection, K queue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

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
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, Step
from likewise.methods.checks import check_above_zero, check_counts, check_shares
from likewise.networks.image import ImageNetwork
from likewise.objectives import info_nce, information_bound, moco_loss, num_candidates
from likewise.views import simclr_views

__all__ = ["Config", "MoCo"]

_TEMPERATURE = {"v1": 0.07, "v2": 0.2, "v3": 0.2}
_MOMENTUM = {"v1": 0.999, "v2": 0.999, "v3": 0.99}
_PROJECTION = {"v1": 128, "v2": 128, "v3": 256}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of MoCo."""

    version: Literal["v1", "v2", "v3"] = "v2"
    """v1: linear projector and a queue; v2: MLP projector and a higher temperature; v3: predictor, no queue,
    for large batches and ViTs (the paper pools [CLS], `--image.pooling cls`, and finds the mean of normalised
    tokens worse). Views and learning rate schedule are v2's in all versions. v1's own views are `--views.hue
    0.4 --views.jitter 1 --views.blur 0`; its learning rate fell in steps."""

    temperature: float | None = None
    """Divides the cosine similarities; by default 0.07 (v1) or 0.2 (the paper of v3 has 1 for a
    ResNet-50)."""

    ema_momentum: float | None = None
    """Momentum of the EMA encoder; by default 0.999 throughout (v1, v2) or from 0.99 to 1 along a cosine
    (v3)."""

    queue_size: int | None = None
    """Keys in the queue (v1, v2); by default 65,536, or a quarter of the training rows if that is less."""

    symmetric: bool = False
    """Use each view as query and as key (v1, v2; v3 always does): a step costs 1.8 times as much and teaches
    more."""

    push_between: bool = False
    """With `symmetric`: push the first direction's keys into the queue before the second direction is
    compared, as lightly's benchmarks do, instead of after both as the authors do. Each second query then has
    the key of its own view among its negatives and learns to ignore what only one view shows: one to two
    points better on CIFAR-10."""

    norm_rows: int | None = 32
    """Rows that a ResNet's BatchNorm sees together (v1, v2), as if each such part were on a device of its
    own. Keys are computed in shuffled order, so that a query cannot find its key by shared statistics
    (shuffling BN). A batch of fewer than twice as many rows is cut in two. `None` for all rows together."""

    hidden_dim: int | None = None
    """Width of hidden layers: by default that of the features (v2) or 4096 (v3); v1 has none."""

    projection_dim: int | None = None
    """Width of queries and keys; by default 128 (v1, v2) or 256 (v3)."""

    def __post_init__(self) -> None:
        """Check the values, and reject options that the version ignores."""
        check_above_zero(self, "temperature")
        check_shares(self, "ema_momentum")
        check_counts(self, "queue_size", "hidden_dim", "projection_dim")
        check_counts(self, "norm_rows", least=2)
        if self.version == "v3" and (self.queue_size is not None or self.symmetric):
            raise ConfigError(
                "--method.queue-size, --method.symmetric: v3 has no queue and is always symmetric."
            )
        if self.version == "v3" and self.norm_rows not in (None, Config.norm_rows):
            raise ConfigError(
                "--method.norm-rows is for v1 and v2: in v3 BatchNorm sees the rows of all processes "
                "together."
            )
        if self.push_between and not self.symmetric:
            raise ConfigError(
                "--method.push-between is for v1 and v2 in both directions: --method.symmetric."
            )
        if self.version == "v1" and self.hidden_dim is not None:
            raise ConfigError("--method.hidden-dim: v1 has a linear projector; use --method.version v2.")


class MoCo(Method):
    """A view's query must find the key that the EMA encoder made of another view of the same image. Versions
    1 and 2 compare it with a long queue of recent keys, so that many negatives need no large batch; version 3
    compares within the batch and adds a predictor. The EMA encoder changes slowly, so that old keys remain
    comparable with new ones.

    Choose it when: You have no labels and batches of 256 or fewer: version 2; or a ViT and batches of a
    thousand or more: version 3. With `--method.symmetric` each step costs 1.8 times as much and teaches more.
    """

    name = "moco"
    title = "MoCo"
    summary = "a view must find the EMA encoder's key of another view among many (a queue; v3: the batch)"
    paper = "He 2019, arXiv 1911.05722; Chen 2020, arXiv 2003.04297; Chen 2021, arXiv 2104.02057"
    cost = 0.8
    needs = Needs("image")
    options = Config
    # Version 2's, whatever the version; no blur at 32 px and below.
    view_families: ClassVar = {"views": simclr_views}
    training_defaults: ClassVar = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    config: Config
    network: ImageNetwork
    _newest: tuple[Tensor, Tensor]

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.is_v3 = config.version == "v3"
        self.num_directions = 2 if config.symmetric or self.is_v3 else 1
        self.temperature = config.temperature or _TEMPERATURE[config.version]
        self.network = ImageNetwork(context.image_encoder())
        projection = config.projection_dim or _PROJECTION[config.version]
        self._build_heads(self.network.dim, projection)
        if config.norm_rows not in (None, Config.norm_rows) and not has_batch_norm(self.network):
            raise ConfigError(
                "--method.norm-rows: this image encoder has no BatchNorm; leave the option out."
            )
        self.local_batch_norm = (
            not self.is_v3 and config.norm_rows is not None and has_batch_norm(self.network)
        )
        self.ema_encoder = EMAEncoder(self._online())
        if not self.is_v3:
            self.queue = KeyQueue(config.queue_size or queue_size_for(context.num_rows), projection)
        elif self.network.image.has_patches and not context.is_pretrained:
            # A trained patch projection makes ViTs unstable; a random one does as well (section 4.2).
            self.network.image.freeze_patches()

    def _build_heads(self, dim: int, projection: int) -> None:
        self.projector: nn.Module
        self.predictor: nn.Module = nn.Identity()
        if self.is_v3:
            hidden = self.config.hidden_dim or 4096
            layers, predictor = (2, mlp_head) if self.network.image.convolutional else (3, mlp_projector)
            self.projector = mlp_projector(dim, hidden, projection, num_layers=layers)
            self.predictor = predictor(projection, hidden, projection)
        elif self.config.version == "v1":
            self.projector = nn.Linear(dim, projection)
        else:
            self.projector = mlp_head(dim, self.config.hidden_dim or dim, projection, batch_norm=False)

    def _online(self) -> nn.Module:
        return nn.Sequential(self.network, self.projector)

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """The first view becomes the query, the second the key; in both directions each view becomes both."""
        views = self.num_directions
        pixels = self.views(batch, step, 2)  # (2B, 3, S, S)
        seen_as_query, seen_as_key = pixels.chunk(2) if views == 1 else (pixels, pixels)
        features = self._encode(self.network, seen_as_query)
        projections = view_by_view(self.projector, features, views=views)
        queries = view_by_view(self.predictor, projections, views=views).chunk(views)  # (B, P) each
        keys = self._encode_keys(seen_as_key, batch, step).chunk(views)  # (B, P) each
        embeddings = {"query": queries[0], "key": keys[-1], "group": batch.group}
        if views == 2:
            embeddings |= {"second_query": queries[1], "first_key": keys[0]}
        return embeddings

    def _encode(self, network: nn.Module, pixels: Tensor) -> Tensor:
        """(V B, 3, S, S) to (V B, ...); BatchNorm sees one view at a time, or parts of `norm_rows`.

        If `norm_rows` does not divide B, a part holds some of both views. If each view was cut by itself, the
        running statistics would depend on the number of processes.
        """
        if self.local_batch_norm:
            assert self.config.norm_rows is not None
            # At least two parts: in a single one, queries and keys would share their statistics after all.
            half = len(pixels) * world_size() // 2
            return in_parts(network, pixels, rows=max(2, min(self.config.norm_rows, half)))
        return view_by_view(network, pixels, views=self.num_directions)

    def _encode_keys(self, pixels: Tensor, batch: Batch, step: Step) -> Tensor:
        """Keys by the EMA encoder, without a graph: (V B, 3, S, S) to (V B, P)."""
        if not self.local_batch_norm:
            return self._encode(self.ema_encoder, pixels)
        # Shuffle the rows of all processes; each encodes an equal share.
        numbers = step.random.uniform(batch.key, self.num_directions, purpose="shuffling")  # (B, V)
        order = gather_rows(numbers.T.reshape(-1)).argsort()
        here = own_rows(pixels)
        keys = gather_rows(self._encode(self.ema_encoder, gather_rows(pixels)[order[here]]))
        return keys[order.argsort()[here]]

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Each query's own key against the queue (v1, v2) or against the batch's other keys (v3)."""
        group = embeddings["group"]
        all_groups = gather_rows(group)
        names = [("query", "key"), ("second_query", "first_key")][: self.num_directions]
        pairs = [(embeddings[query], embeddings[key]) for query, key in names]
        if not self.is_v3:
            total = torch.stack(self._against_queue(pairs, group, all_groups)).mean()
            bound = information_bound(total, num_candidates(group, self.queue.groups))
            return LossOutput(total, {"info_nce": total.detach(), "info_nce_information": bound})
        mean = torch.stack([self._against_batch(*pair, group, all_groups) for pair in pairs]).mean()
        bound = information_bound(mean, num_candidates(group, all_groups))
        parts = {"info_nce": mean.detach(), "info_nce_information": bound}
        # Version 3 sums both directions and multiplies by 2 tau.
        return LossOutput(mean * (2 * len(pairs) * self.temperature), parts)

    def _against_queue(
        self, pairs: list[tuple[Tensor, Tensor]], group: Tensor, all_groups: Tensor
    ) -> list[Tensor]:
        """The loss of each direction. Keys enter the queue after the step, so that none is a negative of its
        own image, except with `push_between`."""
        newest = [gather_rows(key.detach()) for _, key in pairs]
        queues = [(self.queue.keys, self.queue.groups)] * len(pairs)
        if self.config.push_between:
            queues[1] = self.queue.pushed(newest[0])
        self._newest = torch.cat(newest), all_groups.repeat(len(pairs))
        return [
            moco_loss(query, key, keys, temperature=self.temperature, groups=group, queue_groups=groups)
            for (query, key), (keys, groups) in zip(pairs, queues, strict=True)
        ]

    def _against_batch(self, query: Tensor, key: Tensor, group: Tensor, all_groups: Tensor) -> Tensor:
        return info_nce(
            query,
            gather_rows(key),
            own_rows(query),
            temperature=self.temperature,
            group_queries=group,
            group_keys=all_groups,
        )

    def reset_ema(self) -> None:
        """Copy network and projector."""
        self.ema_encoder.follow(self._online(), 0.0)

    def after_step(self, progress: Progress) -> None:
        """Push the newest keys into the queue; update the EMA encoder."""
        momentum = self.config.ema_momentum
        momentum = _MOMENTUM[self.config.version] if momentum is None else momentum
        if self.is_v3:
            momentum = cosine_momentum(momentum, progress.share)
        else:
            self.queue.push(*self._newest)
            if self.local_batch_norm:
                # Each process has the statistics of its own rows; their mean is that of all rows.
                average_over_replicas(running_statistics(self))
        self.ema_encoder.follow(self._online(), momentum)
