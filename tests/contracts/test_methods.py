"""Every method through the same checks: what it says of itself, that it learns, that replicas equal one."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from small_runs import small_settings
from torch import nn

from likewise.catalog import find_method, methods
from likewise.data import prepare
from likewise.data.batch import Batch
from likewise.data.loader import Loader
from likewise.data.token_table import TokenTable
from likewise.draw import Draw
from likewise.encoders.tokenizer import train_tokenizer
from likewise.errors import ConfigError
from likewise.methods.method import Ingredients, Method, Progress

METHODS = sorted(methods())


def build(name: str) -> tuple[Method, Loader]:
    """A small method in float64 and its batches of 16."""
    settings = small_settings(name)
    splits = prepare(settings.data, image_size=32, needs=settings.method_type.needs)
    tokens, size = None, 0
    if "texts" in settings.method_type.needs:
        texts = splits.train.texts or []
        tokenizer = train_tokenizer((t for row in texts for t in row), vocabulary_size=300, max_tokens=32)
        tokens, size = TokenTable(texts, tokenizer), tokenizer.size
    torch.manual_seed(0)
    ingredients = Ingredients(
        image=settings.image,
        text=settings.text,
        views=settings.views,
        vocabulary_size=size,
        num_rows=len(splits.train),
    )
    return settings.method_type(settings.method, ingredients), Loader(
        splits.train, tokens, batch_size=16, seed=0
    )


@pytest.mark.parametrize("name", METHODS)
def test_says_what_it_is(name: str) -> None:
    method = find_method(name)
    assert re.search(r"arXiv \d{4}\.\d{5}", method.paper)
    assert method.needs <= {"images", "texts", "labels", "domains"}
    assert method.summary[0].islower()
    assert not method.summary.endswith(".")
    options = method.options
    assert dataclasses.is_dataclass(options)
    assert options.__dataclass_params__.frozen  # type: ignore[attr-defined]
    for field in dataclasses.fields(options):
        if field.name == "temperature":
            with pytest.raises(ConfigError, match=r"method\.temperature"):
                options(temperature=-1.0)


@pytest.mark.parametrize("name", METHODS)
def test_learns_a_tiny_set(name: str) -> None:
    method, loader = build(name)
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    batch = loader.batch(0)
    losses = []
    for step in range(40):
        terms = method.objective(method.embed(batch, Draw(0, step)))
        optimizer.zero_grad()
        terms.total.backward()
        optimizer.step()
        method.after_step(Progress(step + 1, 40))
        losses.append(float(terms.total.detach()))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    vectors = method.network.encode_images(torch.randn(16, 3, 32, 32)).detach()  # type: ignore[operator]
    assert vectors.isfinite().all()


@pytest.mark.parametrize("name", METHODS)
def test_views_do_not_depend_on_how_a_batch_is_cut(name: str) -> None:
    method, loader = build(name)
    batch, draw = loader.batch(0), Draw(0, 7)
    method.eval()
    with torch.no_grad():
        whole = method.embed(batch, draw)
        pieces = [method.embed(batch.rows(start, start + 4), draw) for start in range(0, 16, 4)]
    for key, value in whole.items():
        torch.testing.assert_close(torch.cat([piece[key] for piece in pieces]), value, rtol=1e-4, atol=1e-5)


def gradients(method: Method, batch: Batch) -> dict[str, torch.Tensor]:
    embeddings = method.embed(batch, Draw(0, 0))
    embeddings = {key: v.double() if v.is_floating_point() else v for key, v in embeddings.items()}
    method.objective(embeddings).total.backward()
    return {key: p.grad for key, p in method.named_parameters() if p.grad is not None}


def one_of_two(rank: int, name: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    method, loader = build(name)
    own = gradients(method.double(), loader.batch(0).rows(rank * 8, rank * 8 + 8))
    for value in own.values():
        dist.all_reduce(value)
        value /= 2
    if rank == 0:
        torch.save(own, f"{folder}/gradients.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("name", METHODS)
def test_two_processes_equal_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in build(name)[0].modules()):
        pytest.skip("BatchNorm sees its own replica's rows only: two replicas are another computation")
    float64_views(monkeypatch)
    torch.multiprocessing.spawn(one_of_two_in_float64, (name, str(tmp_path)), nprocs=2)
    together = torch.load(tmp_path / "gradients.pt", weights_only=True)
    method, loader = build(name)
    alone = gradients(method.double(), loader.batch(0))
    assert alone.keys() == together.keys()
    # Some gradients are zero by symmetry (a key's bias shifts all logits alike), so none is asked for more
    # digits than a millionth of the whole gradient has.
    floor = 1e-6 * torch.cat([value.flatten() for value in alone.values()]).norm()
    for key, value in alone.items():
        error = (together[key] - value).norm() / torch.maximum(value.norm(), floor)
        assert error < 1e-10, key


def one_of_two_in_float64(rank: int, name: str, folder: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        float64_views(patch)
        one_of_two(rank, name, folder)


def float64_views(patch: pytest.MonkeyPatch) -> None:
    """Views come in float32; networks in float64 want float64."""
    import likewise.methods.clip as clip

    made = clip.random_view
    patch.setattr(clip, "random_view", lambda *args, **options: made(*args, **options).double())
