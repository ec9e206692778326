"""The first paragraph of a report and its main figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from likewise.data.columns import MAIN
from likewise.evaluation.base import Task
from likewise.evaluation.registry import tasks
from likewise.methods.catalog import known_method
from likewise.metrics.collapse import collapse_warning
from likewise.reporting.formatting import (
    format_figure,
    format_percent,
    format_plain,
    method_title,
    number_in,
)
from likewise.reporting.inputs import ReportInputs

__all__ = ["Headline", "headlines", "reads_images", "reads_sounds", "summary", "warning"]

_MAX_HEADLINES = 5

_OF_CLASSES = ("few-shot", "verification", "ranking", "clustering")
"""Tasks that compare classes with one another, for which methods that learn from labels are made."""

_SENTENCES = {
    "neighbours": "A vote of nearest neighbours names the class of {accuracy} of the images",
    "probe": "A linear probe names the class of {accuracy} of the images",
    "zero-shot": "Without any labelled example, the nearest class caption names {accuracy} of the images",
}


@dataclass(frozen=True)
class Headline:
    """One of the main figures."""

    name: str
    value: str
    beside: str
    """What to compare it with."""


def headlines(results: Mapping[str, Mapping[str, Any]], method: str | None = None) -> list[Headline]:
    """The main figures of the results, at most five: those of what the method is for.

    Args:
        results: figures by task.
        method: name of the method. Of one that learns from no labels, tasks on classes that are compared with
            one another come out near chance where images of a class have nothing more in common, so they are
            left to the tables, unless there are no others.
    """
    known = known_method(method)
    chosen = list(tasks().items())
    if known is not None and "label" not in known.needs:
        main = [(name, task) for name, task in chosen if name not in _OF_CLASSES]
        chosen = main if any(_has_headline(task, results.get(name, {})) for name, task in main) else chosen
    found = []
    for name, task in chosen:
        values = _numbers(results.get(name, {}))
        for figure in task.figures:
            if figure.headline is None or figure.key not in values:
                continue
            chance = figure.chance_in(values)
            beside = "chance not given" if chance is None else f"chance {format_figure(figure, chance)}"
            try:
                title = figure.headline.format_map(values)
            except KeyError:  # a count that the title names is missing
                title = f"{task.title}: {figure.title}"
            found.append(Headline(title, format_figure(figure, values[figure.key]), beside))
    signs = _numbers(results.get("collapse", results.get("text-collapse", {})))
    if {"effective_rank", "dimension"} <= signs.keys():
        # N centred vectors span N - 1 directions, so a small rank of few items is no collapse.
        most = min(signs["dimension"], signs.get("num_items", float("inf")) - 1)
        rank = f"{signs['effective_rank']:.0f}"
        found.append(Headline("Effective rank", rank, f"of at most {format_plain(most)}"))
    return found[:_MAX_HEADLINES]


def reads_images(inputs: ReportInputs) -> bool:
    """Whether the method, if it is known, reads images or sounds."""
    method = known_method(inputs.method)
    return method is None or any(column in method.needs for column in MAIN)


def reads_sounds(inputs: ReportInputs) -> bool:
    """Whether the method reads sounds in place of images."""
    method = known_method(inputs.method)
    return method is not None and "audio" in method.needs and "image" not in method.needs


def _has_headline(task: Task, figures: Mapping[str, Any]) -> bool:
    return any(figure.headline is not None and figure.key in figures for figure in task.figures)


def summary(inputs: ReportInputs) -> str:
    """The training and its main figures in a few sentences."""
    results = {task: _numbers(figures) for task, figures in inputs.results.items()}
    sentences = [
        _retrieval(results.get("retrieval", {}), inputs.shown_part),
        _captioning(results.get("captioning", {})),
    ]
    for task, words in _SENTENCES.items():
        figures = results.get(task, {})
        if "accuracy" in figures:
            accuracy = format_percent(figures["accuracy"])
            sentences.append(f"{words.format(accuracy=accuracy)}{_chance(figures, 'accuracy')}.")
    sentences.append(_similarity(results.get("sts", {})))
    names = [headline.name for headline in headlines(inputs.results, inputs.method)]
    if any("-shot" in name for name in names):
        sentences.append(_few_shot(results.get("few-shot", {})))
    overlap = inputs.data_summary.get("overlap")
    if any(sentences) and overlap is not None:
        sentences.append(f"But {overlap}.")
    if not any(sentences) and not headlines(inputs.results):
        sentences.append("It has not been evaluated yet.")
    return " ".join(sentence for sentence in [_training(inputs), *sentences] if sentence)


def _retrieval(figures: Mapping[str, float], part: str) -> str:
    if not {"image_to_text_r1", "text_to_image_r1"} <= figures.keys():
        return ""
    count = figures.get("num_images")
    where = (
        "On validation data" if count is None else f"Among {format_plain(count)} images of the {part} part"
    )
    return (
        f"{where}, the first caption found is right for {format_percent(figures['image_to_text_r1'])} of the "
        f"images, and the first image for {format_percent(figures['text_to_image_r1'])} of the captions"
        f"{_chance(figures, 'image_to_text_r1')}."
    )


def _captioning(figures: Mapping[str, float]) -> str:
    if not {"cider", "constant_cider"} <= figures.keys():
        return ""
    score = f"Its captions have a CIDEr-D of {figures['cider']:.2f}, the best constant caption has "
    score += f"{figures['constant_cider']:.2f}"
    if {"true_share", "constant_true_share"} <= figures.keys():
        true, constant = (format_percent(figures[key]) for key in ("true_share", "constant_true_share"))
        score += f"; {true} of them are true of their scene (the best constant: {constant})"
    return f"{score}."


def _similarity(figures: Mapping[str, float]) -> str:
    if not {"spearman", "tfidf_spearman", "num_pairs"} <= figures.keys():
        return ""
    return (
        f"On {format_plain(figures['num_pairs'])} pairs of texts its cosines agree with people's scores by "
        f"{figures['spearman']:.3f} (Spearman's correlation; word counts {figures['tfidf_spearman']:.3f})."
    )


def _few_shot(figures: Mapping[str, float]) -> str:
    if not {"accuracy", "num_ways", "num_shots"} <= figures.keys():
        return ""
    shots, interval = figures["num_shots"], figures.get("confidence_interval")
    examples = "one example" if shots == 1 else f"{shots:.0f} examples"
    within = "" if interval is None else f" ± {100 * interval:.1f}"
    return (
        f"Shown {examples} of each of {figures['num_ways']:.0f} classes, it finds the class of "
        f"{100 * figures['accuracy']:.1f}{within} % of the images{_chance(figures, 'accuracy')}."
    )


def warning(inputs: ReportInputs) -> str | None:
    """A sentence about collapse, where the results show it."""
    signs = _numbers(inputs.results.get("collapse", inputs.results.get("text-collapse", {})))
    if not {"relative_deviation", "effective_rank", "dimension", "num_items"} <= signs.keys():
        return None
    method = known_method(inputs.method)
    return collapse_warning(signs, learnt_classes=method is not None and "label" in method.needs)


def _training(inputs: ReportInputs) -> str:
    """How long it was trained."""
    name = "The model" if inputs.method is None else method_title(inputs.method)
    lines = [line for line in inputs.metrics if line.get("kind") == "train"]
    if not lines:
        return "" if inputs.method is None else f"The method is {name}."
    last = _numbers(lines[-1])
    # Each line holds the seconds since the line before it.
    seconds = [number_in(line.get("seconds")) for line in lines]
    text = f"{name} was trained"
    text += f" for {format_plain(last['step'])} steps" if "step" in last else ""
    text += f" ({last['epoch']:.1f} epochs)" if "epoch" in last else ""
    known = [value for value in seconds if value is not None]
    text += f" in {_duration(sum(known))}" if len(known) == len(lines) else ""
    return text + "."


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _chance(figures: Mapping[str, float], key: str) -> str:
    chance = figures.get(f"chance_{key}")
    return "" if chance is None else f" (chance {format_percent(chance)})"


def _numbers(figures: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among figures; means over several seeds."""
    found = {key: number_in(value) for key, value in figures.items()}
    return {key: value for key, value in found.items() if value is not None}
