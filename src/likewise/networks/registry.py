"""Networks by kind. Adding one is adding a file to this folder with a class under `@network("kind")`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from likewise.encoders.backbone_spec import shown
from likewise.errors import LikewiseError, ModelError
from likewise.messages import first_line, printable
from likewise.networks.base import Network

__all__ = ["encoder_spec", "has_encoder", "network", "network_from_spec", "networks"]

_REGISTERED: dict[str, type[Network]] = {}

N = TypeVar("N", bound=type[Network])


def network(kind: str) -> Callable[[N], N]:
    """Register a network under a kind, which config.json stores."""

    def register(cls: N) -> N:
        other = _REGISTERED.setdefault(kind, cls)
        if (other.__module__, other.__name__) != (cls.__module__, cls.__name__):
            raise ValueError(f"two networks of kind {kind!r}: {other.__module__} and {cls.__module__}")
        cls.kind = kind
        return cls

    return register


def networks() -> dict[str, type[Network]]:
    """All networks by kind: every module of `likewise.networks` is imported, and registers its own."""
    import likewise.networks as package

    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return dict(sorted(_REGISTERED.items()))


def has_encoder(spec: dict[str, Any], name: str) -> bool:
    """Whether a network's `spec` has an encoder of that name, `image` or `text`."""
    return name in spec or bool(spec.get(f"{name}s"))


def encoder_spec(spec: dict[str, Any], name: str) -> dict[str, Any]:
    """One encoder's part of a network's `spec`.

    Args:
        spec: of a network.
        name: `image` or `text`; of several encoders (`images`), which are alike, the first.

    Raises:
        ModelError: the network has no such encoder.
    """
    parts = [spec[name]] if name in spec else spec.get(f"{name}s", ())
    if not parts:
        raise ModelError(f"a network of kind {spec.get('kind')!r} has no {name} encoder.")
    found: dict[str, Any] = parts[0]
    return found


def network_from_spec(spec: dict[str, Any]) -> Network:
    """Build a network from its `spec`, with fresh weights.

    Raises:
        ModelError: the kind is unknown, or a part is missing or cannot be built.
    """
    known = networks()
    try:
        kind = spec["kind"]
        if not isinstance(kind, str) or kind not in known:
            raise ModelError(
                f"the network is of kind {shown(kind)}, which this version does not know "
                f"({', '.join(known)}); try a newer version of likewise."
            )
        # The weights are loaded next, so the caller's random state stays as it is.
        with torch.random.fork_rng(devices=[]):
            return known[kind].from_spec(spec)
    except LikewiseError:
        raise
    except KeyError as error:
        raise ModelError(f"the model's config.json lacks {printable(str(error), most=100)}.") from error
    except Exception as error:  # what torch and transformers raise at odd values
        reason = printable(first_line(error), most=300)
        raise ModelError(f"no network can be built from the model's config.json: {reason}") from error
