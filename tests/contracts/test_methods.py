"""Every method through the same checks: what it says of itself, that it learns without collapse, that
replicas equal one, that a saved model is the trained one.

That a resumed run equals one never stopped is checked for every method in tests/training/test_engine.py.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from small_methods import ALL, METHODS, build, context_of, float64_views, steps_of
from small_runs import TASKS, small_settings

from likewise.batches.batch import Batch
from likewise.batches.loader import Loader
from likewise.collectives import even_rows
from likewise.data.columns import column_names
from likewise.errors import ConfigError
from likewise.mechanisms import view_by_view
from likewise.mechanisms.batch_norm import synchronize_batch_norm
from likewise.methods.base import Embeddings, LossOutput, Method, Progress, Step
from likewise.methods.catalog import find_method, methods
from likewise.methods.image.byol import BYOL
from likewise.methods.image.simsiam import SimSiam
from likewise.metrics.collapse import collapse_warning, signs_of_collapse
from likewise.model import Model, load
from likewise.runs.folder import RunFolder
from likewise.step_random import StepRandom
from likewise.training.checkpoints import latest_checkpoint, load_checkpoint
from likewise.training.distributed import launch
from likewise.training.engine import prepare_run
from likewise.training.monitor import embedding_figures
from likewise.training.phases import only_trains


@pytest.mark.parametrize("name", METHODS)
def test_says_what_it_is(name: str) -> None:
    method = find_method(name)
    assert re.search(r"arXiv \d{4}\.\d{5}", method.paper)
    assert set(method.needs) <= {*column_names()}
    assert method.title[0].isupper()
    assert [other.title for other in methods().values()].count(method.title) == 1
    assert method.summary[0].islower()
    assert not method.summary.endswith(".")
    options = method.options
    assert dataclasses.is_dataclass(options)
    assert options.__dataclass_params__.frozen  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", METHODS)
def test_refuses_what_cannot_work_with_the_option_s_name(name: str) -> None:
    options = find_method(name).options
    for field in dataclasses.fields(options):
        if field.name in ("temperature", "margin", "ema_momentum", "bank_momentum") or field.name.endswith(
            ("_dim", "_size")
        ):
            with pytest.raises(ConfigError, match=f"--method.{field.name}".replace("_", "-")):
                options(**{field.name: -1})


# From nothing it takes thousands of steps to learn which of two images a caption belongs to: one draw is
# learned by heart instead.
ONE_DRAW = ("text-assignment",)


def train(
    method: Method, loader: Loader, *, steps: int, rate: float = 3e-3, optimizer: str = "adamw"
) -> list[float]:
    """The losses of some steps on one batch, whose views are new at each."""
    learning = [weight for weight in method.parameters() if weight.requires_grad]
    steering: torch.optim.Optimizer = (
        torch.optim.AdamW(learning, lr=rate)
        if optimizer == "adamw"
        else torch.optim.SGD(learning, lr=rate, momentum=0.9)
    )
    batch = loader.batch(0)
    losses = []
    for step in range(steps):
        several, total = len(method.phases) > 1, 0.0
        for phase in method.phases:
            drawn = 0 if method.name in ONE_DRAW else step
            if several and not phase.start <= step / steps < phase.stop:
                continue
            now = Step(StepRandom(0, drawn), phase=phase.name)
            with only_trains(method, phase.parts):
                terms = method.objective(method.embed(batch, now), now)
                steering.zero_grad()
                terms.total.backward()
                steering.step()
            total += float(terms.total.detach())
        method.after_step(Progress(step + 1, steps))
        losses.append(total)
    return losses


def warning_after(method: Method, loader: Loader) -> str | None:
    """What the signs of collapse say: of the embeddings as users get them, and of what is compared."""
    batch = loader.batch(0)
    with torch.no_grad():
        _, warning = embedding_figures(
            method.embed(batch, Step(StepRandom(1, 0))), method.monitored_embeddings
        )
        method.eval()
        if hasattr(method.network, "encode_images"):
            vectors = method.network.encode_images(method.views(batch, Step(StepRandom(1, 0))))
        elif hasattr(method.network, "encode_texts"):
            vectors = method.network.encode_texts(batch.text.tokens, batch.text.mask)
        else:
            return warning
    assert vectors.isfinite().all()
    return warning or collapse_warning(signs_of_collapse(vectors))


@pytest.mark.parametrize("name", ALL)
def test_every_weight_that_learns_gets_a_gradient(name: str) -> None:
    """DDP waits for them all."""
    method, loader = build(name)
    for step in steps_of(method, 0):
        method.objective(method.embed(loader.batch(0), step), step).total.backward()
    without = [n for n, weight in method.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not without


# Keys of a slow twin are found slowly, TCL is slow to tell apart pictures that look alike, and other pictures
# of a class are less alike than views of one.
STEPS = {"moco": 100, "moco v1": 80, "moco symmetric": 70, "moco pushing between": 70}
STEPS |= {"tcl": 60, "tcl without words": 60, "tcl without fusion": 60, "supcon of one view": 150}


@pytest.mark.parametrize("name", ALL)
def test_learns_a_tiny_set_without_collapse(name: str) -> None:
    method, loader = build(name, depth=18 if "moco" in name else None)  # two layers a stage find keys sooner
    losses = train(method, loader, steps=STEPS.get(name, 50), rate=1e-3)
    # A queue starts with random keys, easily told apart: the losses count from when it is full.
    before, after = sum(losses[5:10]) / 5, sum(losses[-5:]) / 5
    assert after < before - 0.05 * abs(before)
    assert warning_after(method, loader) is None


class WithoutStopGradient(SimSiam):
    """SimSiam whose targets get a gradient too."""

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        pixels = self.views(batch, step, 2)
        projections = view_by_view(self.projector, view_by_view(self.network, pixels))
        first, second = view_by_view(self.predictor, projections).chunk(2)
        targets = projections.chunk(2)
        predictions = {"first_prediction": first, "second_prediction": second}
        return predictions | {"first_target": targets[0], "second_target": targets[1]}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        total = sum(
            -torch.cosine_similarity(embeddings[f"{one}_prediction"], embeddings[f"{other}_target"]).mean()
            for one, other in (("first", "second"), ("second", "first"))
        )
        return LossOutput(total / 2, {})  # type: ignore[arg-type]


class WithoutPredictor(SimSiam):
    """SimSiam whose projections are compared themselves, one held still."""

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        self.predictor = torch.nn.Identity()


class WithoutEither(WithoutStopGradient, WithoutPredictor):
    """Two views drawn together, and nothing that keeps them apart from others."""


class TwinItself(BYOL):
    """BYOL whose twin is the network itself, and whose predictor is left out."""

    def after_step(self, progress: Progress) -> None:
        del progress

    def embed(self, batch: Batch, step: Step) -> Embeddings:
        pixels = self.views(batch, step, 2)
        first, second = self.projector(self.network(pixels)).chunk(2)
        return {"first": first, "second": second}

    def objective(self, embeddings: Embeddings, step: Step) -> LossOutput:
        first, second = (torch.nn.functional.normalize(rows, dim=1) for rows in embeddings.values())
        return LossOutput((first - second).square().sum(1).mean(), {})


@pytest.mark.parametrize("broken", [WithoutStopGradient, WithoutPredictor, WithoutEither, TwinItself])
def test_a_broken_twin_is_caught_by_the_signs_of_collapse(broken: type[Method]) -> None:
    """With the method's own heads, whose last BatchNorm holds up the spread of what has collapsed."""
    whole, loader = build(broken.name)
    torch.manual_seed(1)  # a start that tells the pictures apart, which not each of so small networks does
    method = broken(whole.config, context_of(broken.name))  # type: ignore[call-arg]
    assert warning_after(method, loader) is None
    losses = train(method, loader, steps=80, rate=0.05, optimizer="sgd")
    assert losses[-1] < losses[0]
    assert warning_after(method, loader) is not None


