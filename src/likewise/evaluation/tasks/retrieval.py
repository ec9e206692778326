"""Retrieval: do images find their captions, and captions their images?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from likewise.data.columns import Needs
from likewise.errors import AbilityError, ConfigError
from likewise.evaluation.base import Figure, Task, task
from likewise.evaluation.context import Context
from likewise.metrics.reranking import Judge, reranked_retrieval
from likewise.metrics.retrieval import PUBLISHED, RECALL_AT, retrieval
from likewise.model.model import Model

__all__ = ["Retrieval", "RetrievalOptions", "direction", "pair_judge"]


@dataclass(frozen=True, kw_only=True)
class RetrievalOptions:
    """Options of retrieval."""

    rerank: int | None = None
    """retrieval: re-rank this many of each query's best by cosine, pair by pair (models that can match)."""
    rerank_by: Literal["both", "match"] = "both"
    """retrieval: order re-ranked candidates by the match's log-odds plus the scaled cosine (both), or by the
    log-odds alone, as in the papers (match)."""

    def __post_init__(self) -> None:
        if self.rerank is not None and self.rerank < 1:
            raise ConfigError(f"--rerank must be at least 1, got {self.rerank}.")
        if self.rerank_by not in ("both", "match"):
            raise ConfigError(f"--rerank-by must be 'both' or 'match', got {self.rerank_by!r}.")
        if self.rerank_by != "both" and self.rerank is None:
            raise ConfigError("--rerank-by says how --rerank's candidates are ordered; give --rerank K too.")


def direction(key: str, title: str, headline: str) -> tuple[Figure, ...]:
    """Figures of one direction.

    Args:
        key: begins their keys.
        title: begins their titles.
        headline: title of R@1 among the main figures.
    """
    recalls = [
        Figure(
            f"{key}_r{k}",
            f"{title}, R@{k}",
            "share",
            "higher",
            headline=headline if k == 1 else None,
            curve=True,
        )
        for k in RECALL_AT
    ]
    found = (
        *recalls,
        Figure(f"{key}_median_rank", f"{title}, median rank", better="lower"),
        Figure(f"{key}_mean_reciprocal_rank", f"{title}, mean reciprocal rank", better="higher"),
    )
    return tuple(replace(figure, chance=f"chance_{figure.key}") for figure in found)


_PLAIN = (
    *direction("image_to_text", "Image to text", "Right caption first"),
    *direction("text_to_image", "Text to image", "Right image first"),
)
# Chance is the same: re-ordering a random order leaves it random.
_RERANKED = tuple(
    replace(
        figure,
        key=f"reranked_{figure.key}",
        title=f"Re-ranked: {figure.title[0].lower()}{figure.title[1:]}",
        headline=None,
        curve=False,
    )
    for figure in _PLAIN
)
_PUBLISHED = tuple(
    replace(
        figure,
        key=f"{PUBLISHED}{figure.key}",
        title=f"Published protocol: {figure.title[0].lower()}{figure.title[1:]}",
        chance=str(figure.chance).replace("chance_", f"chance_{PUBLISHED}"),
        headline=None,
        curve=False,
    )
    for figure in (*_PLAIN, *_RERANKED)
    if figure.unit == "share"
)


@task("retrieval")
class Retrieval(Task):
    """Retrieval by cosine, in both directions; optionally in two stages."""

    title = "Retrieval"
    summary = "captions for images and back"
    needs = Needs("image", "text")
    abilities = ("encode_images", "encode_texts")
    options = RetrievalOptions
    order = 10
    monitored = "always"
    figures = (
        *_PLAIN,
        Figure("num_images", "Images", "count"),
        Figure("num_texts", "Texts", "count"),
        Figure("num_judged", "Candidates judged again", "count"),
        *_RERANKED,
        *_PUBLISHED,
    )

    def check(self, model: Model, options: RetrievalOptions) -> None:
        """See `Task.check`; re-ranking needs the ability to match."""
        super().check(model, options)
        if options.rerank is not None and "match" not in model.abilities:
            raise AbilityError(
                f"re-ranking judges pairs of an image and a text, and this model ({model.config['method']}) "
                "cannot; leave --rerank out, or train one of the method tcl."
            )

    def run(self, context: Context, options: RetrievalOptions) -> dict[str, Any]:
        """See `Task.run`."""
        groups = context.validation.groups
        given = (context.images, context.texts, groups, groups[context.caption_rows])
        figures = dict(retrieval(*given, text_ids=context.caption_ids))
        if options.rerank is not None:
            figures |= reranked_retrieval(
                *given,
                judge=pair_judge(context, options),
                num_judged=options.rerank,
                text_ids=context.caption_ids,
            )
        return dict(sorted(figures.items(), key=lambda figure: PUBLISHED in figure[0]))  # those come last


def pair_judge(context: Context, options: RetrievalOptions) -> Judge:
    """Scores pairs of a validation image and a caption, by a model that can match."""
    scorer = context.model.judge_dataset(context.validation, context.captions)
    return scorer if options.rerank_by == "match" else scorer.posterior
