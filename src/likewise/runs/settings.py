"""The settings of a run: defaults, a file or a preset, and flags, each overriding the one before.

A file, a preset and flags are tables alike, `{section: {option: value}}`; `build_settings` joins them.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from likewise.atomic_files import write_whole
from likewise.data import DataConfig
from likewise.encoders import AudioEncoderConfig, ImageEncoderConfig, TextEncoderConfig
from likewise.errors import ConfigError
from likewise.messages import closest, flag
from likewise.methods.base import Method
from likewise.methods.catalog import find_method
from likewise.option_flags import given_flags
from likewise.runs.option_types import checked_values, misfit
from likewise.runs.training_options import TrainingConfig
from likewise.views import SoundViewConfig, ViewConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Settings",
    "Tables",
    "build_settings",
    "default_settings",
    "differences",
    "joined",
    "parse_tables",
    "preset_tables",
    "read_settings",
    "read_tables",
    "write_settings",
]

C = TypeVar("C")

Tables = dict[str, dict[str, Any]]
"""Values of options by section, as a TOML file has them."""

# TOML has no null. An option that is None is left out, or is this word where another value is the default.
_NONE = "None"
_OF_ARCHITECTURE = ("width", "depth", "heads", "patch_size", "stem")

# What may differ where a run is resumed: where the data lies (its fingerprint says whether it is the same),
# devices, loggers, and the bound that the batch size was once decided with.
_MAY_DIFFER = {
    *("data.source", "data.validation", "data.images", "data.annotations"),
    *("data.image_root", "data.cache_dir", "data.retain"),
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
        audio: the audio encoder (methods on sounds).
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
    views: ViewConfig | SoundViewConfig
    method: C
    training: TrainingConfig
    audio: AudioEncoderConfig = dataclasses.field(default_factory=AudioEncoderConfig)
    more_views: Mapping[str, ViewConfig | SoundViewConfig] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject values of the wrong type, and options that cannot go together."""
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
        unused = {"image", "audio", "text"} - set(self.method_type.needs)
        unused |= set() if self.method_type.view_families else {"views"}
        names = ("data", "image", "audio", "text", "views", "method", "training")
        return {name: getattr(self, name) for name in names if name not in unused} | dict(self.more_views)

    def with_sections(self, sections: Mapping[str, Any]) -> Settings[C]:
        """The same settings with some sections replaced, by name."""
        more = {name: sections.get(name, views) for name, views in self.more_views.items()}
        own = {name: section for name, section in sections.items() if name not in more}
        return dataclasses.replace(self, more_views=more, **own)


