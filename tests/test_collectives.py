"""Two and three replicas under DDP must give the gradients of one process, for every objective."""

import math
import socket
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from likewise import objectives as o
from likewise.collectives import (
    average_over_replicas,
    even_rows,
    gather_rows,
    own_rows,
    rank,
    replica_share,
    replica_weight,
    row_counts,
    world_size,
)

F64 = torch.float64
ROWS, WIDTH, LOCALS, WORDS = 11, 6, 3, 5
LABELS = torch.tensor([0, 1, 0, 2, 1, 1, 3, 0, 2, 4, 0])
TARGETS = torch.tensor([3, -100, 1, -100, -100, 0, 2, 4, -100, -100, 1])


class Towers(nn.Module):
    """Two towers, locals and word logits; temperature and bias are learned."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH, dtype=F64)
        self.second = nn.Linear(WIDTH, WIDTH, dtype=F64)
        self.local = nn.Linear(WIDTH, LOCALS * WIDTH, dtype=F64)
        self.temperature = nn.Parameter(torch.tensor(0.3, dtype=F64))
        self.bias = nn.Parameter(torch.tensor(-1.0, dtype=F64))

    def forward(self, x):
        local = self.local(x).view(-1, LOCALS, WIDTH)
        return self.first(x), self.second(x), local, self.temperature * 1, self.bias * 1


def pair(first, second, rows):
    return {"all_first": gather_rows(first), "all_second": gather_rows(second), "rows": rows}


def clip(first, second, rows):
    return {"all_images": gather_rows(first), "all_texts": gather_rows(second), "rows": rows}


def labelled(x, rows, labels):
    return {"all_features": gather_rows(x), "all_labels": gather_rows(labels), "rows": rows}


def teacher(rows, x):
    return {
        "target_queries": x.flip(1)[:, :4],
        "target_keys": gather_rows(x)[:, :4],
        "target_weight": 0.4,
    }


# Each takes the two features, locals, temperature, bias, own places, own labels, own word targets, own
# inputs.
OBJECTIVES = {
    "info_nce": lambda a, b, l, t, c, r, y, w, x: o.info_nce(a, gather_rows(b), r, temperature=t),
    "info_nce_tiled": lambda a, b, l, t, c, r, y, w, x: o.info_nce(
        a, gather_rows(b), r, temperature=t, tile=(2, 3)
    ),
    "info_nce_groups": lambda a, b, l, t, c, r, y, w, x: o.info_nce(
        a, gather_rows(b), r, temperature=t, group_queries=y, group_keys=gather_rows(y)
    ),
    "info_nce_teacher": lambda a, b, l, t, c, r, y, w, x: o.info_nce(
        a, gather_rows(b), r, temperature=t, **teacher(r, x)
    ),
    "clip_loss": lambda a, b, l, t, c, r, y, w, x: o.clip_loss(a, b, temperature=t, **clip(a, b, r)),
    "clip_loss_tiled": lambda a, b, l, t, c, r, y, w, x: o.clip_loss(
        a, b, temperature=t, tile=(4, 4), groups=y, all_groups=gather_rows(y), **clip(a, b, r)
    ),
    "nt_xent": lambda a, b, l, t, c, r, y, w, x: o.nt_xent(a, b, temperature=t, **pair(a, b, r)),
    "nt_xent_tiled": lambda a, b, l, t, c, r, y, w, x: o.nt_xent(
        a, b, temperature=t, tile=(4, 4), **pair(a, b, r)
    ),
    "sigmoid_loss": lambda a, b, l, t, c, r, y, w, x: o.sigmoid_loss(
        a, b, temperature=t, bias=c, all_texts=gather_rows(b), rows=r
    ),
    "supervised_contrastive": lambda a, b, l, t, c, r, y, w, x: o.supervised_contrastive(
        a, y, temperature=t, **labelled(a, r, y)
    ),
    "nce": lambda a, b, l, t, c, r, y, w, x: o.nce(
        a, b, torch.eye(WIDTH, dtype=F64), temperature=t, num_items=100, log_normalizer=3.0
    ),
    "pair_loss": lambda a, b, l, t, c, r, y, w, x: o.pair_loss(a, y, **labelled(a, r, y)),
    "siamese_loss": lambda a, b, l, t, c, r, y, w, x: o.siamese_loss(a, b, y < 2),
    **{
        f"triplet_{mining}": lambda a, b, l, t, c, r, y, w, x, mining=mining: o.triplet_loss(
            a, y, mining=mining, margin=0.5, **labelled(a, r, y)
        )
        for mining in ("all", "hard", "semihard")
    },
    "byol_loss": lambda a, b, l, t, c, r, y, w, x: o.byol_loss(a, b),
    "simsiam_loss": lambda a, b, l, t, c, r, y, w, x: o.simsiam_loss(a, b),
    "local_information": lambda a, b, l, t, c, r, y, w, x: o.local_information(
        l, a, temperature=t, all_local=gather_rows(l), rows=r
    ),
    "alignment": lambda a, b, l, t, c, r, y, w, x: o.alignment(a, b),
    "uniformity": lambda a, b, l, t, c, r, y, w, x: o.uniformity(gather_rows(a)),
    "matching_loss": lambda a, b, l, t, c, r, y, w, x: o.matching_loss(a[:, :2], y > 0),
    "masked_language_loss": lambda a, b, l, t, c, r, y, w, x: o.masked_language_loss(
        a[:, :WORDS],
        w,
        teacher_logits=b[:, :WORDS],
        teacher_weight=0.3,
        count=replica_share((w != -100).sum(), a),
    ),
    "mmd": lambda a, b, l, t, c, r, y, w, x: o.mmd(gather_rows(a), gather_rows(b)),
    "coral": lambda a, b, l, t, c, r, y, w, x: o.coral(gather_rows(a), gather_rows(b)),
    "mean_difference": lambda a, b, l, t, c, r, y, w, x: o.mean_difference(gather_rows(a), gather_rows(b)),
    "cross_view_consistency": lambda a, b, l, t, c, r, y, w, x: o.cross_view_consistency(a, b),
    "gradient_reversal": lambda a, b, l, t, c, r, y, w, x: o.matching_loss(
        o.gradient_reversal(a, 0.3)[:, :2], y > 0
    ),
}


def parts_of(num_replicas):
    """Unequal parts of the rows; the last replica has the fewest."""
    return {1: [11], 2: [7, 4], 3: [5, 4, 2]}[num_replicas]


def gradients_of_all(module, counts, place):
    """Value and gradients of every objective on this replica's part of the rows."""
    torch.manual_seed(1)
    inputs = torch.randn(ROWS, WIDTH, dtype=F64)
    part = slice(sum(counts[:place]), sum(counts[: place + 1]))
    x, labels, words = inputs[part], LABELS[part], TARGETS[part]
    found = {}
    for name, objective in OBJECTIVES.items():
        module.zero_grad(set_to_none=True)
        first, second, local, temperature, bias = module(x)
        loss = objective(first, second, local, temperature, bias, own_rows(x), labels, words, x)
        loss = loss * replica_weight(x)
        # Everything takes part, or DDP would wait for the gradients of what does not.
        anchor = sum(value.sum() for value in (first, second, local, temperature, bias))
        (loss + 0 * anchor).backward()
        found[name] = [loss.detach().clone(), *(p.grad.clone() for p in module.parameters())]
    return found


