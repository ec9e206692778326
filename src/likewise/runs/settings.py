"""All settings of a run: one typed definition per option, read from defaults, a file and flags, in that
order."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from likewise.atomic_files import written_whole
from likewise.data import DataConfig
from likewise.encoders import ImageEncoderConfig, TextEncoderConfig
from likewise.errors import ConfigError
from likewise.messages import closest
from likewise.methods.base import Method
from likewise.methods.catalog import find_method
from likewise.option_flags import parse_flags
from likewise.runs.option_types import checked_values, misfit
from likewise.runs.training_options import TrainingConfig
from likewise.views import ViewConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Settings",
    "default_settings",
    "differences",
    "file_arguments",
    "parse_settings",
    "preset_arguments",
    "read_settings",
    "settings_type",
    "write_settings",
]

C = TypeVar("C")

# TOML has no null. An option that is None is left out, but where another value is its default: there stands
# the word, as on the command line.
_NONE = "None"

# What may differ where a run goes on: where the data lies (its fingerprint says whether it is the same), what
# computes, who is told besides metrics.jsonl, and the bound that a batch size was once decided with.
_MAY_DIFFER = {
    *("data.source", "data.validation", "data.image_root", "data.cache_dir"),
    *("training.accelerator", "training.devices", "training.num_nodes", "training.loggers"),
    "training.largest_batch_size",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(Generic[C]):
    """Everything that decides a run's outcome.

    Attributes:
        method_name: which method.
        data: the source.
        image: the image encoder (methods that read images).
        text: the text encoder (methods that read texts).
        views: the first family of random views.
        more_views: further view families, by section.
        method: the method's own Config.
        training: the loop.
    """

    method_name: str
    data: DataConfig
    image: ImageEncoderConfig
    text: TextEncoderConfig
    views: ViewConfig
    method: C
    training: TrainingConfig
    more_views: Mapping[str, ViewConfig] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse values that no option has, with the option's name, and what cannot go together."""
        checked = {name: checked_values(name, section) for name, section in self.sections().items()}
        object.__setattr__(self, "more_views", {name: checked.pop(name) for name in self.more_views})
        for name, section in checked.items():
            object.__setattr__(self, name, section)
        self.method_type.check_order(self.method, self.training.order)

    @property
    def method_type(self) -> type[Method]:
        """The method's class."""
        return find_method(self.method_name)

    def sections(self) -> dict[str, Any]:
        """The sections that this method uses, by name."""
        unused = {"image", "text"} - set(self.method_type.needs)
        unused |= set() if self.method_type.view_families else {"views"}
        names = ("data", "image", "text", "views", "method", "training")
        return {name: getattr(self, name) for name in names if name not in unused} | dict(self.more_views)

    def with_sections(self, sections: Mapping[str, Any]) -> Settings[C]:
        """The same settings with some sections replaced, by name."""
        more = {name: sections.get(name, views) for name, views in self.more_views.items()}
        own = {name: section for name, section in sections.items() if name not in more}
        return dataclasses.replace(self, more_views=more, **own)


def default_settings(method: str | type[Method], source: str, *, image_size: int = 64) -> Settings[Any]:
    """The settings of a method with nothing said but the data.

    Args:
        method: its name, such as `clip`, or its class.
        source: a file, a folder, or what else `DataConfig.source` can be.
        image_size: side of the pictures in pixels.

    Raises:
        ConfigError: there is no such method.
    """
    if isinstance(method, str):
        method = find_method(method)
    views = method.default_views(image_size)
    return Settings(
        method_name=method.name,
        data=DataConfig(source=source),
        image=ImageEncoderConfig(image_size=image_size, **method.image_defaults),
        text=TextEncoderConfig(**method.text_defaults),
        views=views.pop("views", ViewConfig()),
        more_views=views,
        method=method.options(),
        training=TrainingConfig(**method.training_defaults),
    )


def settings_type(method: type[Method], command: type | None = None) -> type:
    """A dataclass with one field a section: what the command line is made from.

    Args:
        method: whose sections.
        command: a dataclass of further options that are not part of the settings (--out, --resume).
    """
    defaults = default_settings(method, "scenes")
    fields = [
        (name, type(section), dataclasses.field(default=section))
        for name, section in defaults.sections().items()
    ]
    bases = () if command is None else (command,)
    return dataclasses.make_dataclass("Options", fields, bases=bases, frozen=True, kw_only=True)


def parse_settings(
    method: type[Method], arguments: Sequence[str], *, prog: str, command: type | None = None
) -> tuple[Settings[Any], Any]:
    """Settings from flags such as `--data.fit pad`; prints the help and exits when asked to.

    Args:
        method: whose settings.
        arguments: the flags.
        prog: the command's name in messages.
        command: a dataclass of further options.

    Returns:
        The settings, and an object that has `command`'s fields.

    Raises:
        ConfigError: a value that cannot work.
        SystemExit: an unknown flag or a value of the wrong type; tyro has printed which, and the nearest.
    """
    first, _ = _parse(method, arguments, prog, command, image_size=64)
    # The paper's views depend on the size of the pictures, which the flags decide: read once more on those
    # defaults.
    return _parse(method, arguments, prog, command, image_size=first.image.image_size)


def _parse(
    method: type[Method], arguments: Sequence[str], prog: str, command: type | None, *, image_size: int
) -> tuple[Settings[Any], Any]:
    import tyro

    defaults = default_settings(method, "scenes", image_size=image_size)
    kind = settings_type(method, command)
    unsaid = {"data": dataclasses.replace(defaults.data, source=tyro.MISSING)}
    options = parse_flags(
        kind,
        arguments,
        default=kind(**(defaults.sections() | unsaid)),
        prog=prog,
        description=f"{method.name}: {method.summary} ({method.paper}).",
    )
    settings = defaults.with_sections({name: getattr(options, name) for name in defaults.sections()})
    return settings, options