def default_settings(method: str | type[Method], source: str, *, image_size: int = 64) -> Settings[Any]:
    """The default settings of a method for a data source.

    Args:
        method: its name, such as `clip`, or its class.
        source: a file, a folder, or what else `DataConfig.source` can be.
        image_size: side of the images in pixels; the default views depend on it.

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


def build_settings(method: type[Method], *tables: Tables) -> Settings[Any]:
    """A method's defaults with the options of tables; of an option in several tables, the last counts.

    Raises:
        ConfigError: a value that cannot work, or no data source.
    """
    options = joined(*tables)
    source = options.get("data", {}).get("source")
    if source is None:
        raise ConfigError("--data is missing; expected a folder, a file, an address or 'scenes'.")
    size = options.get("image", {}).get("image_size", ImageEncoderConfig.image_size)
    defaults = default_settings(method, source, image_size=size)
    sections = {
        name: dataclasses.replace(section, **options.get(name, {}))
        for name, section in defaults.sections().items()
    }
    return defaults.with_sections(sections)


def joined(*tables: Tables) -> Tables:
    """Tables as one; of an option in several of them, the last counts.

    An encoder's sizes belong to its architecture: a table with another architecture drops the sizes of the
    tables before it, such as a preset's.
    """
    options: Tables = {}
    for table in tables:
        for section, values in table.items():
            before = options.get(section, {})
            former = before.get("architecture")
            if former not in (None, values.get("architecture", former)):
                before = {name: one for name, one in before.items() if name not in _OF_ARCHITECTURE}
            options[section] = before | values
    return options


def parse_tables(
    method: type[Method], arguments: Sequence[str], *, prog: str, command: type | None = None
) -> tuple[Tables, dict[str, Any]]:
    """The settings given by flags such as `--data.fit pad`; prints the help and exits when asked to.

    Args:
        method: whose settings.
        arguments: the flags.
        prog: the command's name in messages.
        command: a dataclass of options that are no settings (--out, --resume).

    Returns:
        The settings given, and those of `command`'s options that were given.

    Raises:
        ConfigError: an unknown flag, or a value of the wrong type.
    """
    import tyro

    sections = default_settings(method, "scenes").sections()
    sections["data"] = dataclasses.replace(sections["data"], source=tyro.MISSING)
    kind = dataclasses.make_dataclass(
        "Options",
        [(name, type(section), dataclasses.field(default=section)) for name, section in sections.items()],
        bases=() if command is None else (command,),
        frozen=True,
        kw_only=True,
    )
    given = given_flags(
        kind,
        arguments,
        prog=prog,
        description=f"{method.name}: {method.summary} ({method.paper}).",
        default=kind(),
        hidden=method.unread_options,
    )
    return {name: given.pop(name) for name in sections}, given


def preset_tables(method: type[Method], name: str) -> Tables:
    """The settings of one of the method's presets.

    Its batch size is an upper bound: a preset does not know how many rows the user has.

    Raises:
        ConfigError: the method has no such preset.
    """
    if not method.presets:
        raise ConfigError(
            f"--preset {name}: {method.name} has no presets; --image.preset chooses the image encoder's size."
        )
    _check_known(name, method.presets, f"--preset of {method.name}:")
    return {
        section: {
            "largest_batch_size" if key == "batch_size" else key: value for key, value in values.items()
        }
        for section, values in method.presets[name].items()
    }


def read_tables(path: str | Path, method: type[Method] | None = None) -> tuple[type[Method], Tables]:
    """A TOML file of settings: one written by hand, or a run's config.toml.

    Args:
        path: the file.
        method: whose settings; when None, the file must name it (`method_name`), as a run's does.

    Returns:
        The method, and the settings that the file gives.

    Raises:
        ConfigError: the file is missing, is not TOML, is of another method, or has an unknown section or
            option, or a value that does not fit.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or nested too deeply
        raise ConfigError(f"{path} is not a TOML file: {error}.") from error
    name = tables.pop("method_name", None if method is None else method.name)
    if not isinstance(name, str):
        there = "no method_name" if name is None else f"{name!r} as method_name"
        raise ConfigError(
            f"{path} is not the configuration of a run: it has {there}, expected a method's name."
        )
    if method is not None and name != method.name:
        raise ConfigError(f"{path} is the configuration of another method ({name}) than {method.name}.")
    method = method or find_method(name)
    sections = default_settings(method, "scenes").sections()
    for section, values in tables.items():
        _check_known(section, sections, f"{path}: section")
        if not isinstance(values, dict):
            raise ConfigError(f"{path}: {section!r} is a section; write [{section}] and its keys below it.")
        tables[section] = _checked_table(values, type(sections[section]), path, section)
    return method, tables


def _checked_table(values: dict[str, Any], kind: type, path: str | Path, section: str) -> dict[str, Any]:
    """Values of a file as options have them: a list as a tuple, and the word None as None."""
    hints, options = get_type_hints(kind), {}
    for key, value in values.items():
        _check_known(key, hints, f"{path}: key {section}.{key}:")
        if value == _NONE and misfit(hints[key], None) is None:
            value = None
        expected = misfit(hints[key], value)
        if expected is not None:
            raise ConfigError(f"{path}: {section}.{key}: expected {expected}, got {value!r}.")
        options[key] = tuple(value) if isinstance(value, list) else value
    return options


def _check_known(name: str, known: Collection[str], where: str) -> None:
    if name not in known:
        hint = closest(name, known) or f"there are {', '.join(sorted(known))}."
        raise ConfigError(f"{where} {name!r} is unknown; {hint}")


def read_settings(path: str | Path) -> Settings[Any]:
    """The settings of a run's config.toml.

    Raises:
        ConfigError: see `read_tables`.
    """
    return build_settings(*read_tables(path))


def write_settings(settings: Settings[Any], path: Path) -> None:
    """Write the settings as TOML; `likewise train METHOD --config FILE` repeats the run."""
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
    write_whole(path, tomli_w.dumps(tables))


def differences(old: Settings[Any], new: Settings[Any]) -> list[str]:
    """The settings in which a resumed run would differ, each with both values.

    Left out are those that may differ: where the data lies, devices, loggers. A batch size that is not given
    stays as it was decided.
    """
    before, after = old.sections(), new.sections()
    pairs = [
        (f"{section}.{field.name}", getattr(before[section], field.name), getattr(after[section], field.name))
        for section in before
        for field in dataclasses.fields(before[section])
    ]
    return [
        f"{flag(*name.split('.'))} is {former!r}, not {value!r}"
        for name, former, value in pairs
        if former != value
        and name not in _MAY_DIFFER
        and not (name == "training.batch_size" and value is None)
    ]
