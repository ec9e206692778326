"""Sounds from folders, tables, shards and Parquet; the cache; the generated world."""

import io
import tarfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sound_files import tone, wav_bytes, write_sounds

from likewise.data import DataConfig, Needs, Splits, prepare
from likewise.data.audio.sound_format import SoundFormat
from likewise.data.columns import OPTIONAL
from likewise.data.images.stores import CachedPixels, DecodedPixels
from likewise.data.sounds import make_sounds
from likewise.data.sounds.content import KINDS
from likewise.errors import ConfigError, SourceError, TooManyBadRecords

FORM = SoundFormat(rate=16_000, seconds=0.5)
READ = Needs("audio", text=OPTIONAL, label=OPTIONAL)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKEWISE_CACHE", str(tmp_path / "cache"))


def opened(source: Path | str, needs: Needs = READ, **options) -> Splits:
    config = DataConfig(source=str(source), **{"validation_share": 0.0} | options)
    return prepare(config, image_size=None, needs=needs, sounds=FORM)


def waves_of(splits: Splits) -> np.ndarray:
    return splits.train.images(range(len(splits.train)), "audio").numpy() / 32767


def expected(count: int) -> np.ndarray:
    tones = [tone(200.0 * (number + 1), seconds=0.3 + 0.1 * number)[:8000] for number in range(count)]
    return np.stack([np.pad(one, (0, 8000 - len(one))) for one in tones])


def test_folder_with_classes_and_captions(tmp_path: Path) -> None:
    low = write_sounds(tmp_path / "data" / "low", 3)
    write_sounds(tmp_path / "data" / "high", 3)
    low[0].with_suffix(".txt").write_text("a low tone\na hum\n")
    splits = opened(tmp_path / "data")
    assert splits.summary["kind"] == "folder of sounds"
    assert splits.train.label_names == ["high", "low"]
    assert [texts for texts in splits.train.texts or [] if texts] == [("a low tone", "a hum")]
    np.testing.assert_allclose(waves_of(splits)[:3], expected(3), atol=1e-4)
    # Equal files are one thing.
    assert len(set(splits.train.groups.tolist())) == 3


@pytest.mark.parametrize("header", ["audio,caption", "file,words", "wav_path,text"])
def test_table_of_paths(tmp_path: Path, header: str) -> None:
    write_sounds(tmp_path / "sounds", 4)
    rows = [f"sounds/{number:02d}.wav,a tone of number {number}" for number in (0, 1, 1, 3)]
    (tmp_path / "list.csv").write_text("\n".join([header, *rows]) + "\n")
    splits = opened(tmp_path / "list.csv", Needs("audio", "text"))
    assert splits.summary["columns"]["audio"] == header.split(",")[0]
    assert [len(texts) for texts in splits.train.texts or []] == [1, 2, 1]  # captions of one file are merged
    np.testing.assert_allclose(waves_of(splits), expected(4)[[0, 1, 3]], atol=1e-4)


def test_table_without_a_header(tmp_path: Path) -> None:
    write_sounds(tmp_path, 3)
    rows = "".join(f"{number:02d}.wav,the tone of number {number}\n" for number in range(3))
    (tmp_path / "list.csv").write_text(rows)
    assert opened(tmp_path / "list.csv", Needs("audio", "text")).train.texts == [
        (f"the tone of number {number}",) for number in range(3)
    ]


@pytest.mark.parametrize("nested", [False, True])
def test_parquet_with_bytes(tmp_path: Path, nested: bool) -> None:
    data = [path.read_bytes() for path in write_sounds(tmp_path / "sounds", 3)]
    cells = [{"bytes": one, "path": "x.wav"} for one in data] if nested else data
    pictures = [b"\x89PNG"] * 3
    table = pa.table({"audio": cells, "image": pictures, "label": ["a", "b", "a"]})
    pq.write_table(table, tmp_path / "all.parquet")
    splits = opened(tmp_path / "all.parquet")
    np.testing.assert_allclose(waves_of(splits), expected(3), atol=1e-4)
    assert splits.train.labels is not None


def test_shards(tmp_path: Path) -> None:
    data = [path.read_bytes() for path in write_sounds(tmp_path / "sounds", 3)]
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for number, one in enumerate(data):
            for name, body in ((f"{number}.wav", one), (f"{number}.txt", f"tone {number}".encode())):
                info = tarfile.TarInfo(name)
                info.size = len(body)
                shard.addfile(info, io.BytesIO(body))
    splits = opened(tmp_path / "0.tar", Needs("audio", "text"))
    np.testing.assert_allclose(waves_of(splits), expected(3), atol=1e-4)
    assert splits.train.texts == [("tone 0",), ("tone 1",), ("tone 2",)]


def test_bad_sounds_are_set_aside(tmp_path: Path) -> None:
    write_sounds(tmp_path, 4)
    (tmp_path / "silent.wav").write_bytes(wav_bytes(np.zeros(100)))
    (tmp_path / "video.wav").write_bytes(b"\0\0\0\x20ftypisom" + bytes(40))
    splits = opened(tmp_path, max_bad_share=0.5)
    assert len(splits.train) == 4
    assert {bad.id: bad.reason.split(":")[0] for bad in splits.bad_records} == {
        "silent.wav": "silence",
        "video.wav": "no sound file",
    }
    with pytest.raises(TooManyBadRecords, match=r"2 of 6 records .*\n.*silence"):
        opened(tmp_path)


