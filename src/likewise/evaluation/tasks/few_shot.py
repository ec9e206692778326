"""Few-shot classification: is a class recognised by a few examples?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likewise.data.columns import OPTIONAL, Needs
from likewise.errors import ConfigError
from likewise.evaluation.base import Figure, Task, task
from likewise.evaluation.classes import measure_domains, within_domain_figures
from likewise.evaluation.context import Context
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

    def __post_init__(self) -> None:
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
        return measure_domains(
            lambda domains: _episodes(context, options, domains), context.validation, _MEASURED
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
