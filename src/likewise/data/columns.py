"""What a record can carry, and what a method or a task needs of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["OPTIONAL", "REQUIRED", "Need", "Needs", "required_of"]


@dataclass(frozen=True)
class Need:
    """How a method or task depends on a column.

    Attributes:
        required: rows without the column are bad records; an optional column is read where it is there.
        domain: "source" or "target": required of that domain's rows only. None: of all rows.
    """

    required: bool
    domain: str | None = None


REQUIRED = Need(True)
OPTIONAL = Need(False)


def required_of(domain: str) -> Need:
    """Required of the rows of one domain, "source" or "target"; optional in the other."""
    return Need(True, domain)


class Needs:
    """The columns that a method or task reads, such as `Needs("image", label=OPTIONAL)`.

    Columns named alone are required.

    `"image" in needs` tells whether the column is read at all.
    """

    def __init__(self, *required: str, **columns: Need) -> None:
        self.columns = dict.fromkeys(required, REQUIRED) | columns

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Needs) and self.columns == other.columns

    def __hash__(self) -> int:
        return hash(frozenset(self.columns.items()))

    def __str__(self) -> str:
        """Such as "image, label (of the source domain)"."""
        return ", ".join(
            name if need.domain is None else f"{name} (of the {need.domain} domain)"
            for name, need in self.columns.items()
            if need.required
        )

    def required(self, domain: str | None = None) -> frozenset[str]:
        """Columns required of every row; with a domain, those required of its rows too."""
        return frozenset(
            name for name, need in self.columns.items() if need.required and need.domain in (None, domain)
        )
