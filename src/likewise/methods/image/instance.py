"""Instance discrimination: unsupervised feature learning via non-parametric instance discrimination.

Wu, Xiong, Yu and Lin, 2018, arXiv 1805.01978.

Dimensions: B batch, D features, P projection, N training rows, K noise samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.mechanisms import MemoryBank
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, Step
from likewise.methods.checks import check_above_zero, check_counts, check_shares
from likewise.networks.image import ImageNetwork
from likewise.objectives import info_nce, information_bound, nce, nce_log_normalizer, num_candidates
from likewise.step_random import StepRandom
from likewise.views import view_preset

__all__ = ["Config", "Instance"]

# Up to this many rows the full softmax costs less than the network.
_MAX_SOFTMAX_ROWS = 65_536
_NUM_NOISE = 4096


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of instance discrimination."""

    loss: Literal["auto", "softmax", "nce"] = "auto"
    """`softmax` over all training rows except copies of the same image; `nce` against noise samples drawn
    from all rows, for larger sets; `auto` is softmax up to 65,536 rows."""

    num_noise: int | None = None
    """Noise samples a step (nce); 4,096 by default."""

    temperature: float = 0.07
    """Divides the cosine similarities."""

    bank_momentum: float = 0.5
    """Share of the old vector when a row's vector is updated."""

    projection_dim: int = 128
    """Width of the bank's vectors."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_above_zero(self, "temperature")
        check_shares(self, "bank_momentum")
        check_counts(self, "num_noise", "projection_dim")
        if self.loss == "softmax" and self.num_noise is not None:
            raise ConfigError("--method.num-noise: softmax uses all rows; give --method.loss nce.")


class Instance(Method):
    """Every image is a class of its own, represented by one vector in a memory bank. A view must find its own
    image's vector among those of all images, by a softmax over the whole set or by noise-contrastive
    estimation. The vectors move slowly towards the network's newest projections.

    Choose it when: You have no labels and a small machine: with one view per image its step is the cheapest
    of the methods without labels, and any batch size will do. It suits sets of up to a few hundred thousand
    images; in larger ones a vector is outdated before its image comes again.
    """

    name = "instance"
    title = "Instance discrimination"
    summary = "each image is a class of its own: a view must find it in a memory bank of all"
    paper = "Wu 2018, arXiv 1805.01978"
    cost = 0.6
    needs = Needs("image")
    options = Config
    # Crops, flips, color and gray without blur, as in the paper's code, whose hue range is 0.4.
    view_families: ClassVar = {"views": lambda _: view_preset("simclr-small")}
    training_defaults: ClassVar = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    config: Config
    network: ImageNetwork
    log_normalizer: Tensor
    _newest: tuple[Tensor, Tensor, Tensor]

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        self.network = ImageNetwork(context.image_encoder())
        self.projector = nn.Linear(self.network.dim, config.projection_dim)
        self.bank = MemoryBank(context.num_rows, config.projection_dim)
        fits = context.num_rows <= _MAX_SOFTMAX_ROWS
        self.uses_noise = config.loss == "nce" or (config.loss == "auto" and not fits)
        if self.uses_noise:
            # log Z, estimated on the first batch and kept (section 3.2); NaN until then.
            self.register_buffer("log_normalizer", torch.tensor(float("nan")))
            self._has_normalizer = False
        elif config.num_noise is not None:
            raise ConfigError(
                f"--method.num-noise: {context.num_rows} training rows are few enough for the softmax over "
                "all; give --method.loss nce."
            )

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """One view of each image."""
        query = self.projector(self.network(self.views(batch, step)))  # (B, P)
        embeddings = {"query": query, "index": batch.index, "group": batch.group}
        if self.uses_noise:
            embeddings["noise_seed"] = step.random.bits(batch.key, 1, purpose="noise")  # (B, 1)
        return embeddings

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """Softmax over all rows (equation 2) or noise-contrastive estimation (equations 4 to 8)."""
        query, index, group = (embeddings[name] for name in ("query", "index", "group"))
        self._newest = gather_rows(index), gather_rows(query.detach()), gather_rows(group)
        if self.uses_noise:
            total = self._nce(query, index, self._draw_noise(gather_rows(embeddings["noise_seed"])))
            return LossOutput(total, {"nce": total.detach()})
        total = info_nce(
            query,
            self.bank.vectors,
            index,
            temperature=self.config.temperature,
            group_queries=group,
            group_keys=self.bank.groups,
        )
        bound = information_bound(total, num_candidates(group, self.bank.groups))
        return LossOutput(total, {"softmax": total.detach(), "softmax_information": bound})

    def _nce(self, query: Tensor, index: Tensor, noise: Tensor) -> Tensor:
        temperature, num_items = self.config.temperature, len(self.bank)
        if not self._has_normalizer and bool(self.log_normalizer.isnan()):
            all_queries = self._newest[1]
            self.log_normalizer.copy_(
                nce_log_normalizer(all_queries, noise, temperature=temperature, num_items=num_items)
            )
        self._has_normalizer = True  # reading the buffer at every step would wait for a GPU
        return nce(
            query,
            self.bank.vectors[index],
            noise,
            temperature=temperature,
            num_items=num_items,
            log_normalizer=self.log_normalizer,
        )

    def _draw_noise(self, seeds: Tensor) -> Tensor:
        """(K, P) vectors of rows drawn uniformly; the first row's seed makes them equal on all processes."""
        bits = StepRandom(0, 0).bits(seeds[0], self.config.num_noise or _NUM_NOISE, purpose="noise")[0]
        return self.bank.vectors[bits.remainder(len(self.bank))]

    def after_step(self, progress: Progress) -> None:
        """Move the batch's vectors in the bank towards the new ones."""
        self.bank.update(*self._newest, self.config.bank_momentum)
