"""An export is checked, whole or not there, described, and uploaded when asked to."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import numpy as np
import pytest
import torch
from exported_models import TEXTS, card_functions, image_encoder, model_of, text_encoder

from likewise import Model
from likewise.cli.main import main
from likewise.errors import ConfigError, ModelError
from likewise.export import transformers
from likewise.export.folder import export
from likewise.export.probes import NUM_PROBES, Probes, generated_probes
from likewise.networks.dual import DualNetwork
from likewise.networks.text import TextNetwork

FORMAT = "transformers"


def small() -> Model:
    return model_of(TextNetwork(text_encoder()))


def both() -> Model:
    return model_of(DualNetwork(image_encoder(), text_encoder(), dim=8))


def change_weights(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Let the writer get other weights than the model's."""
    plain_network = transformers.plain_network

    def changed(model: Model) -> Any:
        network = plain_network(model)
        with torch.no_grad():
            change(network.text.backbone.embeddings.word_embeddings.weight)
        return network

    monkeypatch.setattr(transformers, "plain_network", changed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda weight: weight.add_(0.01 * torch.randn_like(weight)), r"vectors of texts differ by \d"),
        (lambda weight: weight.fill_(torch.nan), "vectors of texts differ by nan"),
    ],
)
def test_other_vectors_fail_and_leave_nothing(
    change: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_weights(monkeypatch, change)
    with pytest.raises(ModelError, match=said):
        export(small(), tmp_path / "out", format=FORMAT)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_read_fails_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers, "save_weights", lambda *_: None)
    with pytest.raises(ModelError, match="what was exported cannot be read back"):
        export(both(), tmp_path / "out", format=FORMAT)
    assert list(tmp_path.iterdir()) == []


def test_probes_differ_and_some_are_too_long() -> None:
    model = both()
    probes = generated_probes(model)
    assert probes.images is not None
    assert probes.texts is not None
    assert probes.images.shape == (NUM_PROBES, 32, 32, 3)
    assert len({image.tobytes() for image in probes.images}) == len(probes.texts) == NUM_PROBES
    assert model.tokenizer is not None
    lengths = [len(row) for row in model.tokenizer.uncut().encode(probes.texts)]
    assert min(lengths) < model.tokenizer.max_tokens < max(lengths)
    again = generated_probes(model)
    np.testing.assert_array_equal(again.images, probes.images)
    assert again.texts == probes.texts


def test_given_probes_are_compared(tmp_path: Path) -> None:
    written = export(both(), tmp_path / "out", format=FORMAT, probes=Probes(None, TEXTS[:1]))
    assert set(written.differences) == {"texts"}


def test_the_model_card_says_how_to_use_it(tmp_path: Path) -> None:
    model = both()
    folder = export(model, tmp_path / "out", format=FORMAT).folder
    card = (folder / "README.md").read_text()
    for part in ("library_name: transformers", "squares of 32 px", "the middle square is cut out", "1e-04"):
        assert part in card
    vectors = np.asarray(card_functions(folder)["encode_texts"](TEXTS))
    np.testing.assert_allclose(vectors, model.encode_texts(TEXTS), atol=1e-5)
    assert all(path.stat().st_mode & 0o044 for path in folder.rglob("*"))


def test_the_command_compares_on_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both().save(tmp_path / "model")
    words = ["export", str(tmp_path / "model"), "--format", FORMAT, "--out", str(tmp_path / "out")]
    main([*words, "--data", "scenes:train=30,validation=24,size=32"])
    printed = capsys.readouterr()
    assert f"wrote {tmp_path / 'out'} ({FORMAT}): 20 images differ by " in printed.out
    assert "note: transformers' classes of two towers do not pool a vit by mean" in printed.err


def test_options_without_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(tmp_path), "--format", FORMAT, "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit) as stopped:
        main([*words, "--data.max-records", "3"])
    assert stopped.value.code == ConfigError.exit_code
    assert "options of --data need --data SOURCE" in capsys.readouterr().err


class _Hub(BaseHTTPRequestHandler):
    """A local stand-in for the hub: what was asked of it, and the files of commits."""

    status = 200
    asked: ClassVar[list[tuple[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        sent = [json.loads(line) for line in body.splitlines()]
        self.asked.append((self.path, sent))
        files = [file["path"] for file in sent[0].get("files", ())] if "preupload" in self.path else []
        answer = {
            "url": f"http://{self.headers['Host']}/me/mine",
            "commitUrl": f"http://{self.headers['Host']}/me/mine/commit/1",
            "commitOid": "1",
            "files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files],
        }
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: Any) -> None:
        """Not into the tests' output."""


def client_of(port: int) -> type:
    """The library's client, for a hub on this machine."""

    class Client(huggingface_hub.HfApi):
        def __init__(self) -> None:
            super().__init__(endpoint=f"http://127.0.0.1:{port}", token="secret")

    return Client


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Hub]]:
    kind = type("Hub", (_Hub,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(huggingface_hub, "HfApi", client_of(server.server_port))
    yield kind
    server.shutdown()
    server.server_close()


def pushed(tmp_path: Path, name: str = "me/mine") -> int:
    small().save(tmp_path / "model")
    try:
        words = ["export", str(tmp_path / "model"), "--format", FORMAT, "--out", str(tmp_path / "out")]
        main([*words, "--push", name])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


def test_upload(tmp_path: Path, capsys: pytest.CaptureFixture[str], hub: type[_Hub]) -> None:
    assert pushed(tmp_path) == 0
    assert "/me/mine/commit/1" in capsys.readouterr().out
    asked = dict(hub.asked)
    (made,) = asked["/api/repos/create"]
    assert (made["organization"], made["name"], made["visibility"]) == ("me", "mine", "private")
    commit = [line["value"] for line in asked["/api/models/me/mine/commit/main"] if line["key"] == "file"]
    uploaded = {file["path"]: base64.b64decode(file["content"]) for file in commit}
    assert uploaded == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}


def test_an_upload_that_is_refused_leaves_the_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hub: type[_Hub]
) -> None:
    hub.status = 403
    assert pushed(tmp_path) == ModelError.exit_code
    said = capsys.readouterr().err
    assert "--push me/mine: the hub refused (" in said
    assert "Log in with hf auth login" in said
    assert (tmp_path / "out" / "README.md").is_file()


def test_a_hub_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "HfApi", client_of(9))  # where nothing listens
    assert pushed(tmp_path) == ModelError.exit_code
    assert "--push me/mine: the upload failed (" in capsys.readouterr().err
    assert (tmp_path / "out" / "README.md").is_file()


@pytest.mark.parametrize("name", ["mine", "a/b/c", "me/../x", ""])
def test_a_name_that_the_hub_has_not(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], hub: type[_Hub]
) -> None:
    assert pushed(tmp_path, name) == ConfigError.exit_code
    assert f"--push {name}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert hub.asked == []
