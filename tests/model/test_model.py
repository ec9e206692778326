"""The model folder, and what a loaded model takes and refuses."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from small_runs import small_settings

import likewise
from likewise.errors import AbilityError, DataError, ModelError
from likewise.model import Model
from likewise.training.engine import train


@pytest.fixture(scope="module")
def clip_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(small_settings("clip", steps=1), tmp_path_factory.mktemp("clip") / "run", show=False).path


@pytest.fixture(scope="module")
def simclr_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(
        small_settings("simclr", steps=1), tmp_path_factory.mktemp("simclr") / "run", show=False
    ).path


@pytest.fixture(scope="module")
def model(clip_run: Path) -> Model:
    return likewise.load(clip_run)


def picture(width: int = 50, height: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_every_form_of_a_picture_gives_the_same_vector(model: Model, tmp_path: Path) -> None:
    pixels = picture()
    image = Image.fromarray(pixels)
    path = tmp_path / "picture.png"
    image.save(path)
    encoded = io.BytesIO()
    image.save(encoded, format="PNG")
    forms = [pixels, image, path, str(path), encoded.getvalue(), torch.from_numpy(pixels).permute(2, 0, 1)]
    vectors = np.concatenate([model.encode_images(form) for form in forms])
    assert vectors.shape == (6, model.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, np.repeat(vectors[:1], 6, axis=0), atol=1e-6)
    np.testing.assert_allclose(model.encode_images(forms), vectors, atol=1e-5)


def test_pil_pictures_are_turned_upright_and_laid_on_white(model: Model) -> None:
    image = Image.fromarray(picture())
    turned = image.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6  # "turn a quarter clockwise to see it"
    np.testing.assert_allclose(model.encode_images(turned), model.encode_images(image), atol=1e-5)
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    white = Image.new("RGB", (40, 40), "white")
    np.testing.assert_allclose(model.encode_images(clear), model.encode_images(white), atol=1e-5)


def test_batches_do_not_change_the_result(model: Model) -> None:
    pictures = [picture(30 + n, 40) for n in range(7)]
    np.testing.assert_allclose(
        model.encode_images(pictures, batch_size=2), model.encode_images(pictures, batch_size=7), atol=1e-5
    )
    texts = ["a red circle", "a blue square above a very large green star", "红色的圆"]
    np.testing.assert_allclose(
        model.encode_texts(texts, batch_size=1), model.encode_texts(texts, batch_size=3), atol=1e-5
    )
    assert model.encode_images([]).shape == (0, model.dim)
    assert np.linalg.norm(model.encode_texts("a red circle", normalize=False)) != pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("https://example.org/picture.jpg", "is an address"),
        ("no/such/picture.jpg", "cannot be read"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 7), np.uint8), r"\(4, 4, 7\)"),
        (b"not a picture", "image 0"),
        ({"a": 1}, "is a dict"),
    ],
)
def test_a_bad_picture_is_named(model: Model, bad: object, said: str) -> None:
    with pytest.raises(DataError, match=said):
        model.encode_images([bad])  # type: ignore[list-item]


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_nothing_is_refused(model: Model, size: int) -> None:
    for encode in (model.encode_images, model.encode_texts):
        with pytest.raises(ValueError, match=f"batch_size must be at least 1, got {size}"):
            encode([], batch_size=size)


def test_a_bad_text_is_named(model: Model) -> None:
    with pytest.raises(DataError, match="text 1"):
        model.encode_texts(["fine", "  "])
    with pytest.raises(DataError, match="not a valid Unicode text"):
        model.encode_texts("ok \ud800 bad")


def test_encoded_bytes_of_any_kind_are_one_image(model: Model) -> None:
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "PNG")
    expected = model.encode_images(stream.getvalue())
    for one in (bytearray(stream.getvalue()), memoryview(stream.getvalue())):
        assert np.array_equal(model.encode_images(one), expected)  # type: ignore[arg-type]


def test_the_model_card_holds_no_absolute_path(model: Model, tmp_path: Path) -> None:
    summary = {
        "source": "/home/someone/captions.csv",
        "validation_source": "file:///mnt/test.csv",
        "notes": ["/a/b"],
    }
    config = model.config | {"trained_on": summary}
    Model(model.network, config, model.tokenizer).save(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert '"source": "captions.csv"' in card
    assert '"validation_source": "test.csv"' in card
    assert not re.search(r'"(file://)?/', card)


def test_saved_and_loaded_is_the_same(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "copy")
    model.save(tmp_path / "copy")  # again, over itself
    assert sorted(file.name for file in (tmp_path / "copy").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    again = likewise.load(tmp_path / "copy")
    np.testing.assert_array_equal(again.encode_images(picture()), model.encode_images(picture()))
    np.testing.assert_array_equal(again.encode_texts("a red circle"), model.encode_texts("a red circle"))


def test_a_model_replaces_nothing_but_a_model(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ModelError, match=r"holds thesis\.txt"):
        model.save(tmp_path)
    with pytest.raises(ModelError, match="is a file"):
        model.save(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    model.save(".")
    assert likewise.load(tmp_path / "empty").dim == model.dim


def test_a_model_that_cannot_be_written_leaves_the_one_before(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(tmp_path / "model")

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(ModelError, match="model cannot be written: No space left"):
        model.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert likewise.load(tmp_path / "model").dim == model.dim


def test_a_model_that_cannot_be_put_in_its_place_leaves_the_one_before(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.save(tmp_path / "model")
    before = (tmp_path / "model/model.safetensors").stat().st_ino
    rename = Path.rename

    def second_fails(path: Path, target: Path) -> Path:
        if ".writing-" in path.name:
            raise OSError("Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(ModelError, match="model cannot be written: Input/output error"):
        model.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model/model.safetensors").stat().st_ino == before


def test_a_model_whose_replacing_was_killed_is_named(model: Model, tmp_path: Path) -> None:
    for name in ("model", "model[2]"):
        model.save(tmp_path / f".{name}.old-123")
        said = rf"killed while it replaced it.*\.{re.escape(name)}\.old-123; rename that folder"
        with pytest.raises(ModelError, match=said):
            likewise.load(tmp_path / name)


@pytest.mark.parametrize("name", ["a[b]", "a*", "a?"])
def test_a_name_may_hold_the_signs_of_patterns(name: str, model: Model, tmp_path: Path) -> None:
    (tmp_path / ".ab.old-1").mkdir()  # not of this model
    for _ in range(3):
        model.save(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".ab.old-1", name]
    assert likewise.load(tmp_path / name).dim == model.dim


def test_everybody_who_may_read_the_config_may_read_the_weights(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    modes = {path.name: path.stat().st_mode for path in (tmp_path / "model").iterdir()}
    assert modes["model.safetensors"] == modes["config.json"]


def test_weights_of_another_network_are_told_in_a_few_words(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    save_file(
        {f"another.{number}": torch.zeros(1) for number in range(50)}, tmp_path / "model/model.safetensors"
    )
    with pytest.raises(ModelError) as refused:
        likewise.load(tmp_path / "model")
    said = r"Missing key.*and \d+ more; Unexpected key.*and 47 more; it is not a model"
    assert re.search(said, str(refused.value))
    assert len(str(refused.value)) < 1000


def test_a_model_whose_tokenizer_is_missing_says_so(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    (tmp_path / "model/tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"its tokenizer\.json is missing"):
        likewise.load(tmp_path / "model")


GONE = "(left out)"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("format", GONE),
        ("format", "1"),
        ("format", True),
        ("method", GONE),
        ("method", None),
        ("network", GONE),
        ("network", "dual"),
        ("images", GONE),
        ("images", None),
        ("images.fit", GONE),
        ("images.fit", "cropped"),
        ("images.store_size", GONE),
        ("images.store_size", 0),
        ("texts", GONE),
        ("texts", None),
        ("texts", []),
        ("texts.max_tokens", GONE),
        ("texts.pad_id", -1),
    ],
)
def test_a_config_that_lacks_a_part_says_which(
    model: Model, tmp_path: Path, name: str, value: object
) -> None:
    model.save(tmp_path / "model")
    file = tmp_path / "model/config.json"
    config = holder = json.loads(file.read_text())
    *outer, key = name.split(".")
    for one in outer:
        holder = holder[one]
    if value == GONE:
        del holder[key]
    else:
        holder[key] = value
    file.write_text(json.dumps(config))
    with pytest.raises(ModelError) as caught:
        likewise.load(tmp_path / "model")
    assert str(file) in str(caught.value)
    assert f"'{name}'" in str(caught.value)
    assert "newer" not in str(caught.value)


def test_a_network_that_cannot_be_built_names_the_file(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    file = tmp_path / "model/config.json"
    config = json.loads(file.read_text())
    del config["network"]["kind"]
    file.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=rf"{re.escape(str(file))}: .* lacks 'kind'"):
        likewise.load(tmp_path / "model")
    file.write_text("[]")
    with pytest.raises(ModelError, match=rf"{re.escape(str(file))} holds list"):
        likewise.load(tmp_path / "model")


def test_a_model_whose_data_is_unknown_is_kept(model: Model, tmp_path: Path) -> None:
    unknown = {name: value for name, value in model.config.items() if name != "trained_on"}
    Model(model.network, unknown, model.tokenizer).save(tmp_path / "model")
    assert likewise.load(tmp_path / "model").dim == model.dim


def test_a_model_without_texts_says_so(simclr_run: Path) -> None:
    model = likewise.load(simclr_run)
    assert model.abilities == ["encode_images"]
    with pytest.raises(AbilityError, match=r"simclr.*learn from texts"):
        model.encode_texts("a red circle")


def test_what_is_no_model_is_refused(tmp_path: Path, clip_run: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        likewise.load(tmp_path / "nothing")
    with pytest.raises(ModelError, match="holds no model"):
        likewise.load(tmp_path)
    model = likewise.load(clip_run)
    model.save(tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    weights = (tmp_path / "model/model.safetensors").read_bytes()
    (tmp_path / "model/model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors cannot be read"):
        likewise.load(tmp_path / "model")
    (tmp_path / "model/model.safetensors").write_bytes(weights)
    smaller = config | {"network": config["network"] | {"dim": 3}}
    (tmp_path / "model/config.json").write_text(json.dumps(smaller))
    with pytest.raises(ModelError, match=r"does not fit its config\.json: size mismatch"):
        likewise.load(tmp_path / "model")
    (tmp_path / "model/config.json").write_text(json.dumps(config | {"format": 99}))
    with pytest.raises(ModelError, match="newer likewise"):
        likewise.load(tmp_path / "model")
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    (tmp_path / "model/model.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"cannot be read: .*header"):
        likewise.load(tmp_path / "model")


def test_embeddings_can_be_tensors(model: Model) -> None:
    texts = ["one", "two", "three"]
    images = [picture(), picture(30)]
    for vectors, tensor in (
        (model.encode_texts(texts), model.encode_texts(texts, return_tensors="pt")),
        (model.encode_images(images), model.encode_images(images, return_tensors="pt")),
    ):
        assert isinstance(vectors, np.ndarray)
        assert isinstance(tensor, torch.Tensor)
        assert (tensor.numpy() == vectors).all()
    with pytest.raises(ValueError, match="return_tensors must be 'np' or 'pt', got 'tf'"):
        model.encode_texts(texts, return_tensors="tf")  # type: ignore[call-overload]
