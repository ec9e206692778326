"""TCL's training step against a plain transcription of the published code's: its time and its memory.

    PYTHONPATH=src python benchmarks/tcl_step.py [--preset small] [--precision bfloat16] [--rounds 5]
    PYTHONPATH=src python benchmarks/tcl_step.py --check     # the same losses, part by part, in float64
    PYTHONPATH=src python benchmarks/tcl_step.py --phases    # where the time of a step goes

A step is: views from stored pictures, forward, backward, AdamW, twins, queues. Both sides start from the same
weights of the same networks, make the same views with the project's code, get the same batch padded to its
longest text (as the published loop pads) and compute in the same precision; see benchmarks/peers/
tcl_reference.py for what differs. Captions are random words, 8 to 25 pieces long with a mean of 14.

Time: both sides in one process, in turns; medians, and the median of the ratios within a turn.

Memory: each side in a process of its own. Networks, twins, queues and the optimizer's averages exist and a
step of two rows is done; then, over what is resident then, the growth of the greatest resident memory
(VmHWM, forgotten before) in whole steps: activations, gradients, temporary tensors. Freed blocks go back to
the system at once (glibc's threshold for mmap is fixed), so that it is tensors that are counted. On CUDA it
is max_memory_allocated over memory_allocated.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import torch
import torch._dynamo  # the first optimizer step would import it, seconds inside the timed part
import tyro
from peers.tcl_reference import Forced, TCLReference, plain_attention
from side_by_side import markdown_table
from torch import Tensor
from torch.nn import functional as F

from likewise.data.batch import Batch
from likewise.draw import Draw
from likewise.encoders import ImageEncoderConfig, TextEncoderConfig
from likewise.encoders.fusion_network import FusionNetwork
from likewise.methods.method import Ingredients, Progress, Words, make_views
from likewise.methods.tcl import TCL, Config
from likewise.training.optimizers import build_optimizer
from likewise.training.options import TrainingConfig
from likewise.views import mask_tokens, view_preset

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
PAD, CLS, SEP, MASK = range(4)
SHORTEST, LONGEST, MEAN = 8, 25, 14  # word pieces of a caption, [CLS] and [SEP] counted
ALPHA = 0.4
MOST_SECONDS_SHARE, MOST_MEMORY_SHARE = 0.6, 0.5  # aims


@dataclass(frozen=True, kw_only=True)
class Size:
    """A preset: image width, layers, side and patch; text width and layers; words, queue, batch."""

    image: tuple[int, int, int, int]
    text: tuple[int, int]
    vocabulary: int
    queue: int
    batch: int


SIZES = {
    "least": Size(image=(32, 2, 32, 8), text=(32, 2), vocabulary=64, queue=48, batch=6),
    "tiny": Size(image=(192, 6, 64, 8), text=(192, 4), vocabulary=8192, queue=8192, batch=64),
    "small": Size(image=(384, 12, 96, 12), text=(384, 6), vocabulary=8192, queue=8192, batch=64),
    "base": Size(image=(768, 12, 256, 16), text=(768, 12), vocabulary=30522, queue=65536, batch=64),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is measured."""

    preset: Literal["least", "tiny", "small", "base"] = "tiny"
    """Sizes: `least` for checks; tiny and small are the project's presets at 64 and 96 px; base is the
    paper's, for GPUs."""
    batch_size: int | None = None
    """Rows; the preset's when not given."""
    queue_size: int | None = None
    """Keys, a multiple of the batch; the preset's when not given."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is autocast on both sides."""
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
    size = SIZES[options.preset]
    width, depth, side, patch = size.image
    torch.manual_seed(0)
    return TCL(
        Config(queue_size=options.queue_size or size.queue),
        Ingredients(
            image=ImageEncoderConfig(width=width, depth=depth, image_size=side, patch_size=patch),
            text=TextEncoderConfig(
                architecture="bert", width=size.text[0], depth=size.text[1], dropout=options.dropout
            ),
            views=view_preset(options.views),
            vocabulary_size=size.vocabulary,
            words=Words(mask_id=MASK, special_ids=(PAD, CLS, SEP, MASK)),
        ),
    ).to(options.device)


