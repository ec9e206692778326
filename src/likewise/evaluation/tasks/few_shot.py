"""Few-shot classification: is a class recognised by a few examples?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.columns import OPTIONAL, Needs
from likewise.errors import ConfigError
from likewise.evaluation.base import Figure, Task, task
from likewise.evaluation.classes import measure_domains, within_domain_figures
from likewise.evaluation.context import Context
from likewise.evaluation.trials import measure_trials
from likewise.messages import first_names
from likewise.metrics.few_shot import few_shot, most_ways

__all__ = ["FewShot", "FewShotOptions"]

_MAX_WAYS = 20


@dataclass(frozen=True, kw_only=True)
class FewShotOptions:
    """Options of few-shot classification."""

    ways: int | None = None
    """few-shot: classes of an episode; as many as the data has, at most 20, when not given."""
    shots: int = 1
    """few-shot: examples of each class of an episode."""
    episodes: int = 1000
    """few-shot: number of episodes."""
    trials: str | None = None
    """few-shot: a table of fixed trials in place of random episodes: columns trial, role (support or query),
    label and image."""

    def __post_init__(self) -> None:
        if self.trials is not None and replace(self, trials=None) != FewShotOptions():
            raise ConfigError("--trials names every image: leave --ways, --shots and --episodes out.")
        for name, value, least in (
            ("ways", self.ways, 2),
            ("shots", self.shots, 1),
            ("episodes", self.episodes, 2),
        ):
            if value is not None and value < least:
                raise ConfigError(f"--{name} must be at least {least}, got {value}.")


_MEASURED = (
    Figure(
        "accuracy",
        "Accuracy",
        "share",
        "higher",
        "chance_accuracy",
        headline="{num_ways:.0f}-way {num_shots:.0f}-shot accuracy",
        curve=True,
    ),
    Figure("confidence_interval", "95 % interval, plus or minus", "share"),
)


@task("few-shot")
class FewShot(Task):
    """Accuracy over episodes: a query goes to the nearest mean of a class's examples."""

    title = "Few-shot classification"
    summary = "classes by a few examples each"
    needs = Needs("image", "label", domain=OPTIONAL)
    abilities = ("encode_images",)
    options = FewShotOptions
    order = 30
    monitored = "new classes"
    least_classes = (2, 2)
    figures = (
        *_MEASURED,
        Figure("num_ways", "Ways", "count"),
        Figure("num_shots", "Shots", "count"),
        Figure("num_queries", "Queries", "count"),
        Figure("num_episodes", "Episodes", "count"),
        *within_domain_figures(*_MEASURED),
        Figure("num_ways_within_domain", "Ways within a domain", "count"),
        Figure("num_domains", "Domains", "count"),
    )

    def run(self, context: Context, options: FewShotOptions) -> dict[str, Any]:
        """See `Task.run`."""
        if options.trials is not None:
            return measure_trials(context.model, options.trials)
        figures = measure_domains(
            lambda domains: _episodes(context, options, domains), context.validation, _MEASURED
        )
        note = _note_on_folders(context)
        return figures if note is None else figures | {"note": note}


def _note_on_folders(context: Context) -> str | None:
    """A note where folders are taken for classes: nothing else says that they are."""
    if context.splits.summary.get("columns", {}).get("label") != "subfolder":
        return None
    known = context.validation.label_names or []
    names = [str(known[label]) for label in np.unique(context.labels) if label >= 0]
    return (
        f"the {len(names):,} classes are the folders {first_names(names, most=3)}; if these are no classes, "
        "the figures say nothing"
    )


def _episodes(context: Context, options: FewShotOptions, domains: NDArray[np.int64] | None) -> dict[str, Any]:
    """Figures of episodes across domains, or each inside one."""
    ways = options.ways
    if ways is None:
        num_items = options.shots + 1
        ways = min(_MAX_WAYS, most_ways(context.labels, num_items=num_items, within=domains))
        if ways < 2:
            who = "only one class has" if ways else "no class has"
            items = "two" if num_items == 2 else num_items
            raise ValueError(f"{who} {items} items; an episode needs two such classes")
    figures = few_shot(
        context.images,
        context.labels,
        num_ways=ways,
        num_shots=options.shots,
        num_episodes=options.episodes,
        within=domains,
    )
    return figures if domains is None else figures | {"num_ways_within_domain": ways}
