"""The two domains of a training: what they are called, and whether they fit together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from likewise.data.columns import Needs
from likewise.data.config import DataConfig
from likewise.data.filtering import Loaded, domain_role
from likewise.errors import ConfigError, SourceError
from likewise.messages import closest, first_names

__all__ = ["check_domain_column", "class_notes", "name_domains", "rename_classes", "role_of"]

_MOST_NAMES = 8


def role_of(loaded: Loaded, domain: str | None, config: DataConfig) -> str | None:
    """The domain of a record, "source" or "target"; None where there is but one."""
    return loaded.role or (None if domain is None else domain_role(domain, config))


def check_domain_column(loaded: Loaded, config: DataConfig, needs: Needs) -> None:
    """Check the domain column of a single source, where both domains are needed.

    A domain is never taken for the target, or for the source, because its name is unknown.

    Raises:
        ConfigError: `target_domain` names none of its domains.
        SourceError: it has one domain, or others than source and target and nothing says which is which.
    """
    if config.target is not None or "domain" not in needs.required():
        return
    counts = Counter(record.domain or "" for record in loaded.records)
    for name in config.target_domains if config.target_domain is not None else ():
        if name not in counts:
            hint = closest(name, counts) or f"there are {first_names(sorted(counts), most=_MOST_NAMES)}."
            raise ConfigError(f"--data.target-domain: no row is of the domain {name!r}; {hint}")
    roles = {domain_role(name, config) for name in counts}
    found = first_names([f"{name} ({count:,})" for name, count in counts.most_common()], most=_MOST_NAMES)
    if len(roles) < 2 and len(counts) < 2:
        raise SourceError(
            f"{config.source}: all rows are of one domain, {found}; name a second source with "
            "--data.target, or give rows of both"
        )
    if len(roles) < 2 or (config.target_domain is None and counts.keys() != {"source", "target"}):
        raise SourceError(
            f"{config.source}: the domain column holds {found}, and expected are source and target; "
            "correct it, or say which are the target with --data.target-domain"
        )


def name_domains(loaded: Sequence[Loaded]) -> None:
    """Call the domains source and target, unless both sources name theirs, and differently."""
    named: dict[str | None, set[str | None]] = {"source": set(), "target": set()}
    for one in loaded:
        named[one.role] |= {record.domain for record in one.records}
    if None in named["source"] | named["target"] or named["source"] & named["target"]:
        for one in loaded:
            for record in one.records:
                record.values["domain"] = one.role


def rename_classes(loaded: Sequence[Loaded], config: DataConfig) -> None:
    """Give the target's classes the source's names, as `target_classes` says.

    Raises:
        ConfigError: a name is in none of the two domains.
    """
    if not config.class_map:
        return
    own, others = _classes(loaded, config)
    for place, names, known in (
        ("target", config.class_map, others),
        ("source", config.class_map.values(), own),
    ):
        for name in names:
            if name not in known:
                hint = closest(name, known) or f"there are {first_names(sorted(known), most=_MOST_NAMES)}."
                raise ConfigError(f"--data.target-classes: the {place} has no class {name!r}; {hint}")
    for one in loaded:
        for record in one.records:
            if role_of(one, record.domain, config) == "target" and record.label is not None:
                record.values["label"] = config.class_map.get(record.label, record.label)


def class_notes(loaded: Sequence[Loaded], config: DataConfig) -> list[str]:
    """Notes on classes that only one of two domains has."""
    own, others = _classes(loaded, config)
    if not own or not others or own == others:
        return []
    hint = "; where they are classes of the source under another name, give --data.target-classes"
    notes = []
    if others - own:
        shown = first_names(sorted(others - own), most=_MOST_NAMES)
        notes.append(f"the source lacks classes of the target: {shown}; they cannot be recognised{hint}")
    if own - others:
        shown = first_names(sorted(own - others), most=_MOST_NAMES)
        notes.append(f"the target lacks classes of the source: {shown}")
    return notes


def _classes(loaded: Sequence[Loaded], config: DataConfig) -> tuple[set[str], set[str]]:
    """The classes of the source, and those of the target."""
    named: dict[bool, set[str]] = {False: set(), True: set()}
    for one in loaded:
        for record in one.records:
            if record.label is not None:
                named[role_of(one, record.domain, config) == "target"].add(record.label)
    return named[False], named[True]
