"""TCL's training step against a plain transcription of the published code's: its time and its memory.

    PYTHONPATH=src python benchmarks/tcl_step.py [--size vit-384x12] [--precision bfloat16] [--rounds 5]
    PYTHONPATH=src python benchmarks/tcl_step.py --check     # the same losses, part by part, in float64
    PYTHONPATH=src python benchmarks/tcl_step.py --phases    # where the time of a step goes

A step is: views from stored pictures, forward, backward, AdamW, twins, queues. Both sides start from the same
weights of the same networks, make the same views with the project's code, get the same batch padded to its
longest text (as the published loop pads) and compute in the same precision, but for our twins in float32,
which multiply in bfloat16 unless --twin-precision same; see benchmarks/peers/tcl_reference.py for what
differs. Captions are random words, as long as Flickr8k's: 4 to 25 pieces, 14 on average.

Time: both sides in one process, in turns; medians, and the median of the ratios within a turn.

Memory: each side in a process of its own. Networks, twins, queues and the optimizer's averages exist and a
step of two rows is done; then, over what is resident then, the growth of the greatest resident memory
(VmHWM, forgotten before) in whole steps: activations, gradients, temporary tensors. Freed blocks go back to
the system at once (glibc's threshold for mmap is fixed), so that it is tensors that are counted. On CUDA it
is max_memory_allocated over memory_allocated.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import tyro
from side_by_side import markdown_table
from tcl_same import print_check
from tcl_sides import CLOCKS, SIDES, Options, Ours, Transcription, make_batch, step, wait

from likewise.batches.batch import Batch
from likewise.methods.base import Step, make_views
from likewise.step_random import StepRandom
from likewise.views import view_preset

MOST_SECONDS_SHARE, MOST_MEMORY_SHARE = 0.6, 0.5  # aims


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

    draw = StepRandom(0, number)
    timed("views", lambda: make_views(batch, Step(draw), side.network.image, view_preset(views)))
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
        f"\n{options.size}, {B} rows, texts padded to {L} tokens, {options.precision}, {options.device}, "
        f"{torch.get_num_threads()} threads, {options.clock} time, "
        f"views {options.views}, attention of the transcription: {options.attention}"
    )


if __name__ == "__main__":
    main()
