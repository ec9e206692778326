"""The first paragraph of a report and its main figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likewise.methods.catalog import methods
from likewise.metrics.collapse import collapse_warning
from likewise.reporting.formatting import format_percent, format_plain, method_name
from likewise.reporting.inputs import ReportInputs

__all__ = ["Headline", "headlines", "summary", "warning"]


@dataclass(frozen=True)
class Headline:
    """One of the main figures."""

    name: str
    value: str
    beside: str
    """What to compare it with."""


_MAIN = (
    ("retrieval", "image_to_text_r1", "Right caption first"),
    ("retrieval", "text_to_image_r1", "Right image first"),
    ("neighbours", "accuracy", "Neighbour accuracy"),
    ("probe", "accuracy", "Linear probe accuracy"),
    ("zero-shot", "accuracy", "Zero-shot accuracy"),
    ("few-shot", "accuracy", "Few-shot accuracy"),
    ("ranking", "r_precision", "R-precision"),
)


def headlines(results: Mapping[str, Mapping[str, Any]]) -> list[Headline]:
    """The main figures that the results hold, at most five."""
    found = []
    for task, metric, name in _MAIN:
        value = _number(results.get(task, {}).get(metric))
        if value is not None:
            chance = _number(results[task].get("chance_" + metric))
            beside = "chance not given" if chance is None else f"chance {format_percent(chance)}"
            name = _ways_and_shots(results[task]) if task == "few-shot" else name
            found.append(Headline(name, format_percent(value), beside))
    signs = results.get("collapse", {})
    rank, dimension = _number(signs.get("effective_rank")), _number(signs.get("dimension"))
    if rank is not None and dimension is not None:
        items = _number(signs.get("num_items"))
        # N centred vectors lie in N - 1 directions, so with few items a small rank is no collapse.
        most = dimension if items is None else min(dimension, items - 1)
        found.append(Headline("Effective rank", f"{rank:.0f}", f"of at most {format_plain(most)}"))
    return found[:5]


def _ways_and_shots(figures: Mapping[str, Any]) -> str:
    ways, shots = (_number(figures.get(name)) for name in ("num_ways", "num_shots"))
    if ways is None or shots is None:
        return "Few-shot accuracy"
    return f"{ways:.0f}-way {shots:.0f}-shot accuracy"


def summary(inputs: ReportInputs) -> str:
    """What was trained on what, and how well it does, in a few sentences."""
    sentences = [_training(inputs)]
    retrieval = inputs.results.get("retrieval", {})
    there, back = (_number(retrieval.get(f"{way}_r1")) for way in ("image_to_text", "text_to_image"))
    if there is not None and back is not None:
        among = _number(retrieval.get("num_images"))
        where = (
            "" if among is None else f" Among {format_plain(among)} images of the {inputs.shown_part} part,"
        )
        where = where.strip() or "Held out,"
        sentences.append(
            f"{where} the first caption found is right for {format_percent(there)} of the "
            f"images, and the first image for {format_percent(back)} of the captions"
            f"{_chance(retrieval, 'image_to_text_r1')}."
        )
    for task, words in (
        ("neighbours", "A vote of nearest neighbours names the class of"),
        ("probe", "A linear probe names the class of"),
        ("zero-shot", "Without any labelled example, the nearest class caption names"),
    ):
        accuracy = _number(inputs.results.get(task, {}).get("accuracy"))
        if accuracy is not None:
            chance = _chance(inputs.results[task], "accuracy")
            sentences.append(f"{words} {format_percent(accuracy)} of the images{chance}.")
    sentences.append(_few_shot(inputs.results.get("few-shot", {})))
    overlap = inputs.data_summary.get("overlap")
    if overlap is not None and any(sentences[1:]):
        sentences.append(f"But {overlap}.")
    if not any(sentences[1:]) and not headlines(inputs.results):
        sentences.append("It has not been evaluated yet.")
    return " ".join(sentence for sentence in sentences if sentence)


def _few_shot(figures: Mapping[str, Any]) -> str:
    names = ("accuracy", "confidence_interval", "num_ways", "num_shots")
    accuracy, interval, ways, shots = (_number(figures.get(name)) for name in names)
    if accuracy is None or ways is None or shots is None:
        return ""
    examples = "one example" if shots == 1 else f"{shots:.0f} examples"
    within = "" if interval is None else f" ± {100 * interval:.1f}"
    return (
        f"Shown {examples} of each of {ways:.0f} classes, it finds the class of "
        f"{100 * accuracy:.1f}{within} % of the images{_chance(figures, 'accuracy')}."
    )


def warning(inputs: ReportInputs) -> str | None:
    """The plain sentence about collapse, when the results hold its signs and they show it."""
    signs = inputs.results.get("collapse", {})
    needed = ("relative_deviation", "effective_rank", "dimension", "num_items")
    values = {name: _number(signs.get(name)) for name in needed}
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) < len(needed):
        return None
    num_classes = _number(signs.get("num_classes"))
    method = methods().get(inputs.method or "")
    learnt_classes = method is not None and "label" in method.needs
    return collapse_warning(
        known if num_classes is None else known | {"num_classes": num_classes}, learnt_classes=learnt_classes
    )


def _training(inputs: ReportInputs) -> str:
    """How long it was trained."""
    name = "The model" if inputs.method is None else method_name(inputs.method)
    lines: Sequence[Mapping[str, Any]] = [line for line in inputs.metrics if line.get("kind") == "train"]
    if not lines:
        return "" if inputs.method is None else f"The method is {name}."
    steps = _number(lines[-1].get("step"))
    epochs = _number(lines[-1].get("epoch"))
    # Each line tells of the steps since the one before.
    parts = [_number(line.get("seconds")) for line in lines]
    seconds = None if None in parts else sum(part for part in parts if part is not None)
    text = f"{name} was trained"
    text += "" if steps is None else f" for {format_plain(steps)} steps"
    text += "" if epochs is None else f" ({epochs:.1f} epochs)"
    text += "" if seconds is None else f" in {_duration(seconds)}"
    return text + "."


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    if seconds < 5400:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _chance(figures: Mapping[str, Any], metric: str) -> str:
    chance = _number(figures.get("chance_" + metric))
    return "" if chance is None else f" (chance {format_percent(chance)})"


def _number(value: Any) -> float | None:
    if isinstance(value, Mapping):  # over several seeds
        value = value.get("mean")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
