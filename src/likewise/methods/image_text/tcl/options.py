"""What TCL can be told, its presets, and the three encoders that it starts with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from likewise.errors import ConfigError
from likewise.mechanisms import LONGEST_QUEUE, queue_size_for
from likewise.methods.base import BuildContext
from likewise.methods.checks import check_counts, check_shares
from likewise.networks.fusion import FusionNetwork

__all__ = ["COLDEST", "PRESETS", "WARMEST", "Config", "build_network", "momentum_and_queue_size"]

COLDEST, WARMEST = 0.001, 0.5  # the learned temperature is clamped to these before each step


@dataclass(frozen=True, kw_only=True)
class Config:
    """Options of TCL. A part of weight 0 is not computed."""

    embedding_dim: int = 256
    """Width of the space that pictures and texts share."""

    fusion_depth: int | None = None
    """Layers cut from the top of the text encoder for fusion; by default half of them."""

    temperature: float = 0.07
    """The learned temperature's start; a model that training starts from brings its own."""

    queue_size: int | None = None
    """Keys in each of the two queues, 0 for none. By default 65,536, or a quarter of the training rows where
    that is less, and none where an encoder starts from nothing: it drifts so fast that old keys are told from
    new ones by their age, which teaches nothing."""

    ema_momentum: float | None = None
    """The twins' momentum; by default the paper's 0.995, and 0.9 where an encoder starts from nothing."""

    twin_precision: Literal["auto", "same"] = "auto"
    """`auto`: the twins multiply in bfloat16 where the hardware does so natively, however the network is
    trained: they make targets and keys, no gradients. `same`: as the network."""

    distillation: float = 0.4
    """Share of the twins' opinion in the targets of CMA and MLM; reached after the first epoch."""

    hidden_share: float = 0.15
    """Share of the words that MLM hides."""

    same_group: Literal["left_out", "shared"] = "left_out"
    """What other captions of the same picture (of its group) are to CMA and IMC: `left_out` of the
    comparison, or `shared`: positives too, as for fine-tuning to retrieval."""

    negatives: Literal["replica", "all"] = "replica"
    """Where ITM's negatives come from: this replica's rows, or those of all (whose tokens are then sent)."""

    cma: float = 1.0
    """Weight of cross-modal alignment; `cma`, `imc` and `lmi` weigh a mean, so what counts is their ratio."""

    imc: float = 1.0
    """Weight of intra-modal contrast; 0 together with `lmi` 0 is ALBEF."""

    lmi: float = 1.0
    """Weight of local mutual information."""

    itm: float = 1.0
    """Weight of image-text matching."""

    mlm: float = 1.0
    """Weight of masked language modelling."""

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        check_counts(self, "embedding_dim", "fusion_depth")
        check_counts(self, "queue_size", least=0)
        check_shares(self, "ema_momentum", "distillation", "hidden_share")
        if not COLDEST <= self.temperature <= WARMEST:
            raise ConfigError(
                f"method.temperature is {self.temperature}; expected in [{COLDEST}, {WARMEST}]."
            )
        weights = {name: getattr(self, name) for name in ("cma", "imc", "lmi", "itm", "mlm")}
        for name, weight in weights.items():
            if weight < 0:
                raise ConfigError(f"method.{name} is {weight}; a weight cannot be negative.")
        if self.mlm > 0 and self.hidden_share == 0:
            raise ConfigError(
                "method.hidden_share is 0: no word would be hidden, so that none could be found; leave "
                "masked language modelling out with --method.mlm 0."
            )
        if weights["cma"] == 0:
            raise ConfigError(
                "method.cma is 0; without it pictures and texts never meet in one space. "
                "Give it a weight above 0; imc, lmi, itm and mlm may be 0."
            )


PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    # From nothing, 64 px: minutes on two cores. What keeps a step short: a ResNet (with a ViT of 192x6 it
    # takes 2.1 times as long) and no distillation (8 % more); what either would teach was not compared.
    # IMC and LMI are soon learned and MLM has large gradients: with weights of 1 they take the step from
    # CMA, on which a start from nothing depends. Views are milder than the paper's, without RandAugment.
    "tiny": {
        "image": {"architecture": "resnet", "width": 24, "image_size": 64},
        "text": {"preset": "tiny", "depth": 4, "dropout": 0.0},
        "views": {"crop_scale": (0.8, 1.0), "randaugment": 0},
        "method": {"distillation": 0.0, "imc": 0.25, "lmi": 0.25, "mlm": 0.3},
        "training": {"learning_rate": 1e-3, "batch_size": 128},
    },
    # From nothing, 96 px: hours on two cores.
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
            # Its 2,000 steps. They begin at 1e-5 in the paper and here at the full rate / 2,000: together
            # 100 steps at the full rate less, of some 200,000 in all, so it does not matter.
            "warmup_share": 0.01,
            "batch_size": 512,
            "epochs": 30.0,
            "clip_gradient": 0.0,
        },
    },
}


def momentum_and_queue_size(config: Config, ingredients: BuildContext) -> tuple[float, int]:
    """Of the twins and the queues: what the options say, or what suits how the encoders start."""
    image, text = ingredients.image.pretrained, ingredients.text.pretrained
    if ingredients.trained is not None or (image is not None and text is not None):
        momentum, size = 0.995, queue_size_for(ingredients.num_rows)
    else:
        momentum, size = 0.9, 0
    return (
        momentum if config.ema_momentum is None else config.ema_momentum,
        size if config.queue_size is None else config.queue_size,
    )


def build_network(config: Config, ingredients: BuildContext) -> FusionNetwork:
    """The three encoders: new or pre-trained ones as the options say, or those of the model started from."""
    if ingredients.trained is None:
        network = FusionNetwork.build(
            ingredients.image_encoder(),
            ingredients.text_encoder(),
            fusion_depth=config.fusion_depth,
            dim=config.embedding_dim,
            vocabulary_size=ingredients.vocabulary_size,
            temperature=config.temperature,
        )
        if ingredients.text.pretrained is not None and config.mlm:
            network.language_head.start_from(ingredients.text.pretrained)
        return network
    if ingredients.trained["kind"] != FusionNetwork.kind:
        raise ConfigError("training.start_from: the model has no fusion encoder; name one that TCL trained.")
    network = FusionNetwork.from_spec(ingredients.trained)
    for name, asked, there in (
        ("embedding_dim", config.embedding_dim, network.dim),
        ("fusion_depth", config.fusion_depth, len(network.fusion.layers)),
    ):
        if asked not in (None, there):
            raise ConfigError(
                f"method.{name} is {asked}, and that of training.start_from's model {there}; "
                f"give --method.{name.replace('_', '-')} {there}."
            )
    network.image.resize(ingredients.image.image_size)
    network.image.freeze_unused()
    network.text.freeze_unused()
    return network
