"""`likewise serve` itself: options, what is missing, and that it ends when told to."""

from __future__ import annotations

import os
import re
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from likewise.cli.main import main
from likewise.model.model import Model
from likewise.search import Index
from likewise.serving.server import listening


@pytest.fixture(scope="module")
def saved(tcl: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "tcl"
    tcl.save(path)
    return path


def said(words: list[str], capsys: Any) -> tuple[int, str]:
    with pytest.raises(SystemExit) as stopped:
        main(["serve", *words])
    return int(stopped.value.code or 0), capsys.readouterr().err


def test_it_serves_until_it_is_told_to_stop(
    saved: Path, index: Index, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIKEWISE_TOKEN", "sesame-7")
    found: list[Any] = []
    printed = ""

    def ask() -> None:
        nonlocal printed
        try:
            while not (address := re.search(r"http://\S+/", printed)):
                threading.Event().wait(0.05)
                printed += capfd.readouterr().out
            headers = {"Authorization": "Bearer sesame-7"}
            found.append(httpx.get(f"{address[0]}v1/models").status_code)
            found.append(httpx.get(f"{address[0]}v1/models", headers=headers).json()["data"][0])
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    main(["serve", str(saved), "--index", str(index.folder), "--port", "0", "--device", "cpu"])
    asking.join(30)
    assert found[0] == 401
    assert (found[1]["id"], found[1]["index"]["size"]) == ("tcl", 25)
    assert printed.startswith("serving tcl at http://127.0.0.1:")


def test_what_is_wrong_is_said_in_one_line(
    saved: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with listening("127.0.0.1", 0) as (_, address):
        port = address.rstrip("/").rpartition(":")[2]
        code, told = said([str(saved), "--port", port, "--device", "cpu"], capsys)
        assert code == 2
        assert f"--port {port}" in told
    assert said([str(saved), "--port", "70000"], capsys)[0] == 2
    assert "--limits.max-queue is 0" in said([str(saved), "--limits.max-queue", "0"], capsys)[1]
    assert said([str(saved), "--token", " "], capsys)[0] == 2
    assert said([str(saved), "--index", str(tmp_path / "no.index")], capsys)[0] == 3
    monkeypatch.setattr("likewise.cli.serve_command.find_spec", lambda name: None)
    code, told = said([str(saved)], capsys)
    assert code == 2
    assert "pip install 'likewise[serve]'" in told
    assert len(told.splitlines()) == 1
