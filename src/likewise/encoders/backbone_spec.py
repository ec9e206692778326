"""Reads a backbone's configuration from a model folder, which may be a stranger's.

Known model types and known keys alone reach transformers, so that nothing in the folder can name code, a hub
or another model. Sizes are bounded, so that a small file cannot ask for a network that fills the memory.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from likewise.errors import ModelError
from likewise.messages import first_line, printable

__all__ = [
    "MAX_SIZE",
    "MAX_VOCABULARY",
    "check_choice",
    "check_layers",
    "check_size",
    "config_from_spec",
    "shown",
]

MAX_LAYERS, MAX_SIZE, MAX_VOCABULARY = 512, 1 << 16, 1 << 24
_MOST_CHARACTERS, _MOST_ENTRIES, _MOST_NESTED = 100, 1024, 4

# No matter to the network: where a configuration came from, classes, and what a forward pass returns besides.
_NOT_READ = (
    "_name_or_path",
    "architectures",
    "dtype",
    "id2label",
    "label2id",
    "model_type",
    "out_features",
    "out_indices",
    "output_attentions",
    "output_hidden_states",
    "problem_type",
    "return_dict",
    "sinusoidal_pos_embds",  # initial values, of weights that are loaded
    "stage_names",
    "transformers_version",
)
_OLDER_NAMES = ("rope_theta", "rope_scaling", "global_rope_theta", "local_rope_theta")


def shown(value: Any) -> str:
    """A value of a JSON file in a message, cut and escaped."""
    return printable(repr(value), most=_MOST_CHARACTERS)


def check_size(name: str, value: Any, *, least: int = 1, most: int = MAX_SIZE) -> None:
    """Raise ModelError unless it is a whole number from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ModelError(f"{name} is {shown(value)}; expected a whole number from {least} to {most:,}")


def check_layers(config: Any) -> None:
    """Raise ModelError where a transformers configuration has more layers than any network needs."""
    for name in ("num_hidden_layers", "depths"):
        value = getattr(config, name, None)
        if isinstance(value, (int, list, tuple)):
            _check_value(config.model_type, name, list(value) if isinstance(value, tuple) else value)


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise ModelError unless it is one of the choices."""
    if not any(value is choice or (type(value) is type(choice) and value == choice) for choice in choices):
        raise ModelError(f"{name} is {shown(value)}; expected one of {', '.join(map(str, choices))}")


def config_from_spec(spec: Any, *, known: Collection[str]) -> Any:
    """The transformers configuration that `to_dict` wrote into a spec.

    Args:
        spec: content of config.json.
        known: the model types that are allowed.

    Raises:
        ModelError: another type, a value out of bounds, or values that transformers rejects.
    """
    from transformers import AutoConfig

    if not isinstance(spec, dict):
        raise ModelError(f"a backbone is {shown(spec)}; expected an object")
    kind = spec.get("model_type")
    if not isinstance(kind, str) or kind not in known:
        raise ModelError(f"a backbone is of the type {shown(kind)}; known are {', '.join(sorted(known))}")
    keys = {*AutoConfig.for_model(kind).to_dict(), *_OLDER_NAMES} - {*_NOT_READ}
    values = {key: value for key, value in spec.items() if key in keys}
    for key, value in values.items():
        _check_value(kind, key, value)
    try:
        return AutoConfig.for_model(kind, **values)
    except Exception as error:  # its checks raise errors of many kinds
        raise ModelError(
            f"transformers rejects the {kind}: {printable(first_line(error), most=300)}"
        ) from error


def _check_value(kind: str, key: str, value: Any) -> None:
    """Raise ModelError where a number, a text or a list is larger than any network needs."""
    most = MAX_SIZE
    if any(part in key for part in ("layers", "depth", "group", "stage")):
        most = MAX_LAYERS
    elif key == "vocab_size" or key.endswith("token_id"):
        most = MAX_VOCABULARY
    leaves = list(_leaves(value, _MOST_NESTED))
    numbers = [leaf for leaf in leaves if isinstance(leaf, (int, float))]
    if (
        len(leaves) > _MOST_ENTRIES
        or not all(
            math.isfinite(number) and abs(number) <= max(most, 1e7 * isinstance(number, float))
            for number in numbers
        )
        or any(isinstance(leaf, str) and len(leaf) > _MOST_CHARACTERS for leaf in leaves)
        or (most == MAX_LAYERS and sum(numbers) > most)
    ):
        raise ModelError(f"the {kind}'s {key} is {shown(value)}, which is too large (numbers: {most:,})")


def _leaves(value: Any, depth: int) -> Iterator[Any]:
    """What a value of JSON holds, a few levels deep."""
    if isinstance(value, (list, dict)):
        if depth == 0:
            raise ModelError(f"a value is nested too deeply: {shown(value)}")
        for one in value.values() if isinstance(value, dict) else value:
            yield from _leaves(one, depth - 1)
    else:
        yield value
