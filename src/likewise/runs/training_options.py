"""The options of training; each definition gives flag, key in a file, default, help and check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from likewise.errors import ConfigError
from likewise.messages import flag

__all__ = ["TrainingConfig"]


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How the networks are trained."""

    epochs: float = 20.0
    """Passes over the training part; `steps` overrides it."""

    steps: int | None = None
    """Optimizer steps, instead of `epochs`."""

    batch_size: int | None = None
    """Global batch size: samples per optimizer step, summed over all processes. By default
    `largest_batch_size`, or all rows if there are fewer."""

    largest_batch_size: int = 256
    """Upper bound of the default batch size; a preset's batch size sets this bound."""

    start_from: str | None = None
    """A trained model (a run, a model folder, a model of transformers or a hub name) to start from: its
    encoders, fusion layers and tokenizer, as far as the method has use for them. Of the --image and --text
    options only --image.image-size and those of tuning may differ; a ViT's positions are interpolated."""

    order: Literal["shuffled", "classes", "pairs", "domains", "domain-pairs"] = "shuffled"
    """How a batch is drawn: `shuffled` rows without replacement; `classes`, several examples of each class
    side by side; `pairs`, half of them of one class, half of two; `domains`, some of the source and some of
    the target (--data.target); `domain-pairs`, every second target row of the same group as a source row.
    `classes` and `pairs` need labels."""

    source_share: float = 0.5
    """Share of a batch that is drawn from the source where the order is `domains`."""

    examples_per_class: int = 4
    """Examples of each class side by side, for the order `classes`."""

    micro_batch_size: int | None = None
    """Rows per forward and backward pass of a process: the same batch in less memory (cached gradients, Gao
    2021, arXiv 2101.06983), at the cost of about one more forward pass; not with tcl, text-assignment
    and domain adaptation. BatchNorm then sees these rows only; the dropout masks do not change."""

    optimizer: Literal["adamw", "sgd", "lars"] = "adamw"
    """AdamW; SGD with Nesterov momentum 0.9; or LARS, for batches of thousands."""

    learning_rate: float = 1e-3
    """Peak learning rate."""

    weight_decay: float = 0.05
    """Weight decay: decoupled with adamw, added to the gradient with sgd and lars; not for biases, norms and
    temperatures."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of AdamW's two averages."""

    warmup_share: float = 0.05
    """Share of the steps with linear warmup of the learning rate."""

    final_share: float = 0.0
    """Final learning rate of the cosine schedule, as a share of the peak."""

    clip_gradient: float = 1.0
    """Maximum L2 norm of the gradient over all weights; 0 turns clipping off."""

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto` multiplies in bfloat16 if the hardware does so natively; weights and sums stay in float32."""

    sync_batch_norm: bool = True
    """Compute BatchNorm statistics over all processes, as a single process would."""

    accelerator: Literal["auto", "cpu", "cuda", "mps", "tpu"] = "auto"
    """The kind of device."""

    devices: int | Literal["auto"] = "auto"
    """Processes on this machine; auto: one per GPU, one on CPU."""

    num_nodes: int = 1
    """Machines; start the command on each by torchrun or SLURM."""

    seed: int = 0
    """Seed of weights, order and views. On CPU the same seed gives bit-identical results with the same number
    of threads (OMP_NUM_THREADS): another number rounds sums differently."""

    log_every: int = 10
    """Steps between lines of metrics.jsonl."""

    evaluate_every: int = 300
    """Steps between evaluations on the validation part; 0 evaluates only at the end."""

    evaluation_rows: int = 1000
    """Upper bound of validation rows in these evaluations; the last one uses all rows."""

    select: str = "last"
    """Which weights become the model: the last ones, or those of the best evaluation by a figure that is
    measured during training, such as transfer.source_accuracy (labels of the source alone), or without labels
    transfer.information, transfer.neighbourhood_density, transfer.entropy, transfer.weighted_risk and
    transfer.dev_risk."""

    interpolate: float = 1.0
    """Share of the trained weights in the model; the rest are the starting weights (WiSE-FT, Wortsman 2021,
    arXiv 2109.01903). 0.5 often keeps most of what the start knew at little loss on the new data. It costs a
    copy of the starting weights on disk, and needs --pretrained or a start from a model of the same kind."""

    save_every: int = 500
    """Steps between checkpoints; one more is written at the end, and when training is stopped."""

    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ("tensorboard",)
    """Loggers besides metrics.jsonl, which is always written."""

    def __post_init__(self) -> None:
        """Reject values that cannot work."""
        for name in ("epochs", "learning_rate", "num_nodes", "log_every", "evaluation_rows"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{flag('training', name)} is {getattr(self, name)}; it must be above 0.")
        for name in ("weight_decay", "clip_gradient", "evaluate_every", "save_every", "seed"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"{flag('training', name)} is {getattr(self, name)}; it cannot be negative."
                )
        if self.seed >= 2**63:
            raise ConfigError(f"--training.seed is {self.seed}; it must be below 2**63, such as 0.")
        for name in ("warmup_share", "final_share", "interpolate"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(
                    f"{flag('training', name)} is {getattr(self, name)}; expected a share in [0, 1]."
                )
        if not 0 < self.source_share < 1:
            raise ConfigError(
                f"--training.source-share is {self.source_share}; expected a share above 0 and below 1."
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"--training.betas are {self.betas}; expected each at least 0 and below 1.")
        if self.devices != "auto" and self.devices < 1:
            raise ConfigError(f"--training.devices is {self.devices}; expected at least 1, or auto.")
        if self.steps is not None and self.steps < 1:
            raise ConfigError(f"--training.steps is {self.steps}; expected at least 1.")
        if self.examples_per_class < 2:
            raise ConfigError(
                f"--training.examples-per-class is {self.examples_per_class}; two make a pair of one class."
            )
        for name in ("batch_size", "largest_batch_size", "micro_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{flag('training', name)} is {value}; expected at least 1.")
