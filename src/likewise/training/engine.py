"""The training program: read it from `train` downwards.

Every random number is a function of (seed, step), the order of batches too, so the state to be saved is
the weights, the optimizer's averages and the number of steps done; a resumed run then repeats the very
same arithmetic.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likewise.collectives import world_size
from likewise.data import Dataset, Splits, prepare
from likewise.data.batch import Batch
from likewise.data.loader import Loader, Prefetcher
from likewise.data.token_table import TokenTable
from likewise.draw import Draw
from likewise.encoders.tokenizer import TextTokenizer, train_tokenizer
from likewise.errors import ConfigError, Interrupted, NonFiniteLoss, TooManyBadRecords, TrainingError
from likewise.evaluation.tasks import Embedded, default_tasks, evaluate
from likewise.methods.method import Ingredients, Method, Progress, Terms
from likewise.model import Model
from likewise.training.cached import cached_backward
from likewise.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from likewise.training.devices import launch
from likewise.training.display import Display
from likewise.training.heldout import look_at_held_out
from likewise.training.optimizers import build_optimizer, learning_rate
from likewise.training.run import RunFolder
from likewise.training.settings import Settings, read_settings, write_settings

__all__ = ["Session", "prepare_run", "train"]


def train(settings: Settings[Any], out: str | Path, *, resume: bool = False, show: bool = True) -> RunFolder:
    """Train a method and leave a run folder.

    Args:
        settings: everything that decides the outcome.
        out: the run's folder.
        resume: go on from the newest checkpoint there; a run that has none starts from the beginning.
        show: draw progress on the terminal.

    Returns:
        The run: its model, metrics, results and what was set aside.

    Raises:
        ConfigError: the folder holds another run, or the settings cannot work.
        DataError: the data cannot be read, or too many records are bad.
        NonFiniteLoss: a loss or gradient became NaN or infinite.
        Interrupted: a signal asked to stop; the state was saved.
    """
    session = prepare_run(settings, out, resume=resume, show=show)
    with session.display, _asked_to_stop() as asked:
        session.loop(asked)
        session.finish()
    return session.run


def prepare_run(
    settings: Settings[Any], out: str | Path, *, resume: bool = False, show: bool = True
) -> Session:
    """Everything before the first step; arguments and errors as of `train`."""
    run = RunFolder(out)
    fabric = launch(settings.training)
    _check_free(run, settings, resume)
    splits = _prepare(settings, run, fabric, show)
    if fabric.is_global_zero and not run.config.is_file():
        write_settings(settings, run.config)
    session = Session.build(settings, run, splits, fabric, show)
    if resume:
        session.restore()
    return session


@dataclass
class Session:
    """What the loop works on; `prepare_run` makes one, `train` runs it to its end."""

    settings: Settings[Any]
    run: RunFolder
    splits: Splits
    fabric: Any
    method: Method
    module: nn.Module
    optimizer: torch.optim.Optimizer
    tokenizer: TextTokenizer | None
    loader: Loader
    display: Display
    total_steps: int
    step: int = 0
    unchecked: list[tuple[int, Terms, Tensor]] = field(default_factory=list)

    @classmethod
    def build(
        cls, settings: Settings[Any], run: RunFolder, splits: Splits, fabric: Any, show: bool
    ) -> Session:
        """Networks, optimizer, tokenizer and batches."""
        options = settings.training
        tokenizer = _tokenizer(settings, run, splits.train, fabric)
        tokens = None if tokenizer is None else TokenTable(splits.train.texts or [], tokenizer)
        loader = Loader(
            splits.train,
            tokens,
            batch_size=options.batch_size,
            seed=options.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        torch.manual_seed(options.seed)
        method = settings.method_type(
            settings.method,
            Ingredients(
                image=settings.image,
                text=settings.text,
                views=settings.views,
                vocabulary_size=0 if tokenizer is None else tokenizer.size,
                num_rows=len(splits.train),
            ),
        )
        if options.micro_batch_size is not None and method.pieces_allowed is not None:
            raise ConfigError(
                f"training.micro_batch_size: {method.name} cannot be cut, {method.pieces_allowed}"
            )
        module = _Embedding(method)
        module, optimizer = fabric.setup(module, build_optimizer(method, options))
        total = options.steps or max(1, round(options.epochs * loader.steps_per_epoch))
        display = Display(run, options, total_steps=total, show=show and fabric.is_global_zero)
        return cls(
            settings, run, splits, fabric, method, module, optimizer, tokenizer, loader, display, total
        )

    def loop(self, asked: Callable[[], str | None]) -> None:
        """Fetch, embed, compare, step, log, evaluate, save: until all steps are done."""
        options = self.settings.training
        pin = self.fabric.device.type == "cuda"
        self.method.train()
        with Prefetcher(self.loader, self.step, self.total_steps, pin=pin) as batches:
            for batch in batches:
                rate = learning_rate(self.step, self.total_steps, options)
                for group in self.optimizer.param_groups:
                    group["lr"] = rate
                terms = self.backward(batch.to(self.fabric.device), Draw(options.seed, self.step))
                norm = self._clip()
                self._check_finite(terms, norm)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step += 1
                self.method.after_step(Progress(self.step, self.total_steps))

                done = self.step == self.total_steps
                epoch = self.step / self.loader.steps_per_epoch
                if self.display.wants(self.step):
                    self._ask_finite()
                    self.display.step(
                        self.step, epoch, _mean_terms(terms), norm, rate, batches.waited_seconds
                    )
                if options.evaluate_every and self.step % options.evaluate_every == 0 and not done:
                    self._evaluate(epoch)
                stop = asked()
                if done or stop is not None or (options.save_every and self.step % options.save_every == 0):
                    self._save()
                if stop is not None and not done:
                    raise Interrupted(
                        f"stopped by {stop} after step {self.step}; the state is in {self.run.checkpoints}. "
                        "Go on with the same command and --resume."
                    )

    def backward(self, batch: Batch, draw: Draw) -> Terms:
        """Leave the batch's gradient in the weights; return the loss's parts."""
        micro = self.settings.training.micro_batch_size
        if micro is None or micro >= len(batch):
            self._seed(0)
            embeddings = self.module(_Input(batch, draw))
            terms = self.method.objective(embeddings)
            self.fabric.backward(terms.total)
            return terms
        # Gradients are gathered over the pieces and reduced once, after the last.
        with self.fabric.no_backward_sync(self.module, enabled=self.fabric.world_size > 1):
            terms = cached_backward(
                lambda piece, draw: self.module(_Input(piece, draw)),
                self.method.objective,
                batch,
                draw,
                micro_batch_size=micro,
                seed_piece=self._seed,
                frozen_buffers=lambda: _frozen_batch_norm(self.method),
                backward=self.fabric.backward,
            )
        _reduce_gradients(self.method)
        return terms

    def _seed(self, piece: int) -> None:
        """Make dropout a function of (seed, step, replica, piece)."""
        key = torch.tensor([self.fabric.global_rank * 100_003 + piece])
        bits = Draw(self.settings.training.seed, self.step).bits(key, 1, purpose="dropout")
        torch.manual_seed(int(bits.item()) & ((1 << 63) - 1))

    def _clip(self) -> Tensor:
        limit = self.settings.training.clip_gradient
        if self.settings.training.strategy == "fsdp":  # a shard does not know the whole norm
            clipped: Tensor = self.fabric.clip_gradients(
                self.module, self.optimizer, max_norm=limit or float("inf"), error_if_nonfinite=False
            )
            return clipped
        return nn.utils.clip_grad_norm_(
            self.method.parameters(), limit or float("inf"), error_if_nonfinite=False
        )

    def _check_finite(self, terms: Terms, norm: Tensor) -> None:
        """Stop before a bad number reaches a checkpoint.

        On a CPU that is before the step. On a GPU, asking at every step would make the processor wait for the
        device each time; there the question is put when numbers are read anyway, and before any saving.
        """
        self.unchecked.append((self.step + 1, terms, norm))
        if self.fabric.device.type == "cpu":
            self._ask_finite()

    def _ask_finite(self) -> None:
        """Look at the steps since the last question."""
        unchecked, self.unchecked = self.unchecked, []
        if not unchecked or bool(
            torch.stack([terms.total.detach() + norm for _, terms, norm in unchecked]).isfinite().all()
        ):
            return
        for step, terms, norm in unchecked:
            loss_is_bad = not bool(torch.isfinite(terms.total))
            if not loss_is_bad and bool(torch.isfinite(norm)):
                continue
            bad = [name for name, value in terms.parts.items() if not bool(torch.isfinite(value))]
            what = f"the loss ({', '.join(bad) or 'total'})" if loss_is_bad else "the gradient"
            last = latest_checkpoint(self.run.checkpoints)
            raise NonFiniteLoss(
                f"{what} became {float(terms.total.detach()):g} (gradient norm {float(norm):g}) "
                f"at step {step}; nothing was overwritten, the last good checkpoint is {last or 'none yet'}. "
                "Try a lower --training.learning-rate, or --training.precision float32."
            )

    def _evaluate(self, epoch: float) -> None:
        """Look at the held-out part."""
        if not self.fabric.is_global_zero or self.splits.validation is None:
            return
        rows = self.settings.training.evaluation_rows
        embedded = Embedded(self.model(), self.splits, max_rows=rows, max_train_rows=2 * rows)
        self._look(embedded, epoch)

    def _look(self, embedded: Embedded, epoch: float) -> dict[str, dict[str, Any]]:
        """The quick tasks' figures, shown and written."""
        began = time.perf_counter()
        figures, warning = look_at_held_out(embedded)
        self.display.evaluation(self.step, epoch, figures, warning, time.perf_counter() - began)
        return figures

    def model(self) -> Model:
        """The network as users will meet it."""
        return Model.trained(
            self.method.network,
            tokenizer=self.tokenizer,
            method=self.settings.method_name,
            fit=self.settings.data.fit,
            store_size=self.splits.train.store_size,
            trained_on=self.splits.summary,
        )

    def _save(self) -> None:
        self._ask_finite()
        state = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }
        if self.fabric.is_global_zero:
            save_checkpoint(self.run.checkpoints, self.step, state)
        self.fabric.barrier()

    def restore(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        newest = latest_checkpoint(self.run.checkpoints)
        if newest is not None:
            state = load_checkpoint(newest)
            try:
                self.method.load_state_dict(state["method"])
                self.optimizer.load_state_dict(state["optimizer"])
            except (RuntimeError, ValueError, KeyError) as error:
                raise TrainingError(
                    f"{newest} does not fit these settings: {str(error).splitlines()[0]}"
                ) from error
            self.step = state["step"]
        if self.fabric.is_global_zero and self.run.metrics.is_file():
            self.run.cut_metrics(self.step, finished=self.step == self.total_steps)
        self.display.resumed(self.step)

    def finish(self) -> None:
        """Write the model and its figures on the whole held-out part."""
        if self.fabric.is_global_zero:
            model = self.model()
            model.save(self.run.model)
            if self.splits.validation is not None:
                embedded = Embedded(model, self.splits)
                done = self._look(embedded, self.step / self.loader.steps_per_epoch)
                # The probe trains classifiers for as long as a small run trains: `likewise evaluate` when wanted.
                for task in (task for task in default_tasks(model, self.splits) if task != "probe"):
                    self.run.add_results(task, done[task] if task in done else evaluate(embedded, task))
        self.fabric.barrier()


class _Input:
    """A batch and its draw in a plain object: Fabric would take a dataclass apart at every step."""

    def __init__(self, batch: Batch, draw: Draw) -> None:
        self.batch = batch
        self.draw = draw


class _Embedding(nn.Module):
    """The method with `embed` as its forward: what Fabric wraps (devices, precision, gradient reduction)."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, given: _Input) -> dict[str, Tensor]:
        return self.method.embed(given.batch, given.draw)


def _check_free(run: RunFolder, settings: Settings[Any], resume: bool) -> None:
    """Refuse a folder that holds another run: none is ever overwritten."""
    if not run.config.is_file():
        return
    if not resume:
        raise ConfigError(
            f"{run.path} already holds a run; add --resume to go on with it, or name another --out."
        )
    old = read_settings(run.config)
    if old.method_name != settings.method_name:
        raise ConfigError(f"{run.path} is a run of {old.method_name}, not of {settings.method_name}.")
    if old.sections() != settings.sections():
        raise ConfigError(f"{run.config} says other settings than these; a run is resumed with its own.")


def _prepare(settings: Settings[Any], run: RunFolder, fabric: Any, show: bool) -> Splits:
    """Read the data, on the first replica first (it may build the cache), and write down what was found."""
    needs = settings.method_type.needs
    size = settings.image.image_size if "images" in needs else None
    try:
        with fabric.rank_zero_first():
            splits = prepare(
                settings.data, image_size=size, needs=needs, progress=show and fabric.is_global_zero
            )
    except TooManyBadRecords as error:
        run.write_bad_records(error.bad_records)  # a refusal is when one wants to read them
        raise TooManyBadRecords(f"{error}\nAll of them: {run.bad_records}", error.bad_records) from error
    if fabric.is_global_zero:
        run.write_json(run.data, splits.summary)
        run.write_bad_records(splits.bad_records)
        if splits.validation is None and show:
            print("no held-out part: nothing can be measured; see --data.validation.", file=sys.stderr)
    fabric.barrier()  # all replicas have looked whether the folder is free before one writes into it
    return splits


def _tokenizer(settings: Settings[Any], run: RunFolder, data: Dataset, fabric: Any) -> TextTokenizer | None:
    """The tokenizer that is named, or one trained on the training part's captions and kept with the run."""
    if "texts" not in settings.method_type.needs:
        return None
    options = settings.text
    named = options.tokenizer or options.pretrained
    if named is not None:
        return TextTokenizer.load(named, max_tokens=options.max_tokens)
    with fabric.rank_zero_first():
        if not run.tokenizer.is_file():
            texts = (text for row in data.texts or [] for text in row)
            trained = train_tokenizer(
                texts, vocabulary_size=options.vocabulary_size, max_tokens=options.max_tokens
            )
            beside = run.tokenizer.with_suffix(".writing")
            trained.save(beside)
            beside.replace(run.tokenizer)
        return TextTokenizer.load(run.tokenizer, max_tokens=options.max_tokens)


@contextmanager
def _frozen_batch_norm(method: nn.Module) -> Iterator[None]:
    """Put the running statistics back afterwards."""
    norms = [module for module in method.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    kept = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    yield
    for buffer, value in kept:
        buffer.copy_(value)


def _mean_terms(terms: Terms) -> Terms:
    """The mean over the replicas of what each measured on its own rows."""
    if world_size() == 1:
        return terms
    numbers = torch.stack([terms.total.detach().float(), *(part.float() for part in terms.parts.values())])
    torch.distributed.all_reduce(numbers)
    total, *parts = (numbers / world_size()).unbind()
    return Terms(total, dict(zip(terms.parts, parts, strict=True)))


def _reduce_gradients(method: nn.Module) -> None:
    """The mean of the replicas' gradients, in one message."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in method.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    torch.distributed.all_reduce(flat)
    flat /= world_size()
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, piece in zip(gradients, torch.split(flat, sizes), strict=True):
        gradient.copy_(piece.view_as(gradient))


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], str | None]]:
    """Turn SIGTERM and SIGINT into a question that the loop asks after each step."""
    asked: list[str] = []

    def note(number: int, frame: Any) -> None:
        del frame
        if asked:  # the second time, at once
            raise KeyboardInterrupt
        asked.append(signal.Signals(number).name)

    def answer() -> str | None:
        # Every replica must stop after the same step, whichever got the signal.
        if world_size() > 1:
            flags: list[str | None] = [None] * world_size()
            torch.distributed.all_gather_object(flags, asked[0] if asked else None)
            return next((flag for flag in flags if flag is not None), None)
        return asked[0] if asked else None

    previous = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield answer
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
