import numpy as np
import pytest

from likewise.evaluation.reranking import reranked_retrieval


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
