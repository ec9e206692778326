"""Splits that keep groups together, and datasets cut from them."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from likewise.data import DataConfig, Dataset, Splits, prepare
from likewise.data.column_kinds import Classes, ordered_names
from likewise.data.columns import Needs
from likewise.data.splits import draw_parts
from likewise.errors import ConfigError, SourceError, TooManyBadRecords
from likewise.sampling import sampled_rows


def write_table(folder: Path, rows: list[str], header: str = "image,caption") -> Path:
    """Sixty pictures and a table of them."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number in range(60):
        noise = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / "images" / f"{number}.png")
    path = folder / "captions.csv"
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


def opened(path: Path, *needs: str, **options: Any) -> Splits:
    settings = {"cache_dir": str(path.parent.parent / "cache")} | options
    wanted = settings.pop("parts", "splits")
    needed = Needs(*(needs or ("image", "text")))
    return prepare(DataConfig(source=str(path), **settings), image_size=16, needs=needed, parts=wanted)


def five_captions() -> list[str]:
    return [f"images/{number}.png,caption {number} {way}" for way in range(5) for number in range(60)]


def in_groups(data: Dataset, groups: np.ndarray) -> Dataset:
    """The same data in other groups."""
    return data.with_columns(group=Classes(groups, []))


def parts(splits: Splits) -> tuple[Any, Any]:
    assert splits.validation is not None
    return splits.train, splits.validation


def test_classes_that_differ_in_case_alone_are_one(tmp_path: Path) -> None:
    names = ["true", "TRUE", "False", "false", "true", "a", "A", "false", "maybe", "maybe"]
    rows = [f"images/{number}.png,{name},train" for number, name in enumerate(names)]
    rows += ["images/20.png,True,validation", "images/21.png,MAYBE,validation"]
    train, validation = parts(
        splits := opened(write_table(tmp_path / "d", rows, "image,label,split"), "image", "label")
    )
    assert train.label_names == validation.label_names == ["A", "a", "false", "maybe", "true"]
    assert train.labels.tolist() == [4, 4, 2, 2, 4, 1, 0, 2, 3, 3]
    assert validation.labels.tolist() == [4, 3]
    merged = "False as false, MAYBE as maybe, TRUE as true, True as true"
    assert f"classes that differ in case alone are one: {merged}" in splits.summary["notes"]
    assert splits.summary["labels"]["train"] == {"A": 1, "a": 1, "false": 3, "maybe": 2, "true": 3}


