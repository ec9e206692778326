"""CLIP: learning transferable visual models from natural language supervision.

Radford et al., 2021, arXiv 2103.00020, figure 3. With the sigmoid loss: SigLIP, Zhai et al. 2023, arXiv
2303.15343.

Dimensions: B batch, S side in pixels, L tokens, D width of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from likewise.batches.batch import Batch
from likewise.collectives import gather_rows, own_rows
from likewise.data.columns import Needs
from likewise.errors import ConfigError
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, Step
from likewise.methods.checks import check_counts
from likewise.networks.dual import DualNetwork
from likewise.objectives import clip_loss, information_bound, num_candidates, sigmoid_loss
from likewise.views import view_preset

__all__ = ["CLIP", "Config"]

# Radford 2021, section 2.5: clipped so that logits are never scaled by more than 100.
_MAX_LOGIT_SCALE = math.log(100)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of CLIP."""

    embedding_dim: int = 256
    """Width of the space that images and texts share."""

    loss: Literal["softmax", "sigmoid"] = "softmax"
    """`softmax`: CLIP's, in both directions; `sigmoid`: SigLIP's (Zhai 2023, arXiv 2303.15343), for each pair
    on its own."""

    temperature: float = 0.07
    """Initial value of the learned temperature (softmax); SigLIP starts at 0.1 with a bias of -10."""

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0.01 <= self.temperature <= 1:
            raise ConfigError(f"--method.temperature is {self.temperature}; expected within [0.01, 1].")
        if self.loss == "sigmoid" and self.temperature != 0.07:
            raise ConfigError("--method.temperature is softmax's; the sigmoid loss starts at 0.1.")
        check_counts(self, "embedding_dim")


class CLIP(Method):
    """An image encoder and a text encoder embed images and captions in one space. An image and its caption
    are positives, all other captions and images of the batch negatives, with a learned temperature. Images
    can then be found by words, and classified by class names that were never labels.

    Choose it when: You have images with texts and want text-to-image search, zero-shot labels, or features
    that know what words name. Larger batches help; captions of the same photo are never negatives of each
    other.
    """

    name = "clip"
    title = "CLIP"
    summary = "an image and its caption are positives, other captions and images are negatives"
    paper = "Radford 2021, arXiv 2103.00020; Zhai 2023, arXiv 2303.15343"
    needs = Needs("image", "text")
    towers: ClassVar[tuple[str, str]] = ("images", "texts")
    """Names of what both encoders embed."""
    network_kind: ClassVar[str] = DualNetwork.kind
    options = Config
    # A mild crop only; every view respects its caption.
    view_families: ClassVar = {"views": lambda _: view_preset("clip")}
    training_defaults: ClassVar = {
        "learning_rate": 5e-4,
        "weight_decay": 0.1,
        "betas": (0.9, 0.98),
        "warmup_share": 0.1,
    }

    # Low and long: at 1e-5 with a fifth of the steps as warm-up little is forgotten (Wortsman 2021, arXiv
    # 2109.01903; Goyal 2022, arXiv 2212.00638).
    fine_tuning_defaults: ClassVar = {
        "learning_rate": 1e-5,
        "weight_decay": 0.1,
        "betas": (0.9, 0.98),
        "warmup_share": 0.2,
        "epochs": 5.0,
    }

    config: Config
    network: DualNetwork

    def __init__(self, config: Config, context: BuildContext) -> None:
        super().__init__(config, context)
        sigmoid, trained = config.loss == "sigmoid", context.trained or {}
        trained = trained if trained.get("kind") == self.network_kind else {}
        _check_loss(config, trained)
        self.network = self.build_network(
            context,
            dim=config.embedding_dim,
            projected=trained.get("projected", True),
            temperature=0.1 if sigmoid else config.temperature,
            bias=-10.0 if sigmoid else None,
        )

    @staticmethod
    def build_network(context: BuildContext, **options: Any) -> Any:
        """Both encoders in one network; its options are those of `TwoTowers`."""
        return DualNetwork(context.image_encoder(), context.text_encoder(), **options)

    @classmethod
    def options_of_network(cls, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Width and loss of two towers: their scale fits the loss that they were trained by."""
        if spec.get("kind") != cls.network_kind:
            return {}
        loss = {} if spec.get("temperature") is None else {"loss": _loss_of(spec)}
        return {"embedding_dim": spec["dim"]} | loss

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        """Each encoder once; the objective normalises."""
        return {
            "images": self.network.encode_images(self.views(batch, step)),  # (B, D)
            "texts": self.network.encode_texts(batch.text.tokens, batch.text.mask),  # (B, D)
            "group": batch.group,  # (B,)
        }

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        """This process's rows against the rows of all processes; equal groups are never negatives."""
        images, texts = (embeddings[name] for name in self.towers)
        group = embeddings["group"]
        assert self.network.logit_scale is not None
        temperature = torch.exp(-self.network.logit_scale)
        shared: dict[str, Any] = {
            "temperature": temperature,
            "all_texts": gather_rows(texts),
            "rows": own_rows(images),
            "groups": group,
            "all_groups": gather_rows(group),
        }
        if self.config.loss == "softmax":
            total = clip_loss(images, texts, all_images=gather_rows(images), **shared)
            bound = information_bound(total, num_candidates(group, shared["all_groups"]))
        else:  # each pair once, from the process that has its image
            assert self.network.logit_bias is not None
            total, bound = sigmoid_loss(images, texts, bias=self.network.logit_bias, **shared), None
        parts = {f"{self.config.loss}_loss": total.detach(), "temperature": temperature.detach()}
        return LossOutput(total, parts if bound is None else parts | {"softmax_loss_information": bound})

    @torch.no_grad()
    def after_step(self, progress: Progress) -> None:
        """Keep the learned temperature within the paper's bound; SigLIP has none, and ends beyond it."""
        if self.config.loss == "softmax" and self.network.logit_scale is not None:
            self.network.logit_scale.clamp_(max=_MAX_LOGIT_SCALE)


def _check_loss(config: Config, trained: Mapping[str, Any]) -> None:
    """Reject another loss than the network's that training starts from: its scale fits no other.

    With its scale a softmax starts near 274 on a SigLIP.
    """
    if trained.get("temperature") is None:
        return
    own = _loss_of(trained)
    if config.loss != own:
        raise ConfigError(
            f"--method.loss {config.loss}: the model that training starts from was trained by the {own} "
            f"loss, and its scale{' and bias' if own == 'sigmoid' else ''} fit no other; use "
            f"--method.loss {own}."
        )


def _loss_of(spec: Mapping[str, Any]) -> str:
    """The loss that a network's scale belongs to: the sigmoid one alone has a bias."""
    return "softmax" if spec.get("bias") is None else "sigmoid"
