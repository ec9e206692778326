"""Instance discrimination: unsupervised feature learning via non-parametric instance discrimination.

Wu, Xiong, Yu and Lin, 2018, arXiv 1805.01978. Every picture is a class of its own, and stands for it by a
vector in a memory bank; a view must find its picture's among all, or tell it from noise.

Dimensions: B batch, D features, P projection, N training rows, K noise samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.mechanisms import MemoryBank
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, make_views
from likewise.methods.checks import check_above_zero, check_counts, check_shares
from likewise.networks.image import ImageNetwork
from likewise.objectives import info_nce, nce, nce_log_normalizer
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, view_preset

__all__ = ["Config", "Instance"]

# Up to so many rows the whole softmax costs less than the network.
_MOST_FOR_SOFTMAX = 65_536
_NUM_NOISE = 4096


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of instance discrimination."""

    loss: Literal["auto", "softmax", "nce"] = "auto"
    """`softmax` over all training rows, copies of the same picture left out; `nce` against noise samples
    drawn from all, for sets too large for that; `auto` takes the softmax up to 65,536 rows."""

    num_noise: int | None = None
    """Noise samples a step (nce); 4,096 by default."""

    temperature: float = 0.07
    """Divides the cosine similarities."""

    bank_momentum: float = 0.5
    """Share of the old vector when a row's vector is renewed."""

    projection_dim: int = 128
    """Width of the bank's vectors."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_above_zero(self, "temperature")
        check_shares(self, "bank_momentum")
        check_counts(self, "num_noise", "projection_dim")
        if self.loss == "softmax" and self.num_noise is not None:
            raise ConfigError("method.num_noise: the softmax looks at all rows; give --method.loss nce.")


class Instance(Method):
    """An image encoder with a linear projector, and a bank of one vector a training row."""

    name = "instance"
    title = "Instance discrimination"
    summary = "each picture is a class of its own: a view must find it in a memory of all"
    paper = "Wu 2018, arXiv 1805.01978"
    idea = (
        "Every picture is a class of its own, and a memory bank keeps one vector for each. A view "
        "must find its own picture's vector among those of all, by a softmax over the whole set or by "
        "telling it from noise. The vectors turn slowly towards what the network says."
    )
    choose_when = (
        "No labels and a small machine: one view a picture makes its step the cheapest of those without "
        "labels, and any batch will do. It suits sets up to a few hundred thousand pictures; on larger "
        "ones a vector grows old before its picture comes again."
    )
    cost = 0.6
    needs = Needs("image")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {"learning_rate": 1e-3, "weight_decay": 1e-4}

    network: ImageNetwork
    log_normalizer: Tensor
    _newest: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """Crops, flips, colour and grey without blur as in the paper's code, which turns hues by 0.4."""
        del image_size
        return view_preset("simclr-small")

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.network = ImageNetwork(ingredients.image_encoder())
        self.projector = nn.Linear(self.network.dim, config.projection_dim)
        self.bank = MemoryBank(ingredients.num_rows, config.projection_dim)
        fits = ingredients.num_rows <= _MOST_FOR_SOFTMAX
        self.uses_noise = config.loss == "nce" or (config.loss == "auto" and not fits)
        if self.uses_noise:
            # log Z, estimated on the first batch and kept (section 3.2); NaN until then.
            self.register_buffer("log_normalizer", torch.tensor(float("nan")))
            self._has_normalizer = False
        elif config.num_noise is not None:
            raise ConfigError(
                f"method.num_noise: {ingredients.num_rows} training rows are few enough for the softmax over "
                "all of them; give --method.loss nce."
            )

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """One view of each picture."""
        pixels = make_views(batch, draw, self.network.image, self.view_config, views=(0,))  # (B, 3, S, S)
        assert batch.group is not None
        query = self.projector(self.network(pixels))
        embeddings = {"query": query, "index": batch.index, "group": batch.group}
        if self.uses_noise:
            embeddings["noise_seed"] = draw.bits(batch.key, 1, purpose="noise")  # (B, 1)
        return embeddings

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """The softmax over all rows (equation 2), or noise contrast (equations 4 to 8)."""
        query, index, group = (embeddings[name] for name in ("query", "index", "group"))
        self._newest = gather_rows(index), gather_rows(query.detach()), gather_rows(group)
        temperature = self.config.temperature
        if not self.uses_noise:
            total = info_nce(
                query,
                self.bank.vectors,
                index,
                temperature=temperature,
                group_queries=group,
                group_keys=self.bank.groups,
            )
            return LossOutput(total, {"softmax": total.detach()})
        noise = self._draw_noise(gather_rows(embeddings["noise_seed"]))  # (K, P)
        if not self._has_normalizer and bool(self.log_normalizer.isnan()):
            estimate = nce_log_normalizer(
                self._newest[1], noise, temperature=temperature, num_items=len(self.bank)
            )
            self.log_normalizer.copy_(estimate)
        self._has_normalizer = True  # asking at every step would wait for a GPU
        total = nce(
            query,
            self.bank.vectors[index],
            noise,
            temperature=temperature,
            num_items=len(self.bank),
            log_normalizer=self.log_normalizer,
        )
        return LossOutput(total, {"nce": total.detach()})

    def _draw_noise(self, seeds: Tensor) -> Tensor:
        """(K, P) vectors of rows drawn evenly; the first row's seed draws them, on all replicas alike."""
        bits = StepRandom(0, 0).bits(seeds[0], self.config.num_noise or _NUM_NOISE, purpose="noise")[0]
        return self.bank.vectors[bits.remainder(len(self.bank))]

    def after_step(self, progress: Progress) -> None:
        """The batch's vectors in the bank turn towards the new ones."""
        del progress
        self.bank.update(*self._newest, self.config.bank_momentum)