def test_long_and_clipped_sounds_are_remarked(tmp_path: Path) -> None:
    write_sounds(tmp_path, 2)
    (tmp_path / "loud.wav").write_bytes(wav_bytes(np.clip(tone(300, amplitude=3.0, seconds=2.0), -1, 1)))
    notes = " ".join(opened(tmp_path).summary["notes"])
    assert "1 of 3 sounds are longer than 0.5 s (the longest has 2.0 s)" in notes
    assert "1 of 3 sounds that were looked at are clipped" in notes
    longer = opened(tmp_path, audio_seconds=2.0)
    assert longer.train.images([0], "audio").shape == (1, 32_000)
    assert "longer" not in " ".join(longer.summary["notes"])
    refused = opened(tmp_path, longest_audio_seconds=1.0, max_bad_share=0.5)
    assert [bad.id for bad in refused.bad_records] == ["loud.wav"]
    with pytest.raises(ConfigError, match=r"--data.audio-seconds 0\.1 is below the 0.5 s"):
        opened(tmp_path, audio_seconds=0.1)


def test_sounds_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sounds(tmp_path / "data", 5)
    first = opened(tmp_path / "data")
    assert isinstance(first.train.column("audio").pixels, CachedPixels)
    monkeypatch.setattr("likewise.data.audio.decode.decode_wave", None)  # a second decoding would fail
    again = opened(tmp_path / "data")
    np.testing.assert_array_equal(waves_of(first), waves_of(again))
    assert first.summary["fingerprint"] == again.summary["fingerprint"]


def test_a_damaged_cache_is_built_again_and_none_is_needed(tmp_path: Path) -> None:
    write_sounds(tmp_path / "data", 5)
    first = waves_of(opened(tmp_path / "data"))
    [file] = (tmp_path / "cache").rglob("sounds.npy")
    cut = file.read_bytes()[:100]
    file.unlink()  # the old one may still be mapped
    file.write_bytes(cut)
    with pytest.warns(UserWarning, match=r"the sound cache .* is damaged \(sounds.npy\)"):
        again = opened(tmp_path / "data")
    streamed = opened(tmp_path / "data", cache=False, cache_dir=str(tmp_path / "other"))
    assert isinstance(streamed.train.column("audio").pixels, DecodedPixels)
    np.testing.assert_array_equal(first, waves_of(again))
    np.testing.assert_array_equal(first, waves_of(streamed))


def test_a_second_source_is_joined(tmp_path: Path) -> None:
    write_sounds(tmp_path / "a", 3)
    write_sounds(tmp_path / "b", 2)
    splits = opened(tmp_path / "a", validation=str(tmp_path / "b"))
    assert splits.validation is not None
    found = splits.validation.images([1, 0], "audio").numpy() / 32767
    np.testing.assert_allclose(found, expected(2)[[1, 0]], atol=1e-4)
    assert splits.summary["overlap"].startswith("2 of the 2 held-out rows")


def test_a_source_without_sounds_says_so(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("caption\na long sentence of words\nanother sentence here\n")
    with pytest.raises(SourceError, match=r"sounds are needed.*[Gg]ive --data.audio-column"):
        opened(tmp_path / "texts.csv")


def test_generated_sounds() -> None:
    made = make_sounds(60, seed=4)
    longer = make_sounds(80, seed=4)
    np.testing.assert_array_equal(made.waves, longer.waves[:60])
    assert made.captions == longer.captions[:60]
    assert (made.waves != make_sounds(60, seed=5).waves).any()
    assert set(made.labels.tolist()) == set(range(len(KINDS)))
    content = made.content
    assert ((content.loudness == 1).sum(axis=1) == 1).all()
    assert (content.starts + content.lengths <= content.seconds[:, None] + 1e-9).all()
    assert content.seconds.min() >= 1
    assert content.seconds.max() <= 3
    for row, caption in enumerate(made.captions):
        assert caption.count(", then ") == content.counts[row] - 1
        assert f"loud {('low', 'middle', 'high')[content.pitches[row, content.main[row]]]}" in caption


def test_generated_tones_have_their_pitch_and_loudness() -> None:
    made = make_sounds(120, seed=1)
    content = made.content
    tones = np.argwhere(content.kinds == KINDS.index("tone"))
    assert len(tones) > 20
    for row, slot in tones:
        begin = round(float(content.starts[row, slot]) * made.rate)
        piece = made.waves[row, begin + 400 : begin + 400 + 3200] / 32767  # within the shortest event
        spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece))))
        found = np.fft.rfftfreq(len(piece), 1 / made.rate)[spectrum.argmax()]
        assert found == pytest.approx(content.frequencies[row, slot], abs=6)
        assert np.abs(piece).max() == pytest.approx(content.amplitudes[row, slot], abs=0.01)


def test_generated_source_at_another_rate() -> None:
    splits = opened("sounds:train=5,validation=3,rate=8000", Needs("audio", "text", label=OPTIONAL))
    assert splits.summary["counts"] == {"train": 5, "validation": 3}
    same = opened("sounds:train=5,validation=3,rate=16000", Needs("audio", "text"))
    assert same.train.texts == splits.train.texts
    assert splits.train.column("audio").rate == 16_000
    assert waves_of(splits).shape == (5, 8000)
    for wrong in ("sounds:rate=1", "sounds:train=0", "sounds:pitch=3", "sounds:train=x"):
        with pytest.raises(ConfigError):
            opened(wrong)


def test_audio_options_are_of_one_place() -> None:
    with pytest.raises(ConfigError, match=r"--data\.audio-seconds must be above 0 seconds"):
        DataConfig(source="sounds", audio_seconds=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert replace(DataConfig(source="sounds"), longest_audio_seconds=3.0).longest_audio_seconds == 3