def check_gather(place, counts):
    own = torch.full((counts[place], 2), float(place), requires_grad=True)
    everyone = gather_rows(own)
    assert everyone[:, 0].tolist() == [float(r) for r, count in enumerate(counts) for _ in range(count)]
    (everyone * (place + 1)).sum().backward()
    assert (own.grad == sum(range(1, len(counts) + 1))).all()  # summed over the replicas
    assert own_rows(own).tolist() == list(range(sum(counts[:place]), sum(counts[: place + 1])))
    assert gather_rows(own_rows(own)).tolist() == list(range(sum(counts)))
    assert gather_rows(own > 0).dtype == torch.bool
    tokens = torch.ones(counts[place], 2 + place, dtype=torch.int64)
    assert gather_rows(tokens, lengths_vary=True).shape == (sum(counts), 1 + len(counts))
    # One item on the first replica: each divides by its share of one.
    item = replica_share(torch.tensor(int(place == 0)), own)
    assert float(item) == pytest.approx(counts[place] / sum(counts))
    nothing = torch.ones(counts[place] if place == 0 else 0, 2, requires_grad=True)
    gathered = gather_rows(nothing)
    gathered.sum().backward()
    assert gathered.shape[0] == counts[0]
    assert (rank(), world_size(), row_counts(own)) == (place, len(counts), counts)
    statistics = [torch.full((2, 3), float(place)), torch.tensor([2.0 * place])]
    average_over_replicas(statistics)
    middle = (len(counts) - 1) / 2
    torch.testing.assert_close(statistics, [torch.full((2, 3), middle), torch.tensor([2 * middle])])
    check_even(place, len(counts))


