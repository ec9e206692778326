"""The report on a data source, printed to the terminal."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from likewise.data.record import group_by_reason
from likewise.data.source_report import Example, SourceReport
from likewise.messages import printed_line

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_report"]

_MANY = 12


def print_report(report: SourceReport, console: Console | None = None) -> None:
    """Print a report.

    Args:
        report: of `inspect_source`.
        console: where to print; the standard output when None.
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console()
    facts = _facts(report)
    if console.is_terminal:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column()
        for name, value in facts:
            table.add_row(name, escape(printed_line(value)))
        console.print(table)
    else:  # one fact a line, for programs
        width = max(len(name) for name, _ in facts)
        for name, value in facts:
            console.print(f"{name:<{width}}  {escape(printed_line(value))}".rstrip(), soft_wrap=True)
    console.print("\n[bold]examples[/bold]")
    for example in report.examples:
        console.print("  " + escape(printed_line(_one_line(example))), soft_wrap=not console.is_terminal)
    if report.bad_records:
        console.print(f"\n[bold]bad records[/bold] {len(report.bad_records):,}, the first of each kind")
        for bad, count in group_by_reason(report.bad_records)[:_MANY]:
            more = f" (and {count - 1:,} more)" if count > 1 else ""
            console.print(
                "  " + escape(printed_line(f"{bad.place}: {bad.reason}{more}")),
                soft_wrap=not console.is_terminal,
            )


def _facts(report: SourceReport) -> list[tuple[str, str]]:
    """The facts, as (name, sentence)."""
    facts = [
        ("source", report.source),
        ("understood as", report.kind),
        ("columns", ", ".join(f"{role}: {name}" for role, name in report.columns.items())),
        ("all columns", ", ".join(report.columns_found)),
        *([("columns not read", ", ".join(report.columns_unread))] if report.columns_unread else []),
        ("records", _counts(report.counts)),
        *([("images", f"{report.num_images:,}")] if report.num_images or not report.num_sounds else []),
    ]
    if report.sound_seconds is not None:
        shortest_s, median_s, longest_s = report.sound_seconds
        lengths = f"{shortest_s:.2f} to {longest_s:,.2f} s, median {median_s:.2f} s"
        facts.append(("sounds", f"{report.num_sounds:,}: {lengths}"))
    if report.picture_sizes is not None:
        named = ", ".join(f"{name} {w} x {h}" for name, (w, h) in report.picture_sizes.items())
        facts.append(("image sizes", f"{named} ({report.num_sizes:,} different)"))
    if report.texts_per_record is not None and report.text_characters is not None:
        fewest, mean, most = report.texts_per_record
        shortest, median, longest = report.text_characters
        each = f"{most} a record" if fewest == most else f"{fewest} to {most} a record, {mean:.1f} on average"
        facts.append(("texts", f"{report.num_texts:,}: {each}"))
        facts.append(("text length", f"{shortest} to {longest} characters, median {median}"))
        facts.append(
            ("repeated texts", f"{report.num_repeated_texts:,}" if report.num_repeated_texts else "none")
        )
    if report.labels:
        facts.append(("labels", f"{len(report.labels):,}: {_counts(report.labels)}"))
    if report.domains:
        facts.append(("domains", _counts(report.domains)))
    if report.lacking:
        counted = ", ".join(f"without a {name} {count:,}" for name, count in report.lacking.items())
        facts.append(("incomplete", counted))
    if report.num_images or report.num_sounds:
        facts.append(("exact duplicates", _duplicates(report.exact_duplicates)))
        if report.num_images:
            facts.append(("near duplicates", _duplicates(report.near_duplicates)))
        if report.duplicates_across_splits:
            facts.append(
                ("", f"{report.duplicates_across_splits:,} of these groups lie in more than one split")
            )
    shares = f"{report.bad_share:.2%} of records set aside, {report.dropped_share:.2%} of texts dropped"
    reasons = Counter(bad.reason.split(":")[0] for bad in report.bad_records)
    facts.append(("bad", f"{shares}; {_counts(dict(reasons.most_common()))}" if reasons else "none"))
    return facts + [("note", note) for note in report.notes]


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{name} {count:,}" for name, count in list(counts.items())[:_MANY]]
    return ", ".join(shown) + (f", and {len(counts) - _MANY:,} more" if len(counts) > _MANY else "")


def _duplicates(groups: list[list[str]]) -> str:
    if not groups:
        return "none"
    first = "; ".join(" = ".join(group[:3]) for group in groups[:3])
    return f"{len(groups):,} groups, {sum(map(len, groups)):,} records: {first}"


def _one_line(example: Example) -> str:
    parts = [example.place]
    if example.id != example.place:
        parts.append(example.id)
    if example.size is not None:
        parts.append(f"{example.size[0]} x {example.size[1]}")
    parts += [value for value in (example.split, example.label) if value is not None]
    texts = [text if len(text) <= 80 else text[:79] + "…" for text in example.texts[:2]]
    more = f" (+{len(example.texts) - 2})" if len(example.texts) > 2 else ""
    return " | ".join(parts + texts) + more
