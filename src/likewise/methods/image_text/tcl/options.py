"""TCL's options and presets, and the network it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from likewise.errors import ConfigError
from likewise.mechanisms import LONGEST_QUEUE, queue_size_for
from likewise.messages import flag
from likewise.methods.base import BuildContext
from likewise.methods.checks import check_counts, check_shares
from likewise.methods.fine_tuning import TINY_ENCODERS, TINY_FUSION_DEPTH
from likewise.networks.fusion import FusionNetwork

__all__ = [
    "MAX_TEMPERATURE",
    "MIN_TEMPERATURE",
    "PRESETS",
    "Config",
    "build_network",
    "momentum_and_queue_size",
]

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.001, 0.5  # the learned temperature is clamped to these at each step


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of TCL. A loss of weight 0 is not computed."""

    embedding_dim: int = 256
    """Width of the space that images and texts share."""

    fusion_depth: int | None = None
    """Top layers of the text encoder that become the fusion encoder; by default half of them."""

    temperature: float = 0.07
    """Initial value of the learned temperature; with `training.start_from` the model's own is used."""

    queue_size: int | None = None
    """Keys in each of the two queues, 0 for none. By default 65,536, or a quarter of the training rows if
    that is less; none if an encoder starts from random weights: it then changes so fast that old keys differ
    from new ones by their age, which teaches nothing."""

    ema_momentum: float | None = None
    """Momentum of the EMA encoder; by default the paper's 0.995, and 0.9 if an encoder starts from random
    weights."""

    twin_precision: Literal["auto", "same"] = "auto"
    """Precision of the EMA encoder. `auto`: bfloat16 if the hardware supports it natively, whatever the
    network's, because it makes targets and keys but no gradients. `same`: the network's."""

    distillation: float = 0.4
    """Weight of the EMA encoder's predictions in the targets of CMA and MLM, reached after one epoch."""

    hidden_share: float = 0.15
    """Share of the tokens that MLM masks."""

    same_group: Literal["left_out", "shared"] = "left_out"
    """How CMA and IMC treat other captions of the same image (of its group): `left_out` of the comparison, or
    `shared`: positives too, as for fine-tuning to retrieval."""

    negatives: Literal["replica", "all"] = "replica"
    """Source of ITM's negatives: the rows of this process, or of all processes (which then send their
    tokens)."""

    cma: float = 1.0
    """Weight of cross-modal alignment; `cma`, `imc` and `lmi` weight a mean, so only their ratio matters."""

    imc: float = 1.0
    """Weight of intra-modal contrast; 0 together with `lmi` 0 is ALBEF."""

    lmi: float = 1.0
    """Weight of local mutual information."""

    itm: float = 1.0
    """Weight of image-text matching."""

    mlm: float = 1.0
    """Weight of masked language modeling."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_counts(self, "embedding_dim", "fusion_depth")
        check_counts(self, "queue_size", least=0)
        check_shares(self, "ema_momentum", "distillation", "hidden_share")
        if not MIN_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE:
            raise ConfigError(
                f"--method.temperature is {self.temperature}; "
                f"expected in [{MIN_TEMPERATURE}, {MAX_TEMPERATURE}]."
            )
        weights = {name: getattr(self, name) for name in ("cma", "imc", "lmi", "itm", "mlm")}
        for name, weight in weights.items():
            if weight < 0:
                raise ConfigError(f"{flag('method', name)} is {weight}; a weight cannot be negative.")
        if self.mlm > 0 and self.hidden_share == 0:
            raise ConfigError(
                "--method.hidden-share is 0: no token would be masked; turn masked language modeling off "
                "with --method.mlm 0."
            )
        if weights["cma"] == 0:
            raise ConfigError(
                "--method.cma is 0: images and texts would not share a space. Give it a weight above 0; imc, "
                "lmi, itm and mlm may be 0."
            )


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # From random weights, 64 px: minutes on two cores. Distillation is off: it takes 8 % more time, and its
    # effect on quality was not compared. A start from random weights depends on CMA: IMC and LMI are learned
    # quickly, MLM has large gradients, and with weights of 1 these and ITM dominate it. Two layers for the
    # text (and two for fusion) were too few. One for fusion does better than two, but gives no maps of single
    # words. Views are milder than the paper's, without RandAugment.
    "tiny": {
        **TINY_ENCODERS,
        "views": {"crop_scale": (0.8, 1.0), "randaugment": 0},
        "method": {
            "fusion_depth": TINY_FUSION_DEPTH,
            "distillation": 0.0,
            "imc": 0.25,
            "lmi": 0.25,
            "itm": 0.5,
            "mlm": 0.3,
        },
        "training": {"learning_rate": 1e-3, "batch_size": 128, "warmup_share": 0.05},
    },
    # From random weights, 96 px: hours on two cores.
    "small": {
        "image": {"architecture": "vit", "preset": "tiny", "image_size": 96},
        "text": {"preset": "small", "dropout": 0.1},
        "views": {"crop_scale": (0.6, 1.0), "randaugment": 0},
        "method": {"imc": 0.25, "lmi": 0.25, "mlm": 0.3},
        "training": {"learning_rate": 5e-4, "batch_size": 128},
    },
    # The paper's: from DeiT and BERT, on eight GPUs of 64 pairs each.
    "base": {
        "image": {"pretrained": "facebook/deit-base-patch16-224", "image_size": 256, "pooling": "cls"},
        "text": {"pretrained": "google-bert/bert-base-uncased", "max_tokens": 25},
        "method": {"queue_size": LONGEST_QUEUE},
        "training": {
            "learning_rate": 1e-4,
            # 2,000 steps, as in the paper. There they begin at 1e-5, here at the full rate / 2,000: together
            # as much as 100 of some 200,000 steps at the full rate, which does not matter.
            "warmup_share": 0.01,
            "batch_size": 512,
            "epochs": 30.0,
            "clip_gradient": 0.0,
        },
    },
}


def momentum_and_queue_size(config: Config, context: BuildContext) -> tuple[float, int]:
    """Momentum of the EMA encoder and size of the queues: as configured, or by how the encoders start."""
    momentum, size = (0.995, queue_size_for(context.num_rows)) if context.is_pretrained else (0.9, 0)
    return (
        momentum if config.ema_momentum is None else config.ema_momentum,
        size if config.queue_size is None else config.queue_size,
    )


def build_network(config: Config, context: BuildContext) -> FusionNetwork:
    """The three encoders: new or pre-trained as configured, or those of the model that training starts
    from."""
    assert context.image is not None
    assert context.text is not None
    assert context.tokenizer is not None
    if context.trained is None:
        network = FusionNetwork.build(
            context.image_encoder(),
            context.text_encoder(),
            fusion_depth=config.fusion_depth,
            dim=config.embedding_dim,
            vocabulary_size=context.tokenizer.vocabulary_size,
            temperature=config.temperature,
        )
        if context.text.pretrained is not None and config.mlm:
            network.language_head.start_from(context.text.pretrained)
        return network
    if context.trained["kind"] != FusionNetwork.kind:
        raise ConfigError(
            "--training.start-from: the model has no fusion encoder; name one that TCL trained."
        )
    network = FusionNetwork.from_spec(context.trained)
    for name, ours, theirs in (
        ("embedding_dim", config.embedding_dim, network.dim),
        ("fusion_depth", config.fusion_depth, len(network.fusion.layers)),
    ):
        if ours not in (None, theirs):
            raise ConfigError(
                f"{flag('method', name)} is {ours}, and that of --training.start-from's model {theirs}; "
                f"give {flag('method', name)} {theirs}."
            )
    network.image.resize(context.image.image_size)
    network.image.freeze_unused()
    network.text.freeze_unused()
    return network