def test_captions_of_a_photo_never_straddle(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", five_captions())
    for needs in (("image", "text"), ("text",)):
        train, validation = parts(opened(path, *needs, validation_share=0.3))
        assert len(train) + len(validation) == 60
        assert not set(train.ids) & set(validation.ids)
        assert not set(train.groups) & set(validation.groups)
        assert all(len(texts) == 5 for texts in train.texts + validation.texts)
        assert all(len({text.split()[1] for text in texts}) == 1 for texts in train.texts)


def test_equal_pictures_under_other_names_never_straddle(tmp_path: Path) -> None:
    rows = [f"images/{number}.png,a" for number in range(60)] + [f"images/copy_{n}.png,b" for n in range(60)]
    path = write_table(tmp_path / "d", rows)
    for number in range(60):
        source = tmp_path / "d" / "images" / f"{number}.png"
        (tmp_path / "d" / "images" / f"copy_{number}.png").write_bytes(source.read_bytes())
    train, validation = parts(opened(path, validation_share=0.5))
    assert len(train) + len(validation) == 120
    assert not set(train.groups) & set(validation.groups)
    assert {name.replace("copy_", "") for name in train.ids} == {n for n in train.ids if "copy" not in n}


def test_a_group_column_keeps_its_rows_together(tmp_path: Path) -> None:
    rows = [f"images/{number}.png,a picture,patient {number // 6}" for number in range(60)]
    path = write_table(tmp_path / "d", rows, "image,caption,patient")
    train, validation = parts(opened(path, group_column="patient", validation_share=0.3))
    assert len(set(train.groups)) + len(set(validation.groups)) == 10
    assert not set(train.groups) & set(validation.groups)


def test_the_draw_depends_on_the_seed_and_the_group_alone(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", five_captions())
    first = opened(path, split_seed=1)
    assert opened(path, split_seed=1).train.fingerprint == first.train.fingerprint
    assert opened(path, split_seed=2).train.ids != first.train.ids
    groups = [f"group {number}" for number in range(2000)]
    drawn = draw_parts(groups, share=0.1, seed=0)
    assert draw_parts(groups[:500], share=0.1, seed=0) == drawn[:500]  # growing data moves nothing
    assert 150 < sum(drawn) < 250
    assert draw_parts(["a", "a"], share=0.5, seed=0) in ([False, False], [True, True])
    for seed in range(20):
        assert sorted(draw_parts(["a", "b"], share=0.01, seed=seed)) == [False, True]


def test_a_split_column_is_followed_and_a_test_part_left_alone(tmp_path: Path) -> None:
    names = ["train", "Val", "test"]
    rows = [f"images/{number}.png,caption {number},{names[number % 3]}" for number in range(60)]
    path = write_table(tmp_path / "d", rows, "image,caption,split")
    train, validation = parts(splits := opened(path))
    assert (len(train), len(validation)) == (20, 20)
    assert splits.summary["splits_from"] == "column split"
    _, held_out = parts(opened(path, validation_split="test"))
    assert held_out.ids == [f"images/{number}.png" for number in range(2, 60, 3)]
    with pytest.raises(SourceError, match=r"split 'teach'.*Val, test, train"):
        opened(path, train_split="teach")


def with_splits(folder: Path, *names: str) -> Path:
    """Sixty records, the parts by turns."""
    rows = [f"images/{n}.png,caption {n},{names[n % len(names)]}" for n in range(60)]
    return write_table(folder, rows, "image,caption,split")


@pytest.mark.parametrize("name", ["val", "test"])
def test_a_held_out_part_alone_can_be_measured_but_not_trained_on(tmp_path: Path, name: str) -> None:
    path = with_splits(tmp_path / "d", name)
    with pytest.raises(SourceError, match=f"'train'; splits found: {name}"):
        opened(path)
    for wanted in ("measured", "any"):
        splits = opened(path, parts=wanted)
        assert (len(splits.train), len(splits.validation or ())) == (0, 60)
        assert splits.summary["parts_named"] == {"train": [], "validation": [name]}
        assert splits.summary["counts"] == {"train": 0, "validation": 60}


def test_the_test_part_is_measured_where_no_validation_part_is_named(tmp_path: Path) -> None:
    path = with_splits(tmp_path / "d", "train", "Test", "other")
    assert opened(path).summary["splits_from"].startswith("drawn")  # training leaves the test part alone
    train, held_out = parts(opened(path, parts="measured"))
    assert held_out.ids == [f"images/{n}.png" for n in range(1, 60, 3)]
    assert len(train) == 20
    with pytest.raises(SourceError, match="no part 'tset' among them; splits found: Test, other, train"):
        opened(path, parts="measured", validation_split="tset")
    train, held_out = parts(opened(path, parts="measured", validation_split="train", train_split="none"))
    assert (len(train), len(held_out)) == (0, 20)


def test_parts_of_which_none_is_held_out_are_listed(tmp_path: Path) -> None:
    path = with_splits(tmp_path / "d", "train", "extra")
    with pytest.raises(
        SourceError, match=r"no validation or test part.*extra, train.*--data.validation-split"
    ):
        opened(path, parts="measured")
    odd = with_splits(tmp_path / "e", "first", "second")
    splits = opened(odd, parts="any")
    assert len(splits.train) + len(splits.validation or ()) == 60


def test_records_that_name_no_split_are_said_to_be_left_out(tmp_path: Path) -> None:
    path = with_splits(tmp_path / "d", "train", "val", "")
    splits = opened(path)
    assert splits.summary["counts"] == {"train": 20, "validation": 20}
    assert splits.summary["notes"] == ["20 records name no split and are left out"]
    assert opened(with_splits(tmp_path / "e", "first", ""), parts="any").summary["notes"] == []


def test_a_part_asked_for_by_name_must_be_named(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", five_captions())
    with pytest.raises(
        SourceError, match=r"--data\.train-split asks for 'trainn', but no record names a split"
    ):
        opened(path, train_split="trainn")
    for wanted in ("splits", "measured"):
        with pytest.raises(
            SourceError, match=r"--data\.validation-split asks for 'test'.*--data\.split-column"
        ):
            opened(path, validation_split="test", parts=wanted)
    other = with_splits(tmp_path / "e", "train", "test")
    _, held_out = parts(opened(path, validation=str(other), validation_split="test"))
    assert len(held_out) == 30  # of the other source, so it is named there


def test_pictures_in_both_parts_are_counted(tmp_path: Path) -> None:
    rows = [f"images/{number}.png,caption,{'train' if number else 'val'}" for number in range(60)]
    path = write_table(tmp_path / "d", [*rows, "images/0.png,caption,train"], "image,caption,split")
    assert opened(path).summary["groups_in_both_parts"] == 1
    assert (
        opened(path).summary["overlap"].startswith("1 of the 1 held-out rows have the image, text or group")
    )
    apart = with_splits(tmp_path / "apart", "train", "val")
    assert opened(apart).summary["overlap"] is None
    other = write_table(tmp_path / "other", ["images/0.png,another caption", "images/1.png,another"])
    summary = opened(path, validation=str(other)).summary
    assert summary["overlap"].startswith("2 of the 2 held-out rows")
    scenes = prepare(DataConfig(source="scenes:train=40,validation=40"), image_size=16, needs=Needs("image"))
    assert scenes.summary["overlap"] is None  # equal captions of other pictures


def test_another_source_to_validate_on(tmp_path: Path) -> None:
    path = write_table(
        tmp_path / "d", [f"images/{n}.png,caption,{n % 2}" for n in range(40)], "image,caption,label"
    )
    rows = [f"images/{n}.png,other,{n % 3},{'val' if n > 50 else 'x'}" for n in range(40, 60)]
    other = path.parent / "other.csv"
    other.write_text("\n".join(["image,caption,label,split", *rows]))
    train, validation = parts(opened(path, "image", "label", validation=str(other)))
    assert len(train) == 40
    assert validation.ids == [f"images/{n}.png" for n in range(51, 60)]
    assert train.label_names == validation.label_names == ["0", "1", "2"]
    assert not set(train.groups) & set(validation.groups)


def test_images_come_as_contiguous_bytes_in_the_order_asked(tmp_path: Path) -> None:
    train = opened(write_table(tmp_path / "d", five_captions()), store_size=20).train
    images = train.images([3, 1, 3])
    assert images.shape == (3, 3, 20, 20)
    assert images.dtype == torch.uint8
    assert images.is_contiguous()
    assert torch.equal(images[0], images[2])
    number = int(train.ids[1].split("/")[1].split(".")[0])
    original = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert np.array_equal(images[1].permute(1, 2, 0).numpy(), original[:, 5:25])  # the middle, not resampled
    assert np.array_equal(np.asarray(train.original(1)), original)
    assert torch.equal(train.images(torch.tensor([3, 1, 3])), images)
    with pytest.raises(IndexError):
        train.images([len(train)])


def test_a_subset_shares_the_pixels(tmp_path: Path) -> None:
    train = opened(write_table(tmp_path / "d", five_captions())).train
    part = train.subset([5, 2])
    assert part.ids == [train.ids[5], train.ids[2]]
    assert part.texts == [train.texts[5], train.texts[2]] if train.texts is not None else False
    assert torch.equal(part.images([0, 1]), train.images([5, 2]))
    assert part.fingerprint != train.fingerprint
    assert part.subset([1]).original(0).size == (30, 20)


def test_the_fingerprint_knows_groups_and_domains(tmp_path: Path) -> None:
    rows = [
        f"images/{n}.png,a picture,a,{'train' if n % 9 else 'val'},{n // 6},{n // 7},{n}" for n in range(60)
    ]
    path = write_table(tmp_path / "d", rows, "image,caption,label,split,six,seven,each")
    plain = opened(path).train
    said = [plain.ids, plain.content.tolist(), plain.texts, ["a"] * len(plain)]
    assert plain.fingerprint == hashlib.blake2b(json.dumps(said).encode(), digest_size=8).hexdigest()
    by_group = {name: opened(path, group_column=name).train for name in ("six", "seven", "each")}
    marks = {name: train.fingerprint for name, train in by_group.items()}
    assert marks["each"] == plain.fingerprint  # a group for each picture, as without the column
    assert len({plain.fingerprint, *marks.values()}) == 3
    six = by_group["six"]
    assert in_groups(six, six.groups + 5).fingerprint == marks["six"]  # numbers are no names
    by_domain = [opened(path, domain_column=name).train.fingerprint for name in ("six", "seven")]
    assert len({plain.fingerprint, *marks.values(), *by_domain}) == 5


def test_the_fingerprint_is_made_once(tmp_path: Path) -> None:
    train = opened(write_table(tmp_path / "d", five_captions())).train
    assert train.fingerprint is train.fingerprint
    assert in_groups(train, train.groups // 2).fingerprint != train.fingerprint
    assert pickle.loads(pickle.dumps(train)).fingerprint == train.fingerprint


def test_max_records_spreads_over_each_part(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", five_captions())
    splits = opened(path, max_records=10)
    assert sum(splits.summary["counts"].values()) == 10
    train, validation = parts(splits)
    assert any(int(name.split("/")[1][:-4]) > 30 for name in train.ids + validation.ids)


def test_what_listing_found_is_a_share_of_all_that_was_listed(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", [f"images/{n}.png,caption {n}" for n in range(61)])
    splits = opened(path, max_records=10, max_bad_share=0.02)  # 60.png is missing: 1 of 61, not of 11
    assert sum(splits.summary["counts"].values()) == 10
    assert splits.summary["bad_records"] == len(splits.bad_records) == 1
    rows = [f"images/{n}.png,{f'caption {n}' if n else ''}" for n in range(60)]
    dropped = write_table(tmp_path / "e", [*rows, "images/0.png,another"])
    assert opened(dropped, max_records=10, max_bad_share=0.02).summary["dropped_captions"] == 1


def test_what_opening_found_is_a_share_of_what_was_opened(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", [f"images/{n}.png,caption {n}" for n in range(60)])
    for number in sampled_rows(60, 10)[::2]:
        (tmp_path / "d" / "images" / f"{number}.png").write_bytes(b"damaged")
    assert opened(path, max_bad_share=0.1).summary["bad_records"] == 5  # of 60
    with pytest.raises(TooManyBadRecords, match=r"5 of 10 records \(50\.0%\)"):
        opened(path, max_records=10, max_bad_share=0.1)


def test_fits_make_their_squares(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", five_captions())
    sizes = {fit: opened(path, fit=fit).train.store_size for fit in ("crop", "pad", "squash")}
    assert sizes == {"crop": 20, "pad": 24, "squash": 24}  # never above the picture's own side
    padded = opened(path, fit="pad", store_size=24).train.images([0])[0]
    assert padded[:, 0].unique(dim=1).shape[1] == 1  # grey above
    assert padded[:, 12].unique(dim=1).shape[1] > 1


def test_pictures_are_not_stored_below_the_training_size(tmp_path: Path) -> None:
    path = write_table(tmp_path / "d", five_captions())  # 30 x 20 pixels
    with pytest.raises(ConfigError, match=r"--data\.store-size 4 is below the 16 pixels.*\(it is 20 then\)"):
        opened(path, store_size=4)
    assert opened(path, store_size=4, parts="measured").train.store_size == 4  # as a model may have it
    config = DataConfig(source=str(path), store_size=20, cache_dir=str(tmp_path / "cache"))
    assert prepare(config, image_size=32, needs=Needs("image")).train.store_size == 20  # all there is


def test_addresses_may_be_paths(tmp_path: Path) -> None:
    config = DataConfig(
        source=tmp_path / "t.csv",  # type: ignore[arg-type]
        cache_dir=tmp_path,  # type: ignore[arg-type]
        validation=tmp_path / "v.csv",  # type: ignore[arg-type]
        image_root=tmp_path,  # type: ignore[arg-type]
    )
    assert (config.source, config.validation) == (str(tmp_path / "t.csv"), str(tmp_path / "v.csv"))
    assert config.cache_dir == config.image_root == str(tmp_path)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        ({"10", "9", "-1"}, ["-1", "9", "10"]),
        ({"10", "9", "b"}, ["10", "9", "b"]),
        ({"②", "①"}, ["①", "②"]),  # digits, but no numbers that Python reads
        ({"--1", "1"}, ["--1", "1"]),
        ({"1", "01", "2"}, ["01", "1", "2"]),
        ({"9" * 5000, "1"}, ["1", "9" * 5000]),
    ],
)
def test_classes_are_in_the_order_of_numbers_or_the_alphabet(names: set[str], order: list[str]) -> None:
    assert ordered_names(names) == order


def test_impossible_options_are_refused() -> None:
    for options in (
        {"source": ""},
        {"validation_share": 1.0},
        {"max_bad_share": 2.0},
        {"fit": "stretch"},
        {"store_size": 0},
        {"train_split": "a", "validation_split": "a"},
        {"encoding": "klingon"},
    ):
        with pytest.raises(ConfigError, match=r"^--data"):
            DataConfig(**({"source": "x"} | options))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"at least 0 \(no validation part\) and below 1, got 1\.0"):
        DataConfig(source="x", validation_share=1.0)
    with pytest.raises(ConfigError, match="needs must be among"):
        prepare(DataConfig(source="x"), image_size=16, needs=Needs("sounds"))
