"""The two sides that `tcl_step.py` compares: our TCL and the transcription, on the same networks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch._dynamo  # the first optimizer step would import it, seconds inside the timed part
from peers.tcl_reference import Forced, TCLReference, plain_copy
from torch import Tensor

from likewise.batches.batch import Batch, TokenBatch
from likewise.encoders import ImageEncoderConfig, TextEncoderConfig
from likewise.methods.base import BuildContext, Progress, Step, TokenizerInfo, make_views
from likewise.methods.image_text.tcl.tcl import TCL, Config
from likewise.networks.fusion import FusionNetwork
from likewise.runs.training_options import TrainingConfig
from likewise.step_random import StepRandom
from likewise.training.optimizers import build_optimizer
from likewise.views import view_preset

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
PAD, CLS, SEP, MASK = range(4)
# Word pieces of a caption, [CLS] and [SEP] counted: Flickr8k's, 24 in the longest of 64 as there.
SHORTEST, LONGEST, MEAN, DEVIATION = 4, 25, 14, 4
ALPHA = 0.4
MOMENTUM = 0.995  # of the twins, on both sides


@dataclass(frozen=True, kw_only=True)
class Size:
    """Image width, layers, side and patch; text width and layers; words, queue, batch."""

    image: tuple[int, int, int, int]
    text: tuple[int, int]
    vocabulary: int
    queue: int
    batch: int


SIZES = {
    "least": Size(image=(32, 2, 32, 8), text=(32, 2), vocabulary=64, queue=48, batch=6),
    "vit-192x6": Size(image=(192, 6, 64, 8), text=(192, 4), vocabulary=8192, queue=8192, batch=64),
    "vit-384x12": Size(image=(384, 12, 96, 12), text=(384, 6), vocabulary=8192, queue=8192, batch=64),
    "vit-768x12": Size(image=(768, 12, 256, 16), text=(768, 12), vocabulary=30522, queue=65536, batch=64),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    size: Literal["least", "vit-192x6", "vit-384x12", "vit-768x12"] = "vit-192x6"
    """By the image encoder's width and layers: `least` for checks; 192x6 at 64 px and 384x12 at 96 px for
    processors; 768x12 at 256 px is the paper's, for GPUs. None is a preset of `likewise train tcl`."""
    batch_size: int | None = None
    """Rows; the size's own when not given."""
    queue_size: int | None = None
    """Keys, a multiple of the batch; the size's own when not given."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is autocast on both sides."""
    twin_precision: Literal["auto", "same"] = "auto"
    """Of our twins: `auto` is the method's default, bfloat16 where the processor multiplies it natively; with
    `same` all is in one precision, as on the other side."""
    views: str = "tcl"
    """Preset of the random views, which both sides make; `none` leaves their cost out."""
    dropout: float = 0.1
    """Of the text and fusion encoders."""
    attention: Literal["ours", "published"] = "ours"
    """The transcription's attention: the project's, or the published code's, which keeps its weights."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    """Where."""
    threads: int | None = None
    """Threads of the processor; torch's default when not given."""
    clock: Literal["wall", "processor"] = "wall"
    """On a busy machine threads wait for each other and wall time says little: `processor` takes one thread
    and counts what it computes."""
    rounds: int = 5
    """Turns."""
    steps: int = 1
    """Steps of each side in a turn."""
    time: bool = True
    """Measure time."""
    memory: bool = True
    """Measure memory."""
    check: bool = False
    """Compare the losses instead, in float64 without dropout."""
    phases: bool = False
    """Show the time of each part of a step instead, of both sides."""
    alone: Literal["ours", "transcription"] | None = None
    """Used by the script itself: print the memory that one side's step takes in this process."""


def build_method(options: Options) -> TCL:
    """TCL with fresh weights, the same for every call."""
    size = SIZES[options.size]
    width, depth, side, patch = size.image
    torch.manual_seed(0)
    return TCL(
        Config(
            queue_size=options.queue_size or size.queue,
            ema_momentum=MOMENTUM,
            twin_precision=options.twin_precision,
        ),
        BuildContext(
            image=ImageEncoderConfig(width=width, depth=depth, image_size=side, patch_size=patch),
            text=TextEncoderConfig(
                architecture="bert", width=size.text[0], depth=size.text[1], dropout=options.dropout
            ),
            views={"views": view_preset(options.views)},
            tokenizer=TokenizerInfo(size.vocabulary, mask_id=MASK, special_ids=(PAD, CLS, SEP, MASK)),
        ),
    ).to(options.device)


