"""A training in progress: its state and its loop.

Every random number is a function of (seed, step), the order of batches too. The saved state is therefore the
weights, the optimizer's averages and the number of steps; a resumed run repeats the same arithmetic.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from likewise.batches.batch import Batch
from likewise.batches.loader import Loader, Prefetcher
from likewise.collectives import average_over_replicas, even_rows
from likewise.data import Splits
from likewise.encoders.tokenizer import TextTokenizer
from likewise.errors import DataError, LikewiseError, TrainingError
from likewise.evaluation.context import Context
from likewise.evaluation.registry import default_tasks, evaluate, find_task, monitored_tasks
from likewise.hardware import seed_device
from likewise.mechanisms.batch_norm import frozen_batch_norm
from likewise.methods.base import Embeddings, LossOutput, Method, Phase, Progress, Step
from likewise.model.model import Model
from likewise.networks.base import Network
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings
from likewise.runs.unseen_rows import own_measured
from likewise.step_random import StepRandom
from likewise.training.checkpoints import load_latest, renamed_weights, save_checkpoint, set_aside
from likewise.training.distributed import mean_loss, run_on_rank_zero
from likewise.training.embed_module import Input
from likewise.training.fine_tuning.interpolation import interpolated
from likewise.training.fine_tuning.retained import Retained
from likewise.training.fine_tuning.tune import merged
from likewise.training.finite import check_finite
from likewise.training.grad_cache import cached_backward
from likewise.training.monitor import embedding_figures, validation_figures
from likewise.training.optimizers import learning_rate
from likewise.training.phases import only_trains
from likewise.training.progress import Display
from likewise.training.rank_checks import check_same_step
from likewise.training.selection import Selection

__all__ = ["Session"]


@dataclass(kw_only=True)
class Session:
    """The state of a training; `prepare_run` makes it, `train` runs it."""

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
    """Losses and gradient norms that were not yet checked to be finite, with their step."""
    monitored: Embeddings = field(default_factory=dict)
    """The newest step's embeddings that are checked for collapse."""
    selection: Selection | None = None
    """The weights of the best evaluation so far, which become the model; None where the last ones do."""
    retained: Retained | None = None
    """What is measured on `data.retain`; on rank 0."""
    compared: tuple[dict[str, float], str | None] | None = None
    """Their figures and warning at the last step; its checkpoint keeps them, for a kill in the evaluation."""

    def loop(self, stop_signal: Callable[[str | None], LikewiseError | None]) -> None:
        """Fetch, update, log, evaluate, save, until all steps are done."""
        options, every = self.settings.training, self.settings.training.evaluate_every
        self.method.train()
        with (
            Prefetcher(self.loader, self.step, self.total_steps, device=self.fabric.device) as batches,
            even_rows(),
        ):
            for batch in self._saving_on_data_error(batches):
                rate = self._set_learning_rate()
                loss, norm = self._update(batch.to(self.fabric.device))
                self.step += 1
                self.method.after_step(self.progress)

                done = self.step == self.total_steps
                if self.display.wants(self.step):
                    self._check_finite()
                    self.display.step(self.progress, mean_loss(loss), norm, rate, batches.waited_seconds)
                if (done and self.ends_otherwise) or (every and self.step % every == 0 and not done):
                    self._evaluate()
                stop = stop_signal(self.display.failure)
                if done or stop is not None or (options.save_every and self.step % options.save_every == 0):
                    self._save()
                if stop is not None and not done:
                    raise type(stop)(
                        f"{stop} after step {self.step}; the state is in {self.run.checkpoints}."
                    )

    @property
    def ends_otherwise(self) -> bool:
        """Whether the model has other weights than the last ones."""
        return self.selection is not None or self.settings.training.interpolate < 1

    @property
    def progress(self) -> Progress:
        """How far training is."""
        return Progress(self.step, self.total_steps, self.loader.steps_per_epoch)

    def _saving_on_data_error(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches; if one cannot be read, the state is saved before the error ends the run.

        Not with several processes: the others are in the middle of the next step by then.
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

    # -- one step

    def _set_learning_rate(self) -> float:
        options = self.settings.training
        rate = learning_rate(self.step, self.total_steps, options)
        for group in self.optimizer.param_groups:
            group["lr"] = options.learning_rate if group["constant_rate"] else rate
            group["lr"] *= group.get("factor", 1.0)
        return rate

    def _update(self, batch: Batch) -> tuple[LossOutput, Tensor]:
        """Run the phases of a step; return their losses and the largest gradient norm."""
        losses, norms = {}, []
        for number, phase in enumerate(self._phases()):
            with only_trains(self.method, phase.parts):
                step = Step(StepRandom(self.settings.training.seed, self.step), self.progress, phase.name)
                loss = self.backward(batch, step, update=number)
                norm = self._clip()
                self.unchecked.append((self.step + 1, loss, norm))
                if self.fabric.device.type == "cpu":
                    # Before a bad number reaches the weights. On a GPU this would wait for the device at
                    # every step; there it is checked when numbers are read anyway, and before saving.
                    self._check_finite()
                self.optimizer.step()
                self.optimizer.zero_grad(set_to_none=True)
            losses[phase.name] = loss
            norms.append(norm)
        if len(losses) == 1:
            return loss, norm
        parts = {
            f"{name}_{part}": value for name, loss in losses.items() for part, value in loss.parts.items()
        }
        total = torch.stack([loss.total for loss in losses.values()]).sum()
        return LossOutput(total, parts), torch.stack(norms).max()

    def _phases(self) -> list[Phase]:
        share = self.progress.share
        phases = [phase for phase in self.method.phases if phase.start <= share < phase.stop]
        assert phases, f"{self.method.name} has no phase at {share:.0%} of the training"
        return [phase for phase in phases for _ in range(phase.repeats)]

    def backward(self, batch: Batch, step: Step, *, update: int = 0) -> LossOutput:
        """Leave the batch's gradient in the weights; return the loss without its graph.

        Args:
            batch: the rows of this process.
            step: for the method.
            update: number of the update within the step; each has dropout masks of its own.
        """

        def seed(part: int) -> None:
            """Make dropout a function of (seed, step, update, rank, part)."""
            key = torch.tensor([self.fabric.global_rank * 100_003 + part])
            purpose = f"dropout {update}" if update else "dropout"
            bits = StepRandom(self.settings.training.seed, self.step).bits(key, 1, purpose=purpose)
            seed_device(self.fabric.device.type, int(bits.item()) & ((1 << 63) - 1))

        micro = self.settings.training.micro_batch_size
        if micro is not None and micro >= len(batch):
            micro = None
        # DDP averages gradients in a single backward through all weights; otherwise they are averaged here.
        by_ddp = micro is None and len(self.method.phases) == 1
        with self.fabric.no_backward_sync(self.module, enabled=not by_ddp and self.fabric.world_size > 1):
            if micro is None:
                seed(0)
                embeddings = self.module(Input(batch, step))
                loss = self.method.objective(embeddings, step)
                self.fabric.backward(loss.total)
                loss = LossOutput(loss.total.detach(), loss.parts)
            else:
                loss, embeddings = cached_backward(
                    lambda part, step: self.module(Input(part, step)),
                    self.method.objective,
                    batch,
                    step,
                    micro_batch_size=micro,
                    seed_part=seed,
                    frozen_buffers=lambda: frozen_batch_norm(self.method),
                    backward=self.fabric.backward,
                )
        if not by_ddp:
            weights = self.method.parameters()
            average_over_replicas([weight.grad for weight in weights if weight.grad is not None])
        names = {*(self.method.monitored_embeddings or embeddings), "label", "group"}
        self.monitored = {name: rows.detach() for name, rows in embeddings.items() if name in names}
        return loss

    def _clip(self) -> Tensor:
        limit = self.settings.training.clip_gradient or float("inf")
        return nn.utils.clip_grad_norm_(self.method.parameters(), limit, error_if_nonfinite=False)

    def _check_finite(self) -> None:
        """Check the losses and gradients since the last check."""
        unchecked, self.unchecked = self.unchecked, []
        check_finite(unchecked, self.run.checkpoints)

    # -- evaluation

    def _evaluate(self) -> None:
        """Log figures of some validation rows."""
        self._check_finite()
        if self.fabric.is_global_zero and self.splits.validation is not None:
            rows = self.settings.training.evaluation_rows
            context = Context(self.model(), self.splits, max_rows=rows, max_train_rows=2 * rows)
            figures = self._log_figures(context)
            if self.selection is not None:
                self.selection.consider(self.step, figures, merged(self.method.network))

    def _log_figures(self, context: Context) -> dict[str, dict[str, Any]]:
        """Figures of the monitored tasks, shown and written."""
        began = time.perf_counter()
        self.display.evaluating(self.step, len(context.validation))
        figures, warning = validation_figures(context, learnt_classes="label" in self.method.needs)
        monitored, collapse = self.compared or self._compare()
        figures |= {"compared": monitored} if monitored else {}
        if self.retained is not None:
            figures["retained"], kept = self.retained.during(context.model)
            self.display.note(self.step, kept)
        seconds = time.perf_counter() - began
        self.display.evaluation(self.progress, figures, collapse or warning, seconds)
        return figures

    def _compare(self) -> tuple[dict[str, float], str | None]:
        return embedding_figures(self.monitored, self.method.monitored_embeddings)

    def model(self, network: Network | None = None) -> Model:
        """A network as a model (they share weights); by default the trained one."""
        return Model.trained(
            network or self.method.network,
            tokenizer=self.tokenizer,
            method=self.settings.method_name,
            fit=self.settings.data.fit,
            store_size=self.splits.train.store_size,
            trained_on=self.splits.summary,
        )

    def finish(self) -> None:
        """Write the model and its figures on the whole validation split."""
        # The other ranks wait here however long it takes; at a barrier they would time out.
        run_on_rank_zero(self.fabric, self._finish)

    def _finish(self) -> None:
        self.run.check_present(self.step)
        last = merged(self.method.network)
        network = last if self.selection is None else self.selection.network(last)
        model = self.model(interpolated(self.run, network, self.settings.training.interpolate))
        model.save(self.run.model)
        if self.selection is not None:
            self.display.note(self.step, self.selection.described())
        if self.splits.validation is not None:
            self._evaluate_all(model)
        if self.retained is not None:
            self.display.note(self.step, self.retained.finish(model))
        self.run.check_present(self.step)
        if self.display.failure is not None:
            raise TrainingError(
                f"{self.display.failure} after the last step; the model is in {self.run.model}."
            )

    def _evaluate_all(self, model: Model) -> None:
        context = Context(model, self.splits)
        if not self.ends_otherwise:
            figures = self._log_figures(context)
        else:  # the last weights, which may be others, were logged
            figures, _ = validation_figures(context, learnt_classes="label" in self.method.needs)
        monitored = monitored_tasks(model, self.splits)
        for task in default_tasks(model, self.splits):
            if find_task(task).slow or (task in monitored and task not in figures):
                continue  # slow ones are left to `likewise evaluate`; a monitored one failed, which was shown
            try:
                found = figures[task] if task in figures else evaluate(context, task)
                self.run.add_results(task, found | own_measured(self.splits).beside(task))
            except DataError as error:  # the model is written, and so are the other tasks' figures
                self.display.warn(self.step, f"{task} could not be measured: {error}")

    # -- checkpoints

    def _save(self) -> None:
        self._check_finite()
        if self.step == self.total_steps and self.fabric.is_global_zero:
            self.compared = self._compare()
        state = {
            "method": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "compared": self.compared,
        }

        def write() -> None:
            self.run.check_present(self.step)
            save_checkpoint(self.run.checkpoints, self.step, state)

        run_on_rank_zero(self.fabric, write)  # if it fails (a full disk), all ranks end

    def restore(self) -> None:
        """Go on from the newest checkpoint that is not damaged, if there is one."""
        found, warning = load_latest(self.run.checkpoints), None
        if found is not None:
            newest, state, warning = found
            try:
                self.method.load_state_dict(renamed_weights(state["method"]))
                self.optimizer.load_state_dict(state["optimizer"])
            except (RuntimeError, ValueError, KeyError) as error:
                said = f"{newest} does not fit these settings, or an older version began this run; train anew"
                raise TrainingError(f"{said}. {' '.join(str(error).split())[:300]}") from error
            self.step, self.compared = state["step"], state.get("compared")
            if self.selection is not None:
                self.selection.restore(self.step)
        check_same_step(self.fabric, self.step, self.run)
        if self.fabric.is_global_zero and self.run.metrics.is_file():
            self.run.cut_metrics(
                self.step, finished=self.step == self.total_steps and not self.ends_otherwise
            )
        if warning is not None:
            self.display.warn(self.step, warning)
            if self.fabric.is_global_zero:
                set_aside(self.run.checkpoints, self.step)
        self.display.resumed(self.step)