@pytest.mark.parametrize("name", ["byol", "simsiam"])
def test_a_whole_twin_is_not_taken_for_a_broken_one(name: str) -> None:
    """Slower than the broken ones: at their rate some starts of a whole SimSiam lose most directions too."""
    for seed in range(3):
        whole, loader = build(name)
        torch.manual_seed(seed)
        method = type(whole)(whole.config, context_of(name))  # type: ignore[call-arg]
        train(method, loader, steps=80, rate=0.02, optimizer="sgd")
        assert warning_after(method, loader) is None


@pytest.mark.parametrize("name", ALL)
def test_views_do_not_depend_on_how_a_batch_is_cut(name: str) -> None:
    method, loader = build(name)
    if method.no_grad_cache_reason is not None:
        pytest.skip(f"cannot be cut, {method.no_grad_cache_reason}")
    batch, now = loader.batch(0), Step(StepRandom(0, 7))
    method.eval()
    with torch.no_grad():
        whole = method.embed(batch, now)
        pieces = [method.embed(batch.rows(start, start + 4), now) for start in range(0, 16, 4)]
    for key, value in whole.items():
        torch.testing.assert_close(torch.cat([piece[key] for piece in pieces]), value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_objectives_see_embeddings_alone(name: str) -> None:
    """Cached gradients call `objective` on detached copies: it must not reach for anything `embed` kept."""
    method, loader = build(name)
    for step in steps_of(method, 0):
        embeddings = method.embed(loader.batch(0), step)
        again = {
            key: value.detach().requires_grad_() if value.is_floating_point() else value
            for key, value in embeddings.items()
        }
        method.objective(again, step).total.backward()
        assert any(value.grad is not None and value.grad.abs().sum() > 0 for value in again.values())


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_gathered_twice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas send each other a tensor once a step, however many comparisons read it."""
    method, loader = build(name)
    step = steps_of(method, 0)[0]
    embeddings = method.embed(loader.batch(0), step)
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(
        sys.modules[type(method).__module__],
        "gather_rows",
        lambda rows, **options: (sent.append(rows), rows)[1],
        raising=False,  # some compare no rows of other replicas
    )
    method.objective(embeddings, step)
    places = [rows.data_ptr() for rows in sent]
    assert len(set(places)) == len(places)


def two_steps(method: Method, loader: Loader, reduce: Callable[[torch.Tensor], None]) -> dict:  # type: ignore[type-arg]
    """Gradients of the second step, and all state after it: weights, twins, queues, banks, statistics."""
    weights = {key: value for key, value in method.named_parameters() if value.requires_grad}
    for step in range(2):
        for now in steps_of(method, step):
            method.objective(method.embed(loader.batch(step), now), now).total.backward()
        gradients = {}
        for key, value in weights.items():
            if value.grad is None:
                continue
            reduce(value.grad)
            gradients[key] = value.grad.clone()
            with torch.no_grad():
                value -= 0.05 * value.grad
            value.grad = None
        method.after_step(Progress(step + 1, 2))
    return {
        "gradients": gradients,
        "state": {key: value.clone() for key, value in method.state_dict().items()},
    }


def one_of_two(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)

    def reduce(gradient: torch.Tensor) -> None:
        dist.all_reduce(gradient)
        gradient /= 2

    with pytest.MonkeyPatch.context() as patch:
        float64_views(patch)
        for name in ALL:
            method, loader = build(name, rank=rank, world_size=2)
            if not method.local_batch_norm:
                synchronize_batch_norm(method, torch.device("cpu"))
            with even_rows():  # as in training
                found = two_steps(method.double(), loader, reduce)
            if rank == 0:
                torch.save(found, f"{folder}/{name}.pt")
    dist.barrier()  # one that leaves while another still talks makes gloo abort now and then
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes compute for every method, a file each; starting them takes longest."""
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(one_of_two, (str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize("name", ALL)
def test_two_processes_equal_one(name: str, of_two_processes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients and all state after two steps, with BatchNorm over both."""
    together = torch.load(of_two_processes / f"{name}.pt", weights_only=True)
    float64_views(monkeypatch)
    method, loader = build(name)
    alone = two_steps(method.double(), loader, lambda gradient: None)
    for part in ("gradients", "state"):
        assert alone[part].keys() == together[part].keys()
        floats = {key: value for key, value in alone[part].items() if value.is_floating_point()}
        # Some gradients are zero by symmetry (a key's bias shifts all logits alike), so none is asked for
        # more digits than a millionth of the whole has.
        floor = 1e-6 * torch.cat([value.flatten() for value in floats.values()]).norm()
        for key, value in alone[part].items():
            if key not in floats:
                assert torch.equal(value, together[part][key]), key
                continue
            error = (together[part][key] - value).norm() / torch.maximum(value.norm(), floor)
            assert error < 1e-10, key


@pytest.mark.parametrize("name", METHODS)
def test_a_saved_model_is_the_trained_one(name: str, tmp_path: Path) -> None:
    """Bit by bit the network that learned, neither its twin nor its start, and fed as it was in training."""
    settings = small_settings(name, steps=2)
    session = prepare_run(settings, RunFolder(tmp_path / "run"), launch(settings.training), show=False)
    with session.display:
        session.loop(lambda failure: None)
        session.finish()
    saved = load(tmp_path / "run")

    newest = latest_checkpoint(session.run.checkpoints)
    assert newest is not None
    prefix = "network."
    learned = {
        key.removeprefix(prefix): value
        for key, value in load_checkpoint(newest)["method"].items()
        if key.startswith(prefix)
    }
    weights = saved.network.state_dict()
    assert weights.keys() == learned.keys()
    assert not [key for key, value in weights.items() if not torch.equal(value, learned[key])]

    assert saved.config["method"] == name
    seen = {"fit": session.settings.data.fit, "store_size": session.splits.train.store_size}
    assert saved.config["images"] == (seen if "image" in session.method.needs else None)
    trained = Model(session.method.network, {"method": name, "images": seen}, session.tokenizer)
    assert saved.abilities == trained.abilities
    pictures = list(np.random.default_rng(0).integers(0, 256, (3, 40, 30, 3), dtype=np.uint8))
    if "encode_images" in saved.abilities:
        np.testing.assert_array_equal(saved.encode_images(pictures), trained.encode_images(pictures))
    assert ("encode_texts" in saved.abilities) == (
        "text" in session.method.needs and name not in ("captioning", "text-assignment", *TASKS)
    )
    if "encode_texts" in saved.abilities:
        texts = ["a red circle", "two blue squares in a row"]
        np.testing.assert_array_equal(saved.encode_texts(texts), trained.encode_texts(texts))