def make_batch(options: Options, number: int = 0) -> Batch:
    """Random pictures, and captions of random words with lengths as captions have them."""
    size, generator = SIZES[options.size], torch.Generator().manual_seed(number)
    B, side = options.batch_size or size.batch, size.image[2]
    lengths = (MEAN + DEVIATION * torch.randn(B, generator=generator)).round().long()
    lengths = lengths.clamp(SHORTEST, LONGEST)
    places = torch.arange(int(lengths.max()))
    tokens = torch.randint(MASK + 1, size.vocabulary, (B, len(places)), generator=generator)
    tokens[:, 0] = CLS
    tokens[torch.arange(B), lengths - 1] = SEP
    mask = places < lengths[:, None]
    return Batch(
        index=number * B + torch.arange(B),
        image=torch.randint(0, 256, (B, 3, side, side), dtype=torch.uint8, generator=generator),
        text=TokenBatch(tokens.masked_fill(~mask, PAD), mask),
        group=number * B + torch.arange(B),
    ).to(options.device)


# --- the two sides ------------------------------------------------------------------------------------------


class Ours:
    """The method's step, as the engine runs it but for the clipping of gradients."""

    name = "ours"

    def __init__(self, options: Options) -> None:
        self.module = build_method(options)
        self.network = self.module.network
        self.precision, self.device = options.precision, torch.device(options.device)
        self.clock = CLOCKS[options.clock]
        self.optimizer = build_optimizer(self.module, TrainingConfig())
        self.parts = parts_of("network", "network.fusion") | parts_of(
            "ema_encoder.module", "ema_encoder.module.fusion"
        )

    def forward(self, batch: Batch, draw: StepRandom) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts."""
        with autocast(self.precision, self.device):
            found = self.module.embed(batch, Step(draw))
        low = torch.bfloat16
        found = {name: value.float() if value.dtype == low else value for name, value in found.items()}
        terms = self.module.objective(found, Step(draw))
        return terms.total, terms.parts

    def finish(self, number: int) -> None:
        """What follows the optimizer's step."""
        self.module.after_step(Progress(number + 1, 1_000_000))


class Transcription:
    """The published code's step."""

    name = "transcription"

    def __init__(self, options: Options, network: FusionNetwork | None = None) -> None:
        network = plain_copy(network or build_method(options).network, attention=options.attention)
        size = options.queue_size or SIZES[options.size].queue
        self.module = TCLReference(network, queue_size=size, momentum=MOMENTUM).to(options.device)
        self.network = self.module.network
        self.views = view_preset(options.views)
        self.precision, self.device = options.precision, torch.device(options.device)
        self.clock = CLOCKS[options.clock]
        self.optimizer = build_optimizer(self.module, TrainingConfig())
        layers = range(len(network.fusion.layers))
        self.parts = {}
        for name in ("network", "twin"):
            self.parts |= parts_of(name, *(f"{name}.fusion.layers.{place}" for place in layers))

    def forward(
        self, batch: Batch, draw: StepRandom, *, alpha: float = ALPHA, forced: Forced | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts."""
        with autocast(self.precision, self.device):
            first, second = make_views(batch, Step(draw), self.network.image, self.views).chunk(2)
            parts = self.module(first, second, batch.text.tokens, batch.text.mask, alpha=alpha, forced=forced)
            return self.module.total(parts), parts

    def finish(self, number: int) -> None:
        """Its forward has moved the twins and filled the queues."""
        del number


SIDES: dict[str, type[Ours] | type[Transcription]] = {"ours": Ours, "transcription": Transcription}


def parts_of(network: str, *fusion: str) -> dict[str, str]:
    """Modules whose forwards are timed, and what they are called in the table."""
    who = "twin: " if network.startswith(("twin", "ema")) else ""
    names = {"image": "image encoder", "text": "text encoder, both passes", "language_head": "language head"}
    parts = {f"{network}.{name}": who + what for name, what in names.items()}
    return parts | dict.fromkeys(fusion, f"{who}fusion")


def autocast(precision: str, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def step(side: Ours | Transcription, batch: Batch, number: int) -> None:
    """One whole training step."""
    total, _ = side.forward(batch, StepRandom(0, number))
    total.backward()
    side.optimizer.step()
    side.optimizer.zero_grad(set_to_none=True)
    side.finish(number)
