"""How the Omniglot benchmark deals alphabets, and what it measures on them."""

import io
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image


@pytest.fixture
def omniglot(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark's script, which is no part of the package."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import omniglot

    return omniglot


def picture(place: int) -> dict:
    pixels = np.zeros((12, 12), np.uint8)
    pixels[0, place % 12] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight alphabets for training, the last too small for an episode; two for evaluation."""
    for part, sizes in (("train", [20] * 7 + [3]), ("evaluation", [20, 20])):
        rows = [(f"{part}{a}", c, d) for a, size in enumerate(sizes) for c in range(size) for d in (1, 2)]
        columns = {
            "image": [picture(place) for place in range(len(rows))],
            "alphabet": [alphabet for alphabet, _, _ in rows],
            "label": [f"{alphabet}/{character}" for alphabet, character, _ in rows],
            "drawer": [f"{character:04}_{drawer:02}.png" for _, character, drawer in rows],
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / f"{part}.parquet")
    return tmp_path


def test_tuning_never_sees_an_evaluation_alphabet(omniglot, data):
    train, held_out = omniglot.tables(omniglot.Options(data=data, tune=True))
    trained, measured = (set(table["alphabet"].to_pylist()) for table in (train, held_out))
    assert len(measured) == omniglot.TUNING_ALPHABETS
    assert trained.isdisjoint(measured)
    assert trained | measured == {f"train{number}" for number in range(8)}
    assert "train7" not in measured


def test_final_figures_are_of_the_evaluation_alphabets(omniglot, data):
    train, held_out = omniglot.tables(omniglot.Options(data=data))
    assert len(set(train["alphabet"].to_pylist())) == 8
    assert set(held_out["alphabet"].to_pylist()) == {"evaluation0", "evaluation1"}


def test_pictures_are_cut_to_a_square_around_their_strokes(omniglot):
    pictures = []
    for box in ((30, 10, 50, 90), (0, 0, 105, 20), (60, 60, 61, 61), None):
        picture = Image.new("1", (105, 105), 1)
        if box is not None:
            picture.paste(0, box)
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        pictures.append({"bytes": buffer.getvalue(), "path": None})
    table = pyarrow.table({"image": pictures, "label": list("abcd")})
    cut = omniglot.around_strokes(table)
    assert cut.schema == table.schema
    upright, wide, dot, empty = map(np.asarray, omniglot.images_of(cut))
    assert [one.shape for one in (upright, wide, dot)] == [(88, 88), (116, 116), (2, 2)]
    # in the middle, as large as they were, and nothing of them lost
    assert np.array_equal(np.argwhere(upright == 0)[[0, -1]], [[4, 34], [83, 53]])
    assert np.array_equal(np.argwhere(wide == 0)[[0, -1]], [[48, 6], [67, 110]])
    assert (dot == 0).sum() == 1
    assert (empty == 255).all()


def test_pictures_in_other_positions_are_further_characters(omniglot, data):
    train, _ = omniglot.tables(omniglot.Options(data=data, around_strokes=False))
    whole = omniglot.in_all_positions(train)
    assert whole.num_rows == 8 * train.num_rows
    assert whole.schema == train.schema
    assert len(set(whole["label"].to_pylist())) == 8 * len(set(train["label"].to_pylist()))
    first, quarter, mirrored, mirrored_quarter = (
        np.asarray(Image.open(io.BytesIO(whole["image"][part * train.num_rows + 3].as_py()["bytes"])))
        for part in (0, 1, 4, 5)
    )
    assert np.array_equal(quarter, np.rot90(first))
    assert np.array_equal(mirrored, first[:, ::-1])
    assert np.array_equal(mirrored_quarter, np.rot90(first[:, ::-1]))
