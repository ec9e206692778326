"""CLIP: learning transferable visual models from natural language supervision.

Radford et al., 2021, arXiv 2103.00020, figure 3. A picture and its caption are pulled together and pushed
away from the other captions and pictures of the batch, with a learned temperature.

Dimensions: B batch, S side in pixels, L tokens, D width of the shared space.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, make_views
from likewise.methods.checks import check_counts
from likewise.networks.dual import DualNetwork
from likewise.objectives import clip_loss, sigmoid_loss
from likewise.step_random import StepRandom
from likewise.views import ViewConfig, view_preset

__all__ = ["CLIP", "Config"]

# Radford 2021, section 2.5: clipped so that the logits are never scaled by more than 100.
_MAX_LOGIT_SCALE = math.log(100)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of CLIP."""

    embedding_dim: int = 256
    """Width of the space that pictures and texts share."""

    loss: Literal["softmax", "sigmoid"] = "softmax"
    """`softmax`: CLIP's, both ways; `sigmoid`: SigLIP's (Zhai 2023, arXiv 2303.15343), each pair on its
    own."""

    temperature: float = 0.07
    """The learned temperature's start (softmax); SigLIP starts at 0.1 with a bias of -10."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        if not 0.01 <= self.temperature <= 1:
            raise ConfigError(f"method.temperature is {self.temperature}; expected within [0.01, 1].")
        if self.loss == "sigmoid" and self.temperature != 0.07:
            raise ConfigError("method.temperature is softmax's; the sigmoid loss starts at 0.1.")
        check_counts(self, "embedding_dim")


class CLIP(Method):
    """An image and a text encoder that meet in one space."""

    name = "clip"
    title = "CLIP"
    summary = "a picture and its caption belong together, other captions and pictures do not"
    paper = "Radford 2021, arXiv 2103.00020; Zhai 2023, arXiv 2303.15343"
    idea = (
        "A picture and its caption go through an encoder each into one space, where they should meet. "
        "All other captions and pictures of the batch are what they must be told from, with a "
        "temperature that is learned. Pictures can then be found by words, and named by classes "
        "nobody trained on."
    )
    choose_when = (
        "You have pictures with texts, and want search by words, zero-shot labels or features that "
        "know what words name. Larger batches help; captions of the same photo are never negatives of "
        "one another."
    )
    needs = Needs("image", "text")
    options = Config
    training_defaults: ClassVar[dict[str, Any]] = {
        "learning_rate": 5e-4,
        "weight_decay": 0.1,
        "betas": (0.9, 0.98),
        "warmup_share": 0.1,
    }

    network: DualNetwork

    @classmethod
    def default_views(cls, image_size: int) -> ViewConfig:
        """A mild crop and nothing else; any view respects its caption."""
        del image_size
        return view_preset("clip")

    def __init__(self, config: Config, ingredients: BuildContext) -> None:
        super().__init__()
        self.config = config
        self.view_config = ingredients.views
        self.network = DualNetwork(
            ingredients.image_encoder(),
            ingredients.text_encoder(),
            dim=config.embedding_dim,
        )
        start = config.temperature if config.loss == "softmax" else 0.1
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / start)))
        if config.loss == "sigmoid":
            self.logit_bias = nn.Parameter(torch.tensor(-10.0))

    def embed(self, batch: Batch, draw: StepRandom) -> Embeddings:
        """Each tower once; the objective normalises."""
        assert batch.tokens is not None
        assert batch.mask is not None
        assert batch.group is not None
        pixels = make_views(batch, draw, self.network.image, self.view_config, views=(0,))  # (B, 3, S, S)
        return {
            "images": self.network.encode_images(pixels),  # (B, D)
            "texts": self.network.encode_texts(batch.tokens, batch.mask),  # (B, D)
            "group": batch.group,  # (B,)
        }

    def objective(self, embeddings: Embeddings) -> LossOutput:
        """Each way's own rows against the rows of all replicas; equal groups are never negatives."""
        images, texts, group = embeddings["images"], embeddings["texts"], embeddings["group"]
        temperature = torch.exp(-self.logit_scale)
        replicas: dict[str, Any] = {
            "all_texts": gather_rows(texts),
            "rows": own_rows(images),
            "groups": group,
            "all_groups": gather_rows(group),
        }
        if self.config.loss == "softmax":
            # Texts look for their images too; the sigmoid loss asks about each pair once, from its image.
            everyone = gather_rows(images)
            total = clip_loss(images, texts, temperature=temperature, all_images=everyone, **replicas)
        else:
            total = sigmoid_loss(images, texts, temperature=temperature, bias=self.logit_bias, **replicas)
        return LossOutput(
            total, {f"{self.config.loss}_loss": total.detach(), "temperature": temperature.detach()}
        )

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Keep the learned temperature within the paper's bound."""
        del progress
        self.logit_scale.clamp_(max=_MAX_LOGIT_SCALE)
