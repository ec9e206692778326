"""`likewise evaluate RUN TASK [--data SOURCE]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Annotated, Any

import tyro

from likewise.cli.files.output_paths import check_place
from likewise.data import DataConfig
from likewise.errors import ConfigError, DataError, LikewiseError, ModelError
from likewise.evaluation.base import NoOptions
from likewise.evaluation.registry import figure_of, find_task, needs_of_tasks, tasks
from likewise.evaluation.tasks.few_shot import FewShotOptions
from likewise.evaluation.tasks.probe import ProbeOptions
from likewise.messages import printed_line
from likewise.methods.on_sounds import in_sounds
from likewise.metrics.linear_probe import NOT_CONVERGED
from likewise.model.classifiers.probe import Probe
from likewise.model.model import Model
from likewise.option_flags import parse_flags
from likewise.reporting.formatting import format_percent, format_plain, rows_by_type
from likewise.runs.evaluation import (
    fitting_tasks,
    keep_results,
    measure,
    measure_fixed_trials,
)
from likewise.runs.folder import RunFolder
from likewise.runs.open import OWN_DATA, is_run, open_model
from likewise.runs.probes import probe_file
from likewise.runs.unseen_rows import open_measured

__all__ = ["EvaluateCommand", "run"]


@dataclass(frozen=True, kw_only=True)
class EvaluateCommand:
    """Measure a trained model on validation data."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run's folder, a model folder or a hub name."""

    task: str = "all"

    data: DataConfig = field(default_factory=lambda: DataConfig(source=OWN_DATA))
    """Measured on: the validation part, of another source the test part where it names no other; or all of
    another source that names no parts (tasks that learn from labelled rows keep a drawn part of it for that).
    Rows that the run was trained on are left out."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:1, ..."""

    json: bool = False
    """Print the figures as JSON."""


def _command_type() -> Any:
    """The command's dataclass, with the options of all tasks."""
    lines = "; ".join(f"{name}: {task.summary}" for name, task in tasks().items())
    words = tyro.conf.arg(metavar="[TASK]", help=f"{lines}; all: every one that fits.")
    options = [
        (name, Annotated[kind, tyro.conf.arg(name="")], field(default_factory=kind))
        for kind, name in _option_fields().items()
    ]
    return make_dataclass(
        "EvaluateCommand",
        [("task", Annotated[str, tyro.conf.Positional, words], "all"), *options],
        bases=(EvaluateCommand,),
        namespace={"__doc__": EvaluateCommand.__doc__},
        frozen=True,
        kw_only=True,
    )


def _option_fields() -> dict[type, str]:
    """Options classes of the tasks, each with the name of the command's field that holds it."""
    kinds = dict.fromkeys(task.options for task in tasks().values())
    return {kind: f"options_{place}" for place, kind in enumerate(kinds) if kind is not NoOptions}


