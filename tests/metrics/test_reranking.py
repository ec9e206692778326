import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from likewise.metrics import inputs as arrays
from likewise.metrics import knn_predict, retrieval
from likewise.metrics.reranking import reranked_retrieval


@pytest.mark.parametrize(("asked", "judged"), [(3, 3), (8, 8), (400, 8)])
def test_no_more_are_judged_than_there_are(asked, judged):
    rows, groups = np.eye(8, dtype=np.float32), np.arange(8)
    figures = reranked_retrieval(
        rows,
        rows,
        groups,
        groups,
        judge=lambda images, texts: (images == texts).astype(np.float32),
        num_judged=asked,
    )
    assert figures["num_judged"] == judged


def test_published_figures_of_two_stages_judge_each_pair_once():
    rows, groups, asked = np.eye(3, dtype=np.float32), np.arange(3), []

    def judge(images, texts):
        asked.extend(zip(images.tolist(), texts.tolist(), strict=True))
        return (texts == 1).astype(np.float32)  # text 1 before all others

    figures = reranked_retrieval(
        rows, rows, groups, groups, judge=judge, num_judged=3, text_ids=np.array([4, 4, 5])
    )
    assert len(asked) == 2 * 9
    assert figures["reranked_image_to_text_r1"] == pytest.approx(2 / 3)  # text 1 is text 0, word for word
    assert figures["published_reranked_image_to_text_r1"] == pytest.approx(1 / 3)


def constant(images, texts):
    return np.zeros(len(images), np.float32)


ROWS, GROUPS = torch.eye(8), torch.arange(8)
# How many tables of similarities each needs: one a direction.
TABLES = {
    "retrieval": (2, lambda: retrieval(ROWS, ROWS, GROUPS, GROUPS)),
    "reranked_retrieval": (
        2,
        lambda: reranked_retrieval(ROWS, ROWS, GROUPS, GROUPS, judge=constant, num_judged=3),
    ),
    "knn_predict": (1, lambda: knn_predict(ROWS, GROUPS, ROWS, k=3)),
}


class Products(TorchDispatchMode):
    """Counts matrix products."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten.mm.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", TABLES)
def test_rows_are_looked_at_and_compared_once(name, monkeypatch):
    wanted, call = TABLES[name]
    checked, check = [], arrays.as_matrix
    monkeypatch.setattr(arrays, "as_matrix", lambda values, name: checked.append(name) or check(values, name))
    with Products() as products:
        call()
    assert len(checked) == 2, checked
    assert products.count == wanted
