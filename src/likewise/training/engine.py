"""The training program: read it from `train` downwards.

Every random number is a function of (seed, step), the order of batches too, so the state to be saved is
the weights, the optimizer's averages and the number of steps done; a resumed run then repeats the very
same arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.batches.loader import Loader, Prefetcher
from likewise.batches.samplers import make_order
from likewise.batches.tokenized_texts import TokenTable
from likewise.collectives import even_rows
from likewise.data import Splits
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import ConfigError, DataError, Interrupted, NonFiniteLoss, TrainingError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import default_tasks, evaluate, find_task
from likewise.hardware import seed_device
from likewise.mechanisms.batch_norm import has_batch_norm
from likewise.messages import first_line
from likewise.methods.base import BuildContext, Embeddings, LossOutput, Method, Progress, TokenizerInfo
from likewise.model.model import Model
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings, write_settings
from likewise.step_random import StepRandom
from likewise.training.batch_norm import synchronize_batch_norm
from likewise.training.checkpoints import latest_checkpoint, load_checkpoint, save_checkpoint
from likewise.training.compared import look_at_compared
from likewise.training.devices import launch
from likewise.training.grad_cache import cached_backward, frozen_batch_norm, piece_bounds
from likewise.training.heldout import look_at_held_out, quick_tasks
from likewise.training.optimizers import build_optimizer, learning_rate
from likewise.training.progress import Display, check_loggers
from likewise.training.replicas import first_alone, mean_terms, reduce_gradients
from likewise.training.setup import (
    check_free,
    prepare_data,
    prepare_tokenizer,
    with_batch_size,
)
from likewise.training.signals import asked_to_stop
from likewise.training.warm_start import network_to_start_from, open_trained, start_from

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
        ConfigError: the folder holds another run, another process trains there, or the settings cannot work.
        DataError: the data cannot be read, or too many records are bad.
        NonFiniteLoss: a loss or gradient became NaN or infinite.
        Interrupted: a signal asked to stop; the state was saved.
    """
    run, fabric = RunFolder(out), launch(settings.training)
    with run.locked(fabric):
        session = prepare_run(settings, run, fabric, resume=resume, show=show)
        try:
            with session.display, asked_to_stop() as asked:
                session.loop(asked)
                session.finish()
        except Interrupted:
            # All replicas stop here; once one has left, Fabric's launcher kills the first, which may still be
            # closing its display, and its exit code would be another.
            fabric.barrier()
            raise
    return run


