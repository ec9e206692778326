"""Model folders of strangers: nothing is fetched, no code runs, and one kind of error comes out."""

from __future__ import annotations

import copy
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import small_settings

import likewise
from likewise.errors import LikewiseError, ModelError
from likewise.training.engine import train

Place = tuple["str | int", ...]
HOSTILE = (None, -1, 1e300, "", [], {}, "x" * 100_000, True)


@pytest.fixture(scope="module", params=["tcl", "simclr"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    method: str = request.param
    run = train(small_settings(method, steps=1), tmp_path_factory.mktemp(method) / "run", show=False)
    return run.path / "model"


@pytest.fixture(autouse=True)
def _without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    import transformers.utils.hub as hub

    def fail(*_: Any, **__: Any) -> None:
        pytest.fail("something was asked of the network")

    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    for module in (huggingface_hub, hub):
        for name in ("hf_hub_download", "snapshot_download", "cached_file"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, fail)


def places(value: Any, path: Place = ()) -> Iterator[Place]:
    """The path of every value inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield (*path, key)
        yield from places(one, (*path, key))


def changed(config: Any, place: Place, value: Any) -> Any:
    config = holder = copy.deepcopy(config)
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return config


def backbones(value: Any, path: Place = ()) -> Iterator[Place]:
    return (place[:-1] for place in places(value, path) if place[-1] == "model_type")


@pytest.fixture
def opened(folder: Path, tmp_path: Path) -> Callable[[Any], likewise.Model]:
    """Opens a copy of the model with another config.json."""
    shutil.copytree(folder, tmp_path / "model")

    def load(config: Any) -> likewise.Model:
        (tmp_path / "model/config.json").write_text(json.dumps(config))
        return likewise.load(tmp_path / "model")

    return load


def test_any_value_in_a_config_ends_in_one_kind_of_error(folder: Path, opened: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    messages = []
    every = [place for place in places(config) if not {"id2label", "label2id", "trained_on"} & {*place}]
    for number, place in enumerate(every):
        # All values at the first levels, and two in turn at the many below: a load takes its time.
        chosen = HOSTILE if len(place) < 3 else (HOSTILE[number % 8], HOSTILE[(number + 3) % 8])
        for value in chosen:
            try:
                opened(changed(config, place, value))
            except LikewiseError as error:
                messages.append(str(error))
    assert len(messages) > len(every) / 4
    assert max(map(len, messages)) < 2000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", 20_000),
        ("depths", [20_000, 1, 1, 1]),
        ("hidden_size", 10**9),
        ("hidden_size", 2**15),  # no memory is taken: the weights do not fit
        ("hidden_sizes", [10**9] * 4),
        ("vocab_size", 10**9),
        ("model_type", "dpt"),
        ("model_type", "timm_backbone"),
        ("model_type", ["bert"]),
    ],
)
def test_what_no_network_needs_is_refused_before_building(
    folder: Path, opened: Any, key: str, value: Any
) -> None:
    config = json.loads((folder / "config.json").read_text())
    tried = 0
    for place in backbones(config):
        if key in str(config) and _at(config, place).get(key) is not None:
            tried += 1
            with pytest.raises(ModelError, match=r"config\.json"):
                opened(changed(config, (*place, key), value))
    if tried == 0:
        pytest.skip(f"no backbone here has {key}")


def test_keys_that_name_code_or_another_model_never_reach_transformers(folder: Path, opened: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    names = {
        "use_pretrained_backbone": True,
        "use_timm_backbone": True,
        "backbone": "someone/model",
        "attn_implementation": "someone/kernels",
        "_attn_implementation": "someone/kernels",
        "_attn_implementation_internal": "someone/kernels",
        "auto_map": {"AutoModel": "someone/model--code.Model", "AutoConfig": "code.Config"},
        "trust_remote_code": True,
        "quantization_config": {"quant_method": "bitsandbytes"},
        "_name_or_path": "someone/model",
        "dtype": "float16",
    }
    for place in list(backbones(config)):
        _at(config, place).update(names)
    model = opened(config)
    for module in model.network.modules():
        built = getattr(module, "config", None)
        for name in ("use_pretrained_backbone", "use_timm_backbone", "auto_map", "trust_remote_code"):
            assert not hasattr(built, name)
        assert "someone" not in str(getattr(built, "__dict__", {}))
    assert {
        weight.dtype.is_floating_point and weight.element_size() for weight in model.network.parameters()
    } == {4}


def test_a_config_nested_too_deeply_is_refused(folder: Path, opened: Any, tmp_path: Path) -> None:
    (tmp_path / "model/config.json").write_text("[" * 200_000)
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        likewise.load(tmp_path / "model")


def _at(config: Any, place: Place) -> Any:
    for key in place:
        config = config[key]
    return config
