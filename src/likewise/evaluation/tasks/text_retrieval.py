"""Retrieval of texts by texts: does each find the others of its group?"""

from __future__ import annotations

from typing import Any

from likewise.data import Splits
from likewise.data.columns import OPTIONAL, Needs
from likewise.evaluation.base import Figure, NoOptions, Task, has_column, task
from likewise.evaluation.context import Context
from likewise.metrics.retrieval import RECALL_AT
from likewise.metrics.texts.similarity import lexical_retrieval, text_retrieval

__all__ = ["TextRetrieval"]


@task("text-retrieval")
class TextRetrieval(Task):
    """Texts of one group: of one row, or of rows with the same group."""

    title = "Retrieval of texts by texts"
    summary = "each text finds the others that mean the same"
    needs = Needs("text", group=OPTIONAL)
    abilities = ("encode_texts",)
    order = 13
    monitored = "always"
    figures = (
        *(
            Figure(
                f"r{k}",
                f"R@{k}",
                "share",
                "higher",
                f"chance_r{k}",
                headline="Right text first" if k == 1 else None,
                curve=True,
            )
            for k in RECALL_AT
        ),
        Figure(
            "mean_reciprocal_rank",
            "Mean reciprocal rank",
            better="higher",
            chance="chance_mean_reciprocal_rank",
            curve=True,
        ),
        Figure("tfidf_r1", "R@1 of tf-idf", "share", "higher", baseline=True),
        Figure(
            "tfidf_mean_reciprocal_rank", "Mean reciprocal rank of tf-idf", better="higher", baseline=True
        ),
        Figure("num_texts", "Texts with another of their group", "count"),
    )

    def supports(self, splits: Splits) -> bool:
        """See `Task.supports`; where there are images, retrieval across the two says more."""
        data = splits.validation
        if data is None or has_column(data, "image") or not super().supports(splits):
            return False
        rows = list(zip(data.groups.tolist(), data.texts or (), strict=True))
        return len({(group, text) for group, texts in rows for text in texts}) > len({row[0] for row in rows})

    def run(self, context: Context, options: NoOptions) -> dict[str, Any]:
        """See `Task.run`."""
        groups, ids = context.validation.groups[context.caption_rows], context.caption_ids
        baseline = lexical_retrieval(context.captions, groups, ids)
        return text_retrieval(context.texts, groups, ids) | {
            f"tfidf_{key}": baseline[key] for key in ("r1", "mean_reciprocal_rank")
        }