def make_batch(options: Options, number: int = 0) -> Batch:
    """Random pictures, and captions of random words with lengths as captions have them."""
    size, generator = SIZES[options.preset], torch.Generator().manual_seed(number)
    B, side = options.batch_size or size.batch, size.image[2]
    more = torch.poisson(torch.full((B,), float(MEAN - SHORTEST)), generator=generator).long()
    lengths = (SHORTEST + more).clamp_max(LONGEST)
    places = torch.arange(int(lengths.max()))
    tokens = torch.randint(MASK + 1, size.vocabulary, (B, len(places)), generator=generator)
    tokens[:, 0] = CLS
    tokens[torch.arange(B), lengths - 1] = SEP
    mask = places < lengths[:, None]
    return Batch(
        index=number * B + torch.arange(B),
        images=torch.randint(0, 256, (B, 3, side, side), dtype=torch.uint8, generator=generator),
        tokens=tokens.masked_fill(~mask, PAD),
        mask=mask,
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
        self.parts = parts_of("network", "network.fusion") | parts_of("twin.module", "twin.module.fusion")

    def forward(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts."""
        with autocast(self.precision, self.device):
            found = self.module.embed(batch, draw)
        low = torch.bfloat16
        found = {name: value.float() if value.dtype == low else value for name, value in found.items()}
        terms = self.module.objective(found)
        return terms.total, terms.parts

    def finish(self, number: int) -> None:
        """What follows the optimizer's step."""
        self.module.after_step(Progress(number + 1, 1_000_000))


class Transcription:
    """The published code's step."""

    name = "transcription"

    def __init__(self, options: Options, network: FusionNetwork | None = None) -> None:
        network = build_method(options).network if network is None else copy.deepcopy(network)
        if options.attention == "published":
            plain_attention(network)
        size = options.queue_size or SIZES[options.preset].queue
        self.module = TCLReference(network, queue_size=size).to(options.device)
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
        self, batch: Batch, draw: Draw, *, alpha: float = ALPHA, forced: Forced | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts."""
        with autocast(self.precision, self.device):
            first, second = make_views(batch, draw, self.network.image, self.views).chunk(2)
            parts = self.module(first, second, batch.tokens, batch.mask, alpha=alpha, forced=forced)
            return self.module.total(parts), parts

    def finish(self, number: int) -> None:
        """Its forward has moved the twins and filled the queues."""
        del number


SIDES: dict[str, type[Ours] | type[Transcription]] = {"ours": Ours, "transcription": Transcription}


def parts_of(network: str, *fusion: str) -> dict[str, str]:
    """Modules whose forwards are timed, and what they are called in the table."""
    who = "twin: " if network.startswith("twin") else ""
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
    total, _ = side.forward(batch, Draw(0, number))
    total.backward()
    side.optimizer.step()
    side.optimizer.zero_grad(set_to_none=True)
    side.finish(number)


# --- time and memory ----------------------------------------------------------------------------------------


def seconds_in_turns(options: Options) -> dict[str, list[float]]:
    """Seconds a step of both sides, one figure a turn."""
    sides = [make(options) for make in SIDES.values()]
    batches = [make_batch(options, number) for number in range(options.steps)]
    for side in sides:  # kernels, threads, the optimizer's averages
        step(side, batches[0], 0)
    found: dict[str, list[float]] = {side.name: [] for side in sides}
    clock = CLOCKS[options.clock]
    for turn in range(options.rounds):
        for side in sides if turn % 2 else reversed(sides):
            wait(side.device)
            began = clock()
            for number, batch in enumerate(batches):
                step(side, batch, 1 + turn * options.steps + number)
            wait(side.device)
            found[side.name].append((clock() - began) / options.steps)
    return found


def resident_mib(field: str) -> float:
    """A field of /proc/self/status in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {field}: memory is measured on Linux only")


def measure_memory(options: Options, steps: int = 2) -> float:
    """MiB that the side `options.alone` needs for a step beside its state."""
    assert options.alone is not None
    side = SIDES[options.alone](options)
    batch = make_batch(options)
    step(side, batch.rows(0, 2), 0)
    if isinstance(side, Transcription):
        side.module.queue_place.zero_()  # whole batches must fit to the queue's end
    cuda = side.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the greatest so far is forgotten
        before = resident_mib("VmRSS")
    for number in range(steps):
        step(side, batch, 1 + number)
    return (torch.cuda.max_memory_allocated() / 2**20 if cuda else resident_mib("VmHWM")) - before


def memory_apart(name: str) -> float:
    """The same in a process of its own."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, *sys.argv[1:], "--alone", name]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


# --- where the time goes ------------------------------------------------------------------------------------


@contextlib.contextmanager
def timed_calls(side: Ours | Transcription, spent: dict[str, float]) -> Iterator[None]:
    """Add the seconds of each named module's forward to `spent`."""
    began: dict[str, float] = {}

    def start(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            wait(side.device)
            began[name] = side.clock()

        return hook

    def stop(name: str, what: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            wait(side.device)
            spent[what] = spent.get(what, 0.0) + side.clock() - began[name]

        return hook

    with contextlib.ExitStack() as hooks:
        for name, what in side.parts.items():
            module = side.module.get_submodule(name)
            hooks.callback(module.register_forward_pre_hook(start(name)).remove)
            hooks.callback(module.register_forward_hook(stop(name, what)).remove)
        fusion = side.network.fusion
        hooks.enter_context(mock.patch.object(fusion, "read", timed_read(side, fusion.read, spent)))
        yield


def timed_read(side: Ours | Transcription, read: Callable[..., Any], spent: dict[str, float]) -> Any:
    """`FusionEncoder.read`, which no hook sees."""

    def timed(*given: Any, **named: Any) -> Any:
        wait(side.device)
        began = side.clock()
        made = read(*given, **named)
        wait(side.device)
        spent["fusion"] = spent.get("fusion", 0.0) + side.clock() - began
        return made

    return timed


def phases_of(side: Ours | Transcription, batch: Batch, number: int, views: str) -> dict[str, float]:
    """Seconds of the parts of one step."""
    spent: dict[str, float] = {}

    def timed(what: str, work: Callable[[], Any]) -> Any:
        wait(side.device)
        began = side.clock()
        done = work()
        wait(side.device)
        spent[what] = spent.get(what, 0.0) + side.clock() - began
        return done

    draw = Draw(0, number)
    timed("views", lambda: make_views(batch, draw, side.network.image, view_preset(views)))
    with timed_calls(side, spent):
        total, _ = timed("forward", lambda: side.forward(batch, draw))
    inside = sum(seconds for what, seconds in spent.items() if what != "forward")
    spent["heads, losses, draws"] = spent.pop("forward") - inside
    timed("backward", total.backward)
    timed("optimizer", side.optimizer.step)
    side.optimizer.zero_grad(set_to_none=True)
    timed("twins and queues after the step", lambda: side.finish(number))
    return spent


def print_phases(options: Options) -> None:
    """Medians over the rounds, of both sides."""
    batch = make_batch(options)
    found: dict[str, list[dict[str, float]]] = {}
    sides = [make(options) for make in SIDES.values()]
    for turn in range(options.rounds + 1):
        for side in sides:
            spent = phases_of(side, batch, turn, options.views)
            if turn:  # the first warms up
                found.setdefault(side.name, []).append(spent)
    medians = {
        name: {what: statistics.median(one[what] for one in turns) for what in turns[0]}
        for name, turns in found.items()
    }
    whole = {name: sum(spent.values()) for name, spent in medians.items()}
    rows = [
        {"part": what}
        | {f"{name}, s": spent.get(what, 0.0) for name, spent in medians.items()}
        | {f"share of {name}": f"{spent.get(what, 0.0) / whole[name]:.1%}" for name, spent in medians.items()}
        for what in dict.fromkeys(what for spent in medians.values() for what in spent)
    ]
    print(markdown_table([*rows, {"part": "sum"} | {f"{n}, s": s for n, s in whole.items()}
                          | {f"share of {n}": "" for n in whole}]))  # fmt: skip


# --- the same losses ----------------------------------------------------------------------------------------


@torch.no_grad()
def drawn_negatives(side: Ours, batch: Batch, draw: Draw, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Which negatives the method drew, read off the (2B, 2) logits of its false pairs, in whatever order.

    Returns:
        (B,) rows of the pictures drawn for each text, and (B,) rows of the texts drawn for each picture.
    """
    from scipy.optimize import linear_sum_assignment

    assert batch.tokens is not None
    assert batch.mask is not None
    network, B = side.network, len(batch)
    first = make_views(batch, draw, network.image, side.module.view_config).chunk(2)[0]
    images, texts = network.image_states(first), network.text_states(batch.tokens, batch.mask)
    every = torch.arange(B * B)
    known = network.match_logits(texts[every // B], batch.mask[every // B], images[every % B])  # (B B, 2)
    pairs = (known - logits[:, None]).abs().sum(-1).argmin(1)  # (2B,)
    torch.testing.assert_close(logits, known[pairs])
    # Each pair was drawn for its text or for its picture, and for each of either one was drawn.
    here = torch.arange(B)
    drawn_for = torch.cat([(pairs // B)[:, None] == here, (pairs % B)[:, None] == here], dim=1)  # (2B, 2B)
    place, owner = map(torch.from_numpy, linear_sum_assignment(drawn_for.numpy(), maximize=True))
    assert drawn_for[place, owner].all()
    ordered = pairs[owner.argsort()]
    return ordered[:B] % B, ordered[B:] // B


def losses_of_both(
    ours: Ours, theirs: Transcription, batch: Batch, draw: Draw, alpha: float
) -> tuple[tuple[Tensor, dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]:
    """Totals and parts at the same negatives and hidden words.

    Args:
        ours: without dropout.
        theirs: the same, in the same state.
        batch: few rows: every text is fused with every picture to see which pairs were drawn.
        draw: of the step.
        alpha: the twins' share that `ours` has now.
    """
    assert batch.tokens is not None
    assert batch.mask is not None
    found = ours.module.embed(batch, draw)
    terms = ours.module.objective(found)
    tokens, labels = mask_tokens(
        batch.tokens,
        batch.mask,
        draw=draw,
        index=batch.index,
        mask_id=MASK,
        vocabulary_size=ours.network.vocabulary_size,
        special_ids=(PAD, CLS, SEP, MASK),
        share=ours.module.config.hidden_share,
    )
    negatives = drawn_negatives(ours, batch, draw, found["match_logits"][~found["matches"]])
    forced = Forced(*negatives, tokens, labels)
    return (terms.total, terms.parts), theirs.forward(batch, draw, alpha=alpha, forced=forced)


def equal_sides(options: Options) -> tuple[Ours, Transcription]:
    """Both sides in the same state, in float64."""
    ours = Ours(options)
    ours.module.double()
    theirs = Transcription(options, ours.network)
    theirs.module.double()
    theirs.module.temperature.data.copy_(ours.module.temperature.detach())
    for kind in ("image", "text"):  # of unit length in float64 too
        keys = ours.module.get_buffer(f"{kind}_queue.keys")
        keys.copy_(F.normalize(keys, dim=1))
        theirs.module.get_buffer(f"{kind}_queue").copy_(keys.t())
    return ours, theirs


def print_check(options: Options) -> None:
    """Each part of the loss on both sides."""
    options = dataclasses.replace(options, dropout=0.0, precision="float32", views="none")
    ours, theirs = equal_sides(options)
    (total, parts), (their_total, their_parts) = losses_of_both(
        ours, theirs, make_batch(options), Draw(0, 0), float(ours.module.state_dict()["alpha"])
    )
    both = {name: (parts[name], part) for name, part in their_parts.items()} | {"total": (total, their_total)}
    print("| part | ours | transcription | difference |\n|---|---|---|---|")
    for name, (own, other) in both.items():
        found, wanted = float(own.detach()), float(other.detach())
        print(f"| {name} | {found:.9f} | {wanted:.9f} | {abs(found - wanted):.1e} |")


def main() -> None:
    """Measure and print a table."""
    options = tyro.cli(Options)
    threads = 1 if options.clock == "processor" else options.threads
    if threads is not None:
        torch.set_num_threads(threads)
    if options.alone is not None:
        print(json.dumps(measure_memory(options)))
        return
    if options.check or options.phases:
        print_check(options) if options.check else print_phases(options)
        return
    rows = []
    if options.time:
        seconds = seconds_in_turns(options)
        ratios = [own / other for own, other in zip(*seconds.values(), strict=True)]
        medians = {name: statistics.median(turns) for name, turns in seconds.items()}
        ratio = statistics.median(ratios)
        rows.append({"of a step": "seconds"} | medians | {"ratio": ratio, "aim": MOST_SECONDS_SHARE})
    if options.memory:
        mib = {name: memory_apart(name) for name in SIDES}
        ratio = mib["ours"] / mib["transcription"]
        rows.append({"of a step": "MiB beside the state"} | mib | {"ratio": ratio, "aim": MOST_MEMORY_SHARE})
    print(markdown_table(rows))
    B, L = make_batch(options).tokens.shape
    print(
        f"\n{options.preset}, {B} rows, texts padded to {L} tokens, {options.precision}, {options.device}, "
        f"{torch.get_num_threads()} threads, {options.clock} time, "
        f"views {options.views}, attention of the transcription: {options.attention}"
    )


if __name__ == "__main__":
    main()
