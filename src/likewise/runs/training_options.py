"""The options of training, one typed definition each: flag, configuration key, default, help and check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from likewise.errors import ConfigError

__all__ = ["TrainingConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the networks are trained."""

    epochs: float = 20.0
    """Passes over the training part; `steps` overrides it."""

    steps: int | None = None
    """Optimizer steps, instead of `epochs`."""

    batch_size: int | None = None
    """Rows an optimizer step, over all replicas together; unless given, `largest_batch_size`, or all rows
    where there are fewer."""

    largest_batch_size: int = 256
    """Most rows a step where no batch size is given; a preset's batch size is such a bound."""

    start_from: str | None = None
    """A trained model of the same kind (a run, a model folder or a hub name) whose encoders and tokenizer the
    training starts from; of --image and --text only --image.image-size may say something else, and a ViT's
    positions are interpolated then."""

    order: Literal["shuffled", "classes", "pairs", "domains"] = "shuffled"
    """How a batch is drawn: `shuffled` rows without replacement; `classes`, several examples of each class
    side by side; `pairs`, half of them of one class, half of two; `domains`, some of the source and some of
    the target (--data.target). `classes` and `pairs` need labels."""

    source_share: float = 0.5
    """Share of a batch that is drawn from the source where the order is `domains`."""

    examples_per_class: int = 4
    """Examples of a class that stand side by side where the order is `classes`."""

    micro_batch_size: int | None = None
    """Rows that a replica's networks see at once: larger batches in the same memory (cached gradients, Gao
    2021, arXiv 2101.06983), for about one more forward pass; not with tcl. BatchNorm then sees these rows
    only, dropout the same masks."""

    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    """AdamW; SGD with Nesterov momentum 0.9; or LARS, for batches of thousands."""

    learning_rate: float = 1e-3
    """Peak learning rate."""

    weight_decay: float = 0.05
    """Weight decay: decoupled with adamw, added to the gradient with sgd and lars; never on biases, norms and
    temperatures."""

    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's two averages."""

    warmup_share: float = 0.05
    """Share of the steps over which the learning rate rises linearly."""

    final_share: float = 0.0
    """Where the cosine ends, as a share of the peak learning rate."""

    clip_gradient: float = 1.0
    """Longest gradient (L2 norm over all weights); 0 never clips."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` multiplies in bfloat16 where the hardware does so natively, keeping weights and sums in
    float32."""

    sync_batch_norm: bool = True
    """Let BatchNorm see the rows of all replicas: they then train as one would."""

    accelerator: Literal["auto", "cpu", "cuda", "mps", "tpu"] = "auto"
    """What kind of device."""

    devices: int | Literal["auto"] = "auto"
    """Replicas on this machine; on CPU one unless a number is given."""

    num_nodes: int = 1
    """Machines; start the command on each by torchrun or SLURM."""

    seed: int = 0
    """Decides weights, order and views; the same seed on CPU gives the same bits."""

    log_every: int = 10
    """Steps between lines of metrics.jsonl."""

    evaluate_every: int = 300
    """Steps between looks at the held-out part; 0 looks only at the end."""

    evaluation_rows: int = 1000
    """Most held-out rows looked at while training; all are at the end."""

    save_every: int = 500
    """Steps between checkpoints; one more is written at the end and when asked to stop."""

    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
    """Besides metrics.jsonl, which is always written."""

    def __post_init__(self) -> None:
        """Refuse what cannot work, with the option's name."""
        for name in ("epochs", "learning_rate", "num_nodes", "log_every", "evaluation_rows"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"training.{name} is {getattr(self, name)}; it must be above 0.")
        for name in ("weight_decay", "clip_gradient", "evaluate_every", "save_every", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(f"training.{name} is {getattr(self, name)}; it cannot be negative.")
        if self.seed >= 2**63:
            raise ConfigError(f"training.seed is {self.seed}; it must be below 2**63, such as 0.")
        for name in ("warmup_share", "final_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"training.{name} is {getattr(self, name)}; expected a share in [0, 1].")
        if not 0 < self.source_share < 1:
            raise ConfigError(
                f"training.source_share is {self.source_share}; expected a share above 0 and below 1."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"training.betas are {self.betas}; expected each at least 0 and below 1.")
        if self.devices != "auto" and self.devices < 1:
            raise ConfigError(f"training.devices is {self.devices}; expected at least 1, or auto.")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"training.steps is {self.steps}; expected at least 1.")
        if self.examples_per_class < 2:
            raise ConfigError(
                f"training.examples_per_class is {self.examples_per_class}; two make a pair of one class."
            )
        for name in ("batch_size", "largest_batch_size", "micro_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"training.{name} is {value}; expected at least 1.")