def run(arguments: Sequence[str]) -> None:
    """Measure, print, and write into the run's results.json."""
    options = parse_flags(_command_type(), arguments, prog="likewise evaluate")
    given = {kind: getattr(options, name) for kind, name in _option_fields().items()} | {
        NoOptions: NoOptions()
    }
    names = [options.task]
    # What can be refused without the model and the data is refused before they are opened.
    if options.task != "all":
        find_task(options.task)
        _refuse_ignored(given, names, options.task)
    saved = given[ProbeOptions].save_probe
    if saved is not None:
        saved = _place_of_probe(options.run, saved)
        given[ProbeOptions] = replace(given[ProbeOptions], save_probe=saved)
    model = open_model(options.run, options.device)
    if options.task != "all":
        task = find_task(options.task)
        task.check(model, given[task.options])  # before any source is opened, which may take long
    if (table := given[FewShotOptions].trials) is not None:
        _run_trials(options, model, table)
        return
    measured = open_measured(
        model,
        options.run,
        options.data,
        needs=needs_of_tasks(model, options.task),
        progress=not options.json,
    )
    if options.task == "all":
        names = fitting_tasks(model, measured)
        _refuse_ignored(given, names, f"all ({', '.join(names)})")
    for line in measured.lines(names):
        print(printed_line(line), file=sys.stderr if options.json else sys.stdout, flush=True)
    for note in () if measured.own else measured.whole.summary["notes"]:
        print(printed_line(f"note: {note}."), file=sys.stderr, flush=True)
    results, failed = {}, []
    for name, found in measure(model, measured, {name: given[find_task(name).options] for name in names}):
        if isinstance(found, LikewiseError):
            if options.task != "all":
                raise found
            print(f"likewise evaluate: {printed_line(found)}", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        results[name] = found
        if found.get("converged") is False:
            print(f"warning: {name}: {NOT_CONVERGED}.", file=sys.stderr, flush=True)
        if "note" in found:
            print(f"note: {name}: {found['note']}.", file=sys.stderr, flush=True)
    # Printed first: they are not lost where they cannot be written.
    if options.json:
        print(json.dumps(results, indent=2, ensure_ascii=False), flush=True)
    else:
        show_results(results, of_sounds=model.column == "audio")
    if saved is not None and "probe" in results:
        print(printed_line(f"saved the probe as {saved}"), file=sys.stderr if options.json else sys.stdout)
    if is_run(options.run):
        keep_results(RunFolder(options.run), measured, results)
    if failed:
        raise DataError(f"no figures of {' and '.join(failed)}, for the reasons above; all others are there.")


def _place_of_probe(run: str, name: str) -> str:
    """The file of a probe; ConfigError where it cannot be written, or would replace something else."""
    path = probe_file(run, name, "--save-probe")
    check_place("--save-probe", path, such_as="flowers.safetensors", inputs=())
    if path.exists():
        try:
            Probe.load(path)
        except ModelError as error:
            raise ConfigError(f"--save-probe {name} would replace a file: {error} Name another.") from error
    return str(path)


def _run_trials(options: Any, model: Model, table: str) -> None:
    """Measure fixed trials, which name their own images, and print the figures."""
    if options.task != "few-shot" or options.data != DataConfig(source=OWN_DATA):
        raise ConfigError("--trials names its own images; give the task few-shot, and no --data.")
    run = RunFolder(options.run) if is_run(options.run) else None
    figures = measure_fixed_trials(model, table, run)
    print(f"measured on {figures['measured_on']}", file=sys.stderr if options.json else sys.stdout)
    print(f"note: few-shot: {figures['note']}.", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps({"few-shot": figures}, indent=2, ensure_ascii=False), flush=True)
    else:
        show_results({"few-shot": figures})


def _refuse_ignored(given: Mapping[type, Any], names: Sequence[str], chosen: str) -> None:
    """Reject options, other than defaults, that none of the tasks reads."""
    read = {find_task(name).options for name in names}
    for kind, options in given.items():
        flags = [
            f"--{one.name.replace('_', '-')}"
            for one in fields(kind)
            if getattr(options, one.name) != one.default
        ]
        if flags and kind not in read:
            readers = " and ".join(name for name, task in tasks().items() if task.options is kind)
            raise ConfigError(f"{', '.join(flags)}: only {readers} reads this; the task is {chosen}.")


def show_results(results: Mapping[str, Mapping[str, Any]], *, of_sounds: bool = False) -> None:
    """Print a table: task, figure, value, chance, and which direction is better; in words of sounds for a
    model of these."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("task", "figure", "value", "chance", "better"):
        table.add_column(title, justify="right" if title in ("value", "chance") else "left")
    for task, figures in results.items():
        for key, value in figures.items():
            if key.startswith("chance_") or isinstance(value, (str, list, dict)) or value is None:
                continue
            figure = figure_of(task, key)
            title = in_sounds(figure.title) if of_sounds else figure.title
            show = format_percent if figure.unit == "share" else format_plain
            if isinstance(value, bool):
                table.add_row(task, title, "yes" if value else "no")
                continue
            chance = figure.chance_in(figures)
            beside = "" if chance is None else show(chance)
            table.add_row(task, title, show(value), beside, figure.better or "")
        for kind, rows in rows_by_type(figures).items():
            table.add_row(task, f"by {kind} (chance: from the text alone)")
            for one in rows:
                name = escape(printed_line(f"  {one.name} ({format_plain(one.num_rows)})"))
                shares = format_percent(one.accuracy), one.beside
                table.add_row(task, name, *shares, "higher")
    Console().print(table)
