"""`likewise train`: how its settings come together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tyro

from likewise.cli import train_command
from likewise.cli.main import main
from likewise.runs.folder import RunFolder
from likewise.runs.settings import Settings
from likewise.training import warm_start


def test_the_command_line_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file, flags, and a model to start from, whose images have the size of its own."""
    parse, calls, trained = tyro.cli, [], []

    def counted(*given: Any, **options: Any) -> Any:
        calls.append(given)
        return parse(*given, **options)

    def train(settings: Settings[Any], out: Path, **_: Any) -> RunFolder:
        trained.append(settings)
        return RunFolder(out)

    monkeypatch.setattr(tyro, "cli", counted)
    monkeypatch.setattr(train_command, "train", train)
    configs = {"model": {"network": {"image": {"image_size": 24}}, "images": {"fit": "crop"}}}
    monkeypatch.setattr(warm_start, "read_config", lambda path: configs[path])
    file = tmp_path / "own.toml"
    file.write_text('[data]\nsource = "scenes"\n[training]\nstart_from = "model"\nseed = 3\n')
    main(["train", "simclr", "--config", str(file), "--out", "run", "--quiet", "--training.seed", "4"])
    (settings,) = trained
    assert len(calls) == 1
    assert (settings.image.image_size, settings.views.blur) == (24, 0.0)
    assert (settings.data.source, settings.training.seed) == ("scenes", 4)