def check_even(place, num_replicas):
    own = torch.full((3, 2), float(place))
    tokens = torch.ones(3, 2 + place)
    asked = [gather_rows(own), own_rows(own), gather_rows(tokens, lengths_vary=True)]
    messages, sent, gather = [], [], dist.all_gather
    dist.all_gather = lambda pieces, rows: (
        messages.append(rows.shape),
        sent.append(rows.data_ptr()),
        gather(pieces, rows),
    )
    try:
        with even_rows():
            known = [gather_rows(own), own_rows(own), gather_rows(tokens, lengths_vary=True)]
            assert row_counts(own) == [3] * num_replicas
    finally:
        dist.all_gather = gather
    torch.testing.assert_close(known, asked)
    # The rows, the lengths of the tokens, and the tokens.
    assert messages == [(3, 2), (1,), (3, 1 + num_replicas)]
    assert sent[0] == own.data_ptr()  # as they are: there is nothing to pad
    assert row_counts(own[place:]) == [3 - r for r in range(num_replicas)]  # asked again outside


def replica(place, ports, folder):
    """One of three processes: all three together, then the first two alone (starting them is what takes
    long)."""
    torch.set_num_threads(1)
    for num_replicas, port in ports.items():
        if place < num_replicas:
            measure(place, num_replicas, port, folder)


def measure(place, num_replicas, port, folder):
    address = f"tcp://127.0.0.1:{port}"
    patience = timedelta(seconds=60)  # a replica that waits in vain fails, and so do all
    dist.init_process_group(
        "gloo", init_method=address, rank=place, world_size=num_replicas, timeout=patience
    )
    counts = parts_of(num_replicas)
    check_gather(place, counts)
    torch.manual_seed(0)
    module = DistributedDataParallel(Towers())
    found = gradients_of_all(module, counts, place)
    for values in found.values():
        dist.all_reduce(values[0])
    if place == 0:
        torch.save(found, folder / f"{num_replicas}.pt")
    # DDP's reducer must not be the last to hold the group: it would wait, with Python's lock in hand, for
    # gloo's threads, which may be waiting for that lock to free a tensor.
    del module
    dist.barrier()  # one that leaves while others still talk makes gloo abort now and then
    dist.destroy_process_group()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def replicas(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicas")
    mp.spawn(replica, args=({3: free_port(), 2: free_port()}, folder), nprocs=3)
    return {count: torch.load(folder / f"{count}.pt") for count in (2, 3)}


@pytest.mark.parametrize("num_replicas", [2, 3])
def test_replicas_equal_one_process(num_replicas, replicas):
    found = replicas[num_replicas]
    torch.manual_seed(0)
    expected = gradients_of_all(Towers(), parts_of(1), 0)
    assert found.keys() == expected.keys()
    for name, (value, *gradients) in expected.items():
        torch.testing.assert_close(found[name][0] / num_replicas, value, rtol=1e-10, atol=1e-12, msg=name)
        ours = torch.cat([gradient.flatten() for gradient in found[name][1:]])
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        error = float((ours - whole).norm() / whole.norm())
        assert error < 1e-10, f"{name}: relative error {error:.1e}"


def test_alone_everything_is_the_identity():
    rows = torch.randn(4, 3, requires_grad=True)
    assert gather_rows(rows) is rows
    assert gather_rows(rows, lengths_vary=True) is rows
    assert own_rows(rows).tolist() == [0, 1, 2, 3]
    assert (world_size(), rank(), row_counts(rows)) == (1, 0, [4])
    assert replica_weight(rows) == 1.0
    assert float(replica_share(torch.tensor(3), rows)) == 3.0
    assert float(replica_share(torch.tensor(0), rows)) == 1.0
    assert math.isclose(replica_weight(rows[:0]), 0.0)