def prepare_run(
    settings: Settings[Any], run: RunFolder, fabric: Any, *, resume: bool = False, show: bool = True
) -> Session:
    """Everything before the first step.

    Args: as `train`; `fabric` is what `likewise.training.devices.launch` gives.

    Raises:
        LikewiseError: as `train`.
    """
    check_loggers(settings.training.loggers)
    settings = check_free(run, settings, resume)
    splits = prepare_data(settings, run, fabric, show)
    settings = with_batch_size(settings, splits.train, fabric.world_size)
    session = Session.build(settings, run, splits, fabric, show)
    # Only now is nothing left that could refuse: a refused start leaves a folder that can be used again.
    if fabric.is_global_zero and not run.config.is_file():
        write_settings(settings, run.config)
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
    unchecked: list[tuple[int, LossOutput, Tensor]] = field(default_factory=list)
    compared: Embeddings = field(default_factory=dict)
    """What the newest step's objective compared."""

    @classmethod
    def build(
        cls, settings: Settings[Any], run: RunFolder, splits: Splits, fabric: Any, show: bool
    ) -> Session:
        """Networks, optimizer, tokenizer and batches."""
        options = settings.training
        assert options.batch_size is not None, "prepare_run decides it"
        order = make_order(  # first: it refuses too few rows, which nothing below looks at
            options.order,
            splits.train.labels,
            num_rows=len(splits.train),
            batch_size=options.batch_size,
            examples_per_class=options.examples_per_class,
            world_size=fabric.world_size,
            seed=options.seed,
        )
        trained = open_trained(settings, run)
        tokenizer = prepare_tokenizer(settings, run, splits.train, fabric, trained)
        tokens = None if tokenizer is None else TokenTable(splits.train.texts or [], tokenizer)
        loader = Loader(
            splits.train,
            tokens,
            order,
            seed=options.seed,
            rank=fabric.global_rank,
            world_size=fabric.world_size,
        )
        torch.manual_seed(options.seed)
        method = settings.method_type(
            settings.method,
            BuildContext(
                image=settings.image,
                text=settings.text,
                views=settings.views,
                vocabulary_size=0 if tokenizer is None else tokenizer.size,
                words=None if tokenizer is None else TokenizerInfo(tokenizer.mask_id, tokenizer.special_ids),
                num_rows=len(splits.train),
                trained=network_to_start_from(settings, run, trained, fabric),
            ),
        )
        if trained is not None and options.start_from is not None:
            start_from(method, trained, options.start_from)
        _check_pieces(method, options.micro_batch_size, options.batch_size // fabric.world_size)
        if fabric.world_size > 1 and options.sync_batch_norm and not method.local_batch_norm:
            synchronize_batch_norm(method, fabric.device)
        module = _Embedding(method)
        module, optimizer = fabric.setup(module, build_optimizer(method, options))
        total = options.steps or max(1, round(options.epochs * loader.steps_per_epoch))
        display = Display(
            run,
            options,
            batch_size=options.batch_size,
            total_steps=total,
            show=show and fabric.is_global_zero,
        )
        return cls(
            settings, run, splits, fabric, method, module, optimizer, tokenizer, loader, display, total
        )

    def loop(self, asked: Callable[[], str | None]) -> None:
        """Fetch, embed, compare, step, log, evaluate, save: until all steps are done."""
        options = self.settings.training
        self.method.train()
        with (
            Prefetcher(self.loader, self.step, self.total_steps, device=self.fabric.device) as batches,
            even_rows(),
        ):
            for batch in self._saved_where_data_ends(batches):
                rate = learning_rate(self.step, self.total_steps, options)
                for group in self.optimizer.param_groups:
                    group["lr"] = options.learning_rate if group["constant_rate"] else rate
                terms = self.backward(batch.to(self.fabric.device), StepRandom(options.seed, self.step))
                norm = self._clip()
                self._check_finite(terms, norm)
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
                self.step += 1
                self.method.after_step(Progress(self.step, self.total_steps, self.loader.steps_per_epoch))

                done = self.step == self.total_steps
                epoch = self.step / self.loader.steps_per_epoch
                if self.display.wants(self.step):
                    self._ask_finite()
                    self.display.step(self.step, epoch, mean_terms(terms), norm, rate, batches.waited_seconds)
                if options.evaluate_every and self.step % options.evaluate_every == 0 and not done:
                    self._evaluate(epoch)
                stop = asked()
                if done or stop is not None or (options.save_every and self.step % options.save_every == 0):
                    self._save()
                if stop is not None and not done:
                    raise Interrupted(
                        f"stopped by {stop} after step {self.step}; the state is in {self.run.checkpoints}."
                    )

    def _saved_where_data_ends(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; where one cannot be read, the state is saved before that ends the run.

        Of several replicas the others are in the middle of the next step by then, so nothing is saved there.
        """
        began = self.step
        try:
            yield from batches
        except DataError as error:
            if self.fabric.world_size > 1 or self.step == began:
                raise
            self._save()
            raise type(error)(
                f"{error}\nThe state after step {self.step} is saved; --resume goes on from it."
            ) from error

    def backward(self, batch: Batch, draw: StepRandom) -> LossOutput:
        """Leave the batch's gradient in the weights; return the loss's parts."""
        micro = self.settings.training.micro_batch_size
        if micro is None or micro >= len(batch):
            self._seed(0)
            embeddings = self.module(_Input(batch, draw))
            terms = self.method.objective(embeddings)
            self.fabric.backward(terms.total)
            self.compared = self._compared(embeddings)
            return LossOutput(
                terms.total.detach(), terms.parts
            )  # without its graph: steps are looked at later
        # Gradients are gathered over the pieces and reduced once, after the last.
        with self.fabric.no_backward_sync(self.module, enabled=self.fabric.world_size > 1):
            terms, embeddings = cached_backward(
                lambda piece, draw: self.module(_Input(piece, draw)),
                self.method.objective,
                batch,
                draw,
                micro_batch_size=micro,
                seed_piece=self._seed,
                frozen_buffers=lambda: frozen_batch_norm(self.method),
                backward=self.fabric.backward,
            )
        self.compared = self._compared(embeddings)
        reduce_gradients(self.method)
        return terms

    def _compared(self, embeddings: Embeddings) -> Embeddings:
        """Of a step's embeddings what is looked at for collapse; the rest must not outlive the step."""
        names = {*(self.method.compared or embeddings), "label", "group"}
        return {name: rows.detach() for name, rows in embeddings.items() if name in names}

    def _seed(self, piece: int) -> None:
        """Make dropout a function of (seed, step, replica, piece)."""
        key = torch.tensor([self.fabric.global_rank * 100_003 + piece])
        bits = StepRandom(self.settings.training.seed, self.step).bits(key, 1, purpose="dropout")
        seed_device(self.fabric.device.type, int(bits.item()) & ((1 << 63) - 1))

    def _clip(self) -> Tensor:
        limit = self.settings.training.clip_gradient or float("inf")
        return nn.utils.clip_grad_norm_(self.method.parameters(), limit, error_if_nonfinite=False)

    def _check_finite(self, terms: LossOutput, norm: Tensor) -> None:
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
            torch.stack([terms.total + norm for _, terms, norm in unchecked]).isfinite().all()
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
                f"{what} became {float(terms.total):g} (gradient norm {float(norm):g}) "
                f"at step {step}; nothing was overwritten, the last good checkpoint is {last or 'none yet'}. "
                "Try a lower --training.learning-rate, or --training.precision float32, with another --out."
            )

    def _evaluate(self, epoch: float) -> None:
        """Look at the held-out part."""
        self._ask_finite()
        if not self.fabric.is_global_zero or self.splits.validation is None:
            return
        rows = self.settings.training.evaluation_rows
        embedded = Context(self.model(), self.splits, max_rows=rows, max_train_rows=2 * rows)
        self._look(embedded, epoch)

    def _look(self, embedded: Context, epoch: float) -> dict[str, dict[str, Any]]:
        """The quick tasks' figures, shown and written."""
        began = time.perf_counter()
        figures, warning = look_at_held_out(embedded, learnt_classes="label" in self.method.needs)
        compared, compared_warning = look_at_compared(self.compared, self.method.compared)
        figures |= {"compared": compared} if compared else {}
        warning = compared_warning or warning
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
        # A full disk ends them all.
        first_alone(self.fabric, lambda: save_checkpoint(self.run.checkpoints, self.step, state))

    def restore(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        newest = latest_checkpoint(self.run.checkpoints)
        if newest is not None:
            state = load_checkpoint(newest)
            try:
                self.method.load_state_dict(state["method"])
                self.optimizer.load_state_dict(state["optimizer"])
            except (RuntimeError, ValueError, KeyError) as error:
                raise TrainingError(f"{newest} does not fit these settings: {first_line(error)}") from error
            self.step = state["step"]
        self._check_same_state()
        if self.fabric.is_global_zero and self.run.metrics.is_file():
            self.run.cut_metrics(self.step, finished=self.step == self.total_steps)
        self.display.resumed(self.step)

    def _check_same_state(self) -> None:
        """Refuse replicas that would go on from different steps: the folder is not shared, or shared late."""
        steps = self.fabric.all_gather(torch.tensor(self.step)).flatten().tolist()
        if len(set(steps)) > 1:
            raise TrainingError(
                f"the replicas would go on from different steps ({', '.join(map(str, steps))}): every "
                f"machine must see the same checkpoints in {self.run.checkpoints}."
            )

    def finish(self) -> None:
        """Write the model and its figures on the whole held-out part."""
        # The other replicas wait here however long it takes; at a barrier they would give up after a while.
        first_alone(self.fabric, self._finish)

    def _finish(self) -> None:
        model = self.model()
        model.save(self.run.model)
        if self.splits.validation is None:
            return
        embedded = Context(model, self.splits)
        done = self._look(embedded, self.step / self.loader.steps_per_epoch)
        quick = quick_tasks(embedded)
        for task in (task for task in default_tasks(model, self.splits) if not find_task(task).slow):
            if task in quick and task not in done:
                continue  # why, the look has said
            try:
                self.run.add_results(task, done[task] if task in done else evaluate(embedded, task))
            except DataError as error:  # the model is there, and so are the other tasks' figures
                self.display.warn(self.step, f"{task} could not be measured: {error}")


def _check_pieces(method: Method, micro_batch_size: int | None, rows: int) -> None:
    """Refuse what cached gradients cannot do with a replica's rows."""
    if micro_batch_size is None:
        return
    if method.no_grad_cache_reason is not None:
        raise ConfigError(
            f"training.micro_batch_size: {method.name} cannot be cut, {method.no_grad_cache_reason}"
        )
    shortest = min(stop - start for start, stop in piece_bounds(rows, micro_batch_size))
    if shortest == 1 < rows and has_batch_norm(method):
        raise ConfigError(
            f"training.micro_batch_size {micro_batch_size} cuts {rows} rows into pieces of one, in which "
            "BatchNorm has nothing to compare; name a larger one."
        )


class _Input:
    """A batch and its draw in a plain object: Fabric would take a dataclass apart at every step."""

    def __init__(self, batch: Batch, draw: StepRandom) -> None:
        self.batch = batch
        self.draw = draw


class _Embedding(nn.Module):
    """The method with `embed` as its forward: what Fabric wraps (devices, precision, gradient reduction)."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(self, given: _Input) -> dict[str, Tensor]:
        return self.method.embed(given.batch, given.draw)