def file_arguments(method: type[Method], path: str | Path) -> list[str]:
    """The flags that say what a configuration file says; one parser serves both.

    Raises:
        ConfigError: the file is missing, is not TOML, or has an unknown section or key.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror or error}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"--config {path} is not a TOML file: {error}.") from error
    if tables.pop("method_name", method.name) != method.name:
        raise ConfigError(f"{path} is the configuration of another method than {method.name}.")
    _check_tables(method, tables, path)
    return [
        word
        for section, values in tables.items()
        for key, value in values.items()
        for word in _flag(section, key, value)
    ]


def _check_tables(method: type[Method], tables: dict[str, Any], path: str | Path) -> None:
    """Refuse what is no section or option, and values that do not fit."""
    sections = default_settings(method, "scenes").sections()
    for section, values in tables.items():
        _check_known(section, sections, f"{path}: section")
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {section!r} is a section; write [{section}] and its keys below it.")
        hints = get_type_hints(type(sections[section]))
        for key, value in values.items():
            _check_known(key, hints, f"{path}: key {section}.{key}:")
            expected = misfit(hints[key], _from_file(hints[key], value))
            if expected is not None:
                raise ConfigError(f"{path}: {section}.{key}: expected {expected}, got {value!r}.")


def preset_arguments(method: type[Method], name: str) -> list[str]:
    """The flags that one of the method's presets stands for.

    Its batch size is an upper bound: a preset knows nothing of how many rows the user has.

    Raises:
        ConfigError: the method has no such preset.
    """
    if not method.presets:
        raise ConfigError(
            f"--preset {name}: {method.name} has no presets; --image.preset chooses the image encoder's size."
        )
    _check_known(name, method.presets, f"--preset of {method.name}:")
    return [
        word
        for section, values in method.presets[name].items()
        for key, value in values.items()
        for word in _flag(section, "largest_batch_size" if key == "batch_size" else key, value)
    ]


def _flag(section: str, key: str, value: Any) -> list[str]:
    name = key.replace("_", "-")
    if (section, key) == ("data", "source"):
        return ["--data", str(value)]
    if isinstance(value, bool):
        return [f"--{section}.{name}" if value else f"--{section}.no-{name}"]
    if isinstance(value, (list, tuple)):
        return [f"--{section}.{name}", *map(str, value)]
    if str(value).startswith("-"):  # or it would be taken for a flag
        return [f"--{section}.{name}={value}"]
    return [f"--{section}.{name}", str(value)]


def _check_known(name: str, known: Any, where: str) -> None:
    if name in known:
        return
    hint = closest(name, known) or f"there are {', '.join(sorted(known))}."
    raise ConfigError(f"{where} {name!r} is unknown; {hint}")


def differences(old: Settings[Any], new: Settings[Any]) -> list[str]:
    """Which settings of a run are asked to be others, each with both values.

    Those are passed over that may differ where a run goes on: where the data lies, what computes, who logs. A
    batch size that nobody names stays what was decided.
    """
    before, after = old.sections(), new.sections()
    pairs = [
        (f"{section}.{field.name}", getattr(before[section], field.name), getattr(after[section], field.name))
        for section in before
        for field in dataclasses.fields(before[section])
    ]
    return [
        f"{name} is {there!r}, not {asked!r}"
        for name, there, asked in pairs
        if there != asked
        and name not in _MAY_DIFFER
        and not (name == "training.batch_size" and asked is None)
    ]


def write_settings(settings: Settings[Any], path: Path) -> None:
    """Write the resolved settings as TOML; `likewise train METHOD --config FILE` repeats the run."""
    import tomli_w

    tables: dict[str, Any] = {"method_name": settings.method_name}
    defaults = default_settings(
        settings.method_type, settings.data.source, image_size=settings.image.image_size
    ).sections()
    for name, section in settings.sections().items():
        tables[name] = {
            key: _NONE if value is None else value
            for key, value in dataclasses.asdict(section).items()
            if value is not None or getattr(defaults[name], key) is not None
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as beside:
        beside.write_text(tomli_w.dumps(tables), encoding="utf-8")


def read_settings(path: Path) -> Settings[Any]:
    """The settings of a run's config.toml.

    Raises:
        ConfigError: the file is missing or not one of ours.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not the configuration of a run ({error}).") from error
    name = tables.pop("method_name", None)
    if not isinstance(name, str):
        there = "no method_name" if name is None else f"{name!r} as method_name"
        raise ConfigError(
            f"{path} is not the configuration of a run: it has {there}, expected a method's name."
        )
    method = find_method(name)
    _check_tables(method, tables, path)
    source = tables.get("data", {}).get("source", "scenes")
    size = tables.get("image", {}).get("image_size", ImageEncoderConfig.image_size)
    defaults = default_settings(method, source, image_size=size)
    sections = {}
    for name, section in defaults.sections().items():
        hints = get_type_hints(type(section))
        said = {key: _from_file(hints[key], value) for key, value in tables.get(name, {}).items()}
        sections[name] = dataclasses.replace(section, **said)
    return defaults.with_sections(sections)


def _from_file(hint: Any, value: Any) -> Any:
    """A value of a file as its option's: a list as a tuple, and the word for nothing as None."""
    if value == _NONE and misfit(hint, None) is None:
        return None
    return tuple(value) if isinstance(value, list) else value
