"""The base of all networks: what a model folder holds.

A network's parts are declared once, as the arguments of its constructor, each kept as an attribute of the
same name. An argument is a part with a `spec` of its own (an encoder), a sequence of such parts, or a plain
value of JSON. From these arguments the base writes the `spec` that config.json stores and builds the network
again.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, ClassVar, Protocol, TypeVar, get_args, get_type_hints, runtime_checkable

from torch import nn

from likewise.encoders.image import ImageEncoder
from likewise.networks.abilities import ABILITIES

__all__ = ["Network"]

N = TypeVar("N", bound="Network")


@runtime_checkable
class _Part(Protocol):
    def spec(self) -> dict[str, Any]: ...

    @classmethod
    def from_spec(cls, spec: dict[str, Any]) -> Any: ...


class Network(nn.Module):
    """A network with a kind, a spec and abilities.

    Subclasses register by `@network("kind")` (likewise.networks.registry).
    """

    kind: ClassVar[str]
    dim: int
    """D, width of the embeddings."""

    def abilities(self) -> list[str]:
        """Names of the abilities it has, see `likewise.networks.abilities`."""
        columns = {None, *(module.column for module in self.modules() if isinstance(module, ImageEncoder))}
        return [
            name
            for name, ability in ABILITIES.items()
            if isinstance(self, ability.protocol) and ability.column in columns
        ]

    def start_rest(self, loaded: Collection[str]) -> None:
        """Start other parts from those just loaded.

        Args:
            loaded: parts (`image`, `text`, `fusion`) that took weights of another kind of network.
        """

    @property
    def image_encoder(self) -> ImageEncoder | None:
        """The (first) image encoder, or the audio encoder in its place, which says size and normalization;
        None where there is none."""
        return self.encoder_of(None)

    def encoder_of(self, column: str | None) -> ImageEncoder | None:
        """The first encoder that reads a column, "image" or "audio", or either of them; None without one."""
        encoders = (module for module in self.modules() if isinstance(module, ImageEncoder))
        return next((one for one in encoders if column in (None, one.column)), None)

    @property
    def reads_images(self) -> bool:
        """Whether its first encoder takes images, not sounds."""
        encoder = self.image_encoder
        return encoder is not None and encoder.column == "image"

    def spec(self) -> dict[str, Any]:
        """Everything needed to build the network again, as JSON."""
        values = {name: _spec_of(getattr(self, name)) for name in _arguments(type(self))}
        return {"kind": self.kind, **values}

    @classmethod
    def from_spec(cls: type[N], spec: dict[str, Any]) -> N:
        """The inverse of `spec`, with fresh weights.

        Raises:
            KeyError: an argument without a default is missing.
        """
        hints = get_type_hints(cls.__init__)
        values = {}
        for name, argument in _arguments(cls).items():
            if name in spec or argument.default is argument.empty:
                values[name] = _built(spec[name], hints[name])
        return cls(**values)


def _arguments(network: type[Network]) -> dict[str, inspect.Parameter]:
    _, *arguments = inspect.signature(network.__init__).parameters.items()  # the first is self
    return dict(arguments)


def _spec_of(value: Any) -> Any:
    if isinstance(value, (list, tuple, nn.ModuleList)):
        return [_spec_of(one) for one in value]
    return value.spec() if isinstance(value, _Part) else value


def _built(value: Any, hint: Any) -> Any:
    """A value of a spec as the constructor takes it; `hint` is a part's class, or names one
    (`Sequence[P]`)."""
    part = next((kind for kind in (hint, *get_args(hint)) if _is_part(kind)), None)
    if part is None or value is None:
        return value
    return [part.from_spec(one) for one in value] if isinstance(value, list) else part.from_spec(value)


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, _Part)
